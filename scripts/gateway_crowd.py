"""Clients of the gateway for its soak: each asks in its way, and checks what it is answered to the last byte."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import model_words
from raw_client import Answer, Link, NoAnswerError, request

KEYS = {name: f"the-key-of-{name}-0123456789abcdef" for name in ("one", "two", "narrow", "admin")}
CHAT = "/v1/chat/completions"
MAX_BODY_BYTES = 2 << 20
# What a client may be told when its upstreams fail.
FAILURES = frozenset({429, 500, 502, 503, 504})
SIZES = (1, 80, 80, 3_000, 40_000, 400_000)
# Models by what may be expected of them: nothing but right answers, or also failures that are told.
TRUSTED = frozenset({"steady"})
TROUBLED = ("mixed", "cut", "refusing", "rude", "poisoned", "dripping", "stalling", "gone")

_USAGE = re.compile(rb'"usage":\{[^}]*\}')


class WrongError(Exception):
    """An answer was not as it has to be."""


@dataclass
class Tally:
    """What clients saw, to be compared with what the gateway counted."""

    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    # Answers that broke off after a head with 200.
    broken: Counter[str] = field(default_factory=Counter)
    # Requests that nobody waited for to the end.
    left: Counter[str] = field(default_factory=Counter)
    tokens: Counter[tuple[str, str]] = field(default_factory=Counter)
    # Which key an answer of this number was given to.
    owners: dict[tuple[str, int], str] = field(default_factory=dict)
    bytes: int = 0


@dataclass
class Client:
    """One of the crowd: a connection, and chance."""

    tally: Tally
    random: random.Random
    link: Link

    def nonce(self) -> str:
        """Something to ask that nobody asked before."""
        return f"question {self.random.getrandbits(64):016x} " + "x" * self.random.choice([0, 0, 0, 500, 50_000])

    async def post(self, model: str, path: str, body: bytes, key: str = "one", **headers: str) -> Answer:
        """Ask a model, and count it."""
        named = {"authorization": f"Bearer {KEYS[key]}", "content-type": "application/json", **headers}
        answer = await self.link.ask(request("POST", path, named, body))
        if answer.complete:
            code = "" if answer.status < 400 else answer.code
            self.tally.statuses[model, answer.status if code != "rate_limit_exceeded" else 0] += 1
        else:
            self.tally.broken[model] += 1
        self.tally.bytes += len(answer.body)
        return answer

    def count_tokens(self, model: str, answer: Answer, usage: dict[str, int]) -> None:
        """Count what the upstream said it took; an answer given again took nothing."""
        if answer.headers.get("x-cache") != "HIT":
            self.tally.tokens[model, "prompt"] += usage["prompt_tokens"]
            self.tally.tokens[model, "answer"] += usage.get("completion_tokens", 0)

    def claim(self, model: str, body: bytes, key: str) -> None:
        """See to it that no two keys are given the same answer."""
        serial = model_words.serial_of(body)
        if self.tally.owners.setdefault((model, serial), key) != key:
            raise WrongError(
                f"{key} was given answer {serial} of {model}, which {self.tally.owners[model, serial]} has"
            )


Kind = Callable[[Client], Awaitable[str]]


async def chat(client: Client, model: str, *, name: str | None = None, key: str = "one", **more: Any) -> str:
    """Ask for a chat answer, as events or whole, and check it; `name` is what the model is called in the request."""
    question, size, stream = client.nonce(), client.random.choice(SIZES), client.random.random() < 0.5
    asked = {"model": name or model, "messages": [{"role": "user", "content": question}], "size": size, **more}
    answer = await client.post(model, CHAT, json.dumps(asked | ({"stream": True} if stream else {})).encode(), key)
    return check_chat(client, model, answer, question, size, key, stream=stream)


def check_chat(client: Client, model: str, answer: Answer, question: str, size: int, key: str, *, stream: bool) -> str:
    """Say what became of it.

    Raises:
        WrongError: It is wrong.
    """
    serial = model_words.serial_of(answer.body)
    right = (
        b"".join(model_words.events(question, size, serial)) if stream else model_words.whole(question, size, serial)
    )
    what = "stream" if stream else "whole"
    if answer.status == 200 and answer.complete:
        if answer.body != right:
            raise WrongError(f"{model}: {what} is wrong: {_around(answer.body, right)}")
        client.count_tokens(model, answer, model_words.usage_of(question, size))
        client.claim(model, answer.body, key)
        return f"{what}: right"
    if model in TRUSTED:
        raise WrongError(f"{model}: {what} {answer.status} {answer.complete} {answer.headers} {answer.body[:300]!r}")
    if answer.status == 200:
        came, _, error = answer.body.partition(b'data: {"error":')
        if not right.startswith(came) or b"[DONE]" in error:
            raise WrongError(f"{model}: {what} that broke off is wrong: {_around(came, right)}")
        if _USAGE.search(came):
            client.count_tokens(model, answer, model_words.usage_of(question, size))
        return f"{what}: broke off" + (" with an error event" if error else "")
    if answer.status not in FAILURES or not answer.complete:
        raise WrongError(f"{model}: {what} was answered {answer.status} {answer.body[:300]!r}")
    return f"refused: {answer.status} {answer.code}"


async def ask_steadily(client: Client) -> str:
    """A model that is well, by its name, aliases and number."""
    name = client.random.choice(["steady", "steady", "steady-by-another-name", "41"])
    return await chat(client, "steady", name=name, key=client.random.choice(["one", "two"]))


async def ask_in_trouble(client: Client) -> str:
    """Models whose upstreams fail in their ways."""
    model = client.random.choice(TROUBLED)
    return f"{model} {await chat(client, model)}"


async def ask_again(client: Client) -> str:
    """What was asked before, by others too."""
    key = client.random.choice(["one", "two"])
    question, size, stream = f"again {client.random.randrange(40)}", 80, client.random.random() < 0.5
    asked = {"model": "steady", "temperature": 0, "messages": [{"content": question}], "size": size, "stream": stream}
    answer = await client.post("steady", CHAT, json.dumps(asked).encode(), key)
    check_chat(client, "steady", answer, question, size, key, stream=stream)
    return f"again: {answer.headers['x-cache']}"


async def embed(client: Client) -> str:
    """Embeddings, which may go upstream together with others'."""
    inputs: list[str] = [f"{client.nonce()[:60]} {place}" for place in range(client.random.choice([1, 1, 2, 5]))]
    given: str | list[str] = inputs[0] if len(inputs) == 1 and client.random.random() < 0.5 else inputs
    answer = await client.post("steady", "/v1/embeddings", json.dumps({"model": "steady", "input": given}).encode())
    if answer.status != 200 or not answer.complete:
        raise WrongError(f"embeddings: {answer.status} {answer.body[:300]!r}")
    told = json.loads(answer.body)
    if [(item["index"], item["embedding"]) for item in told["data"]] != [
        (index, model_words.vector(text)) for index, text in enumerate(inputs)
    ]:
        raise WrongError(f"embeddings: {inputs} were answered {told}")
    client.count_tokens("steady", answer, told["usage"])
    return "embeddings"


async def transcribe(client: Client) -> str:
    """A form with a file."""
    mark, noise = "x" * 20, client.random.randbytes(client.random.choice([10, 100_000]))
    head = f'--{mark}\r\ncontent-disposition: form-data; name="model"\r\n\r\nsteady\r\n'
    head += f'--{mark}\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    form = head.encode() + noise + f"\r\n--{mark}--\r\n".encode()
    kind = f"multipart/form-data; boundary={mark}"
    answer = await client.post("steady", "/v1/audio/transcriptions", form, **{"content-type": kind})
    if answer.body != model_words.transcript(form, model_words.serial_of(answer.body)):
        raise WrongError(f"transcript: {answer.status} {answer.body[:300]!r}")
    return "form"


async def wait_for_a_place(client: Client) -> str:
    """Models with limits of their own: of requests at once, and of requests in a minute."""
    model = client.random.choice(["narrow-place", "metered"])
    return f"{model} {await chat(client, model)}"


async def ask_wrongly(client: Client) -> str:
    """What has to be refused, each for its reason."""
    chance = client.random
    head = {"authorization": f"Bearer {KEYS['one']}"}
    wrong = {"authorization": f"Bearer {chance.getrandbits(128):x}"}
    unknown = f"m-{chance.getrandbits(64):x}"
    huge = b'{"model":"steady","x":"' + b"x" * MAX_BODY_BYTES + b'"}'
    headers, body, expected = chance.choice(
        [
            (wrong, b'{"model":"steady"}', (401, "invalid_api_key")),
            ({}, b'{"model":"steady"}', (401, "missing_api_key")),
            (head, json.dumps({"model": unknown}).encode(), (404, "model_not_found")),
            (head, huge, (413, "body_too_large")),
            (head, b"[" * chance.choice([10, 1_000_000]), (400, "bad_json")),
            (head, b'{"model":"steady","Model":"cut"}', (400, "duplicate_field")),
            ({"x-api-key": KEYS["narrow"]}, b'{"model":"cut"}', (403, "model_not_allowed")),
        ]
    )
    answer = await client.link.ask(request("POST", CHAT, headers, body))
    if (answer.status, answer.code) != expected:
        raise WrongError(f"{expected} was to be told, and was {answer.status} {answer.body[:300]!r}")
    return f"wrong: {expected[1]}"


async def administer(client: Client) -> str:
    """Keys that come and go, and numbers."""
    admin = {"authorization": f"Bearer {KEYS['admin']}"}
    for path in ("/status", "/metrics", "/admin/queue/stats", "/v1/models", "/health"):
        answer = await client.link.ask(request("GET", path, admin))
        if answer.status != 200:
            raise WrongError(f"{path}: {answer.status} {answer.body[:300]!r}")
    made = json.loads((await client.link.ask(request("POST", "/admin/keys/generate", admin, b"name=soak"))).body)
    fresh = {"authorization": f"Bearer {made['api_key']}"}
    for expected, after in ((200, f"/admin/keys/{made['key_id']}/revoke"), (401, "")):
        answer = await client.link.ask(request("GET", "/v1/models", fresh))
        if answer.status != expected:
            raise WrongError(f"a fresh key: {answer.status} instead of {expected}")
        if after:
            await client.link.ask(request("POST", after, admin, b""))
    await asyncio.sleep(0.5)
    return "administered"


async def leave(client: Client) -> str:
    """Go at some stage: in the head, in the body, while waiting, in the middle of the answer."""
    chance = client.random
    body = json.dumps(
        {"model": "away", "messages": [{"content": client.nonce()}], "size": 400_000, "stream": chance.random() < 0.7}
    ).encode()
    whole = request("POST", CHAT, {"x-api-key": KEYS["one"]}, body)
    at = whole.index(b"\r\n\r\n") + 4
    stage = chance.choice(["head", "body", "waiting", "reading", "half closed"])
    reader, writer = await client.link.open()
    try:
        if stage in {"head", "body"}:
            writer.write(whole[: chance.randrange(at) if stage == "head" else chance.randrange(at, len(whole))])
            await writer.drain()
        else:
            client.tally.left["away"] += 1
            writer.write(whole)
            await writer.drain()
            if stage == "half closed":
                writer.write_eof()
            if stage == "reading":
                await reader.readexactly(chance.choice([1, 100, 10_000]))
        await asyncio.sleep(chance.choice([0, 0.01, 0.1, 0.5]))
    except (ConnectionError, asyncio.IncompleteReadError):
        stage = f"{stage}, which was refused"
    client.link.close()
    return f"left: {stage}"


def _around(found: bytes, right: bytes) -> str:
    pairs = zip(found, right, strict=False)
    at = next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(found), len(right)))
    start = max(0, at - 100)
    return f"{len(found)} bytes, {len(right)} were due; at {at}: {found[start : at + 200]!r}"


async def work(client: Client, kind: Kind, until: asyncio.Event, wrong: list[str]) -> None:
    """Do it again and again."""
    while not until.is_set():
        try:
            client.tally.kinds[await kind(client)] += 1
        except (WrongError, NoAnswerError, TimeoutError) as error:
            wrong.append(f"{kind.__name__}: {type(error).__name__} {error}")
            client.link.close()
            if len(wrong) > 20:
                until.set()
    client.link.close()
