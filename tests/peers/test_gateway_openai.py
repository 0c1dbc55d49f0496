"""OpenAI's own SDK, and curl, through the gateway to llama.cpp's real server."""

from __future__ import annotations

import json
import math
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from server_process import ServerProcess, clean_environment

from tests.conftest import finish
from tests.peers.gateway import CallError, LlamaServer, Sdk, make_models, text_of
from tests.peers.llama_words import SPEECH
from tests.peers.test_curl import curl

KEY, NARROW_KEY, BURST_KEY, SLOW_KEY = (f"sk-a-key-of-the-tests-{number:04}" for number in range(4))
MODELS = ("caller", "counter", "parrot", "vectors")
ASKED = [{"role": "user", "content": "Who are you?"}]
CHAT = {"model": "parrot", "messages": ASKED}
COUNT = {"model": "counter", "messages": ASKED, "stream": True}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CONFIG = """
limits.enabled = true

[[auth.keys]]
name = "all"
key = "{KEY}"
scopes = ["infer", "admin"]
limit = {{ requests_per_minute = 100000 }}

[[auth.keys]]
name = "narrow"
key = "{NARROW_KEY}"
models = ["vec*"]

[[auth.keys]]
name = "burst"
key = "{BURST_KEY}"
limit = {{ requests_per_minute = 1, burst = 3 }}

[[auth.keys]]
name = "slow"
key = "{SLOW_KEY}"
limit = {{ requests_per_minute = 20, burst = 1 }}
"""
MODEL = """
[[models]]
name = "{name}"
aliases = ["the-{name}"]
concurrency = 1
upstreams = [{{ url = "{url}/v1", health = "/health" }}]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture(scope="module")
def llamas(home: Path) -> Iterator[dict[str, LlamaServer]]:
    """The servers behind the gateway, by the name of their model."""
    make_models(home)
    with ExitStack() as running:
        yield {name: running.enter_context(LlamaServer(home / f"{name}.gguf", home)) for name in MODELS}


@pytest.fixture(scope="module")
def gateway(home: Path, llamas: dict[str, LlamaServer]) -> Iterator[ServerProcess]:
    file = home / "gateway.toml"
    models = [MODEL.format(name=name, url=llama.url) for name, llama in llamas.items()]
    keys = CONFIG.format(KEY=KEY, NARROW_KEY=NARROW_KEY, BURST_KEY=BURST_KEY, SLOW_KEY=SLOW_KEY)
    file.write_text(keys + "".join(models))
    (home / "data").mkdir()
    server = ServerProcess(home / "data", "--config", str(file), home=home)
    yield server
    finish(server, [KEY, NARROW_KEY, BURST_KEY, SLOW_KEY, SPEECH])


@pytest.fixture(scope="module")
def sdk(home: Path, gateway: ServerProcess) -> Iterator[Sdk]:
    with Sdk(gateway.url, home) as started:
        yield started


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("model", ["parrot", "the-parrot"])
def test_chat(sdk: Sdk, model: str, asynchronous: bool) -> None:
    answer = sdk.call("chat.completions.create", KEY, asynchronous=asynchronous, model=model, messages=ASKED)
    (choice,) = answer["choices"]
    assert choice["message"]["content"] == SPEECH
    assert choice["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"] > 0


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_stream(sdk: Sdk, asynchronous: bool) -> None:
    whole = sdk.call("chat.completions.create", KEY, **CHAT)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = sdk.call("chat.completions.create", KEY, asynchronous=asynchronous, **CHAT, **options)
    assert len(chunks) > 10
    assert text_of(chunks) == whole["choices"][0]["message"]["content"]
    assert [chunk["usage"] is not None for chunk in chunks if chunk.get("usage")] == [True]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == whole["usage"]["total_tokens"]


def test_stream_without_usage(sdk: Sdk) -> None:
    chunks = sdk.call("chat.completions.create", KEY, stream=True, **CHAT)
    assert text_of(chunks) == SPEECH
    assert all("usage" not in chunk and chunk["choices"] for chunk in chunks)


def test_long_stream(sdk: Sdk) -> None:
    chunks = sdk.call("chat.completions.create", KEY, max_tokens=2000, **COUNT)
    numbers = [10 + number % 190 for number in range(2000)]
    assert text_of(chunks) == "".join(f" {number}" for number in numbers)
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_responses(sdk: Sdk, asynchronous: bool) -> None:
    asked = {"model": "the-parrot", "input": "Who are you?"}
    answer = sdk.call("responses.create", KEY, asynchronous=asynchronous, **asked)
    (said,) = [part["text"] for item in answer["output"] for part in item.get("content") or []]
    assert (answer["status"], said) == ("completed", SPEECH)
    assert answer["usage"]["total_tokens"] > 0
    events = sdk.call("responses.create", KEY, asynchronous=asynchronous, stream=True, **asked)
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert len(deltas) > 5
    assert "".join(deltas) == SPEECH
    assert (events[0]["type"], events[-1]["type"]) == ("response.created", "response.completed")
    assert events[-1]["response"]["usage"]["total_tokens"] == answer["usage"]["total_tokens"]


def test_headers_as_the_sdk_reads_them(sdk: Sdk) -> None:
    answer = sdk.call("chat.completions.with_raw_response.create", KEY, extra_headers={"X-Request-Id": "mine"}, **CHAT)
    assert answer["value"]["choices"][0]["message"]["content"] == SPEECH
    headers = answer["headers"]
    assert (headers["x-request-id"], headers["x-ratelimit-limit-requests"]) == ("mine", "100000")
    assert int(headers["x-ratelimit-remaining-requests"]) < 100_000
    assert headers["x-ratelimit-reset-requests"].endswith("s")


def test_the_sdk_waits_as_long_as_it_is_told(sdk: Sdk) -> None:
    for _ in range(2):
        answer = sdk.call("chat.completions.with_raw_response.create", SLOW_KEY, retries=5, **CHAT)
    # By itself it would try again within half a second, and more than once.
    assert (answer["retries"], answer["value"]["choices"][0]["message"]["content"]) == (1, SPEECH)


def test_tool_call(sdk: Sdk) -> None:
    asked = {"model": "caller", "messages": ASKED, "tools": [TOOL]}
    (choice,) = sdk.call("chat.completions.create", KEY, **asked)["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
    chunks = sdk.call("chat.completions.create", KEY, stream=True, **asked)
    deltas = [delta for chunk in chunks for delta in chunk["choices"][0]["delta"].get("tool_calls") or []]
    assert deltas[0]["function"]["name"] == "get_weather"
    assert json.loads("".join(delta["function"]["arguments"] for delta in deltas)) == {"city": "Paris"}


def test_completion_of_text(sdk: Sdk) -> None:
    answer = sdk.call("completions.create", KEY, model="counter", prompt=" 41", max_tokens=3, temperature=0)
    assert answer["usage"]["completion_tokens"] == 3


def test_embeddings(sdk: Sdk) -> None:
    asked = {"model": "vectors", "input": ["red", "green", "red"]}
    as_numbers = sdk.call("embeddings.create", KEY, encoding_format="float", **asked)
    numbers = [item["embedding"] for item in as_numbers["data"]]
    assert [item["index"] for item in as_numbers["data"]] == [0, 1, 2]
    assert numbers[0] == numbers[2] != numbers[1]
    assert math.isclose(sum(number**2 for number in numbers[0]), 1, rel_tol=1e-4)
    for asynchronous in (False, True):  # the SDK asks for base64 unless it is told otherwise
        as_base64 = sdk.call("embeddings.create", KEY, asynchronous=asynchronous, **asked)
        for item, same in zip(as_base64["data"], numbers, strict=True):
            assert item["embedding"] == pytest.approx(same, abs=1e-6)


def test_models(sdk: Sdk) -> None:
    listed = sdk.call("models.list", KEY)
    assert sorted(model["id"] for model in listed) == sorted(MODELS)
    assert {model["object"] for model in listed} == {"model"}
    assert sdk.call("models.retrieve", KEY, model="parrot") in listed
    assert [model["id"] for model in sdk.call("models.list", NARROW_KEY)] == ["vectors"]


def refused(sdk: Sdk, key: str, do: str = "chat.completions.create", **asked: Any) -> tuple[str, int, str]:
    """A call that fails: what Python class its error is, the status, and the code."""
    with pytest.raises(CallError) as caught:
        sdk.call(do, key, **asked)
    return caught.value.name, caught.value.status, caught.value.code


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"asynchronous": True}], ids=["whole", "stream", "async"])
def test_refusals(sdk: Sdk, more: dict[str, Any]) -> None:
    not_found = ("NotFoundError", 404, "model_not_found")
    assert refused(sdk, KEY, model="nobody", messages=ASKED, **more) == not_found
    assert refused(sdk, "sk-not-a-key-at-all", **CHAT, **more) == ("AuthenticationError", 401, "invalid_api_key")
    assert refused(sdk, NARROW_KEY, **CHAT, **more) == ("PermissionDeniedError", 403, "model_not_allowed")


def test_refusals_of_models(sdk: Sdk) -> None:
    not_found = ("NotFoundError", 404, "model_not_found")
    assert refused(sdk, KEY, "models.retrieve", model="nobody") == not_found
    assert refused(sdk, NARROW_KEY, "models.retrieve", model="parrot") == not_found
    assert refused(sdk, "sk-not-a-key-at-all", "models.list")[0] == "AuthenticationError"


def test_error_of_the_upstream(sdk: Sdk) -> None:
    too_much = [{"role": "user", "content": "x" * 70_000}]
    with pytest.raises(CallError, match=r"70003 tokens\) exceeds the available context") as caught:
        sdk.call("chat.completions.create", KEY, model="parrot", messages=too_much)
    assert (caught.value.name, caught.value.type) == ("BadRequestError", "exceed_context_size_error")
    assert caught.value.code == "400"  # llama.cpp's codes are numbers, of which the SDK makes texts


def test_rate_limit(sdk: Sdk) -> None:
    for _ in range(3):
        sdk.call("chat.completions.create", BURST_KEY, **CHAT)
    assert refused(sdk, BURST_KEY, **CHAT) == ("RateLimitError", 429, "rate_limit_exceeded")
    assert refused(sdk, BURST_KEY, **CHAT, stream=True)[0] == "RateLimitError"
    sdk.call("chat.completions.create", KEY, **CHAT)


def wait_for(true: Callable[[], bool], what: str, pause_s: float = 0.01) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, f"not there: {what}"
        time.sleep(pause_s)


def queue(gateway: ServerProcess) -> dict[str, int]:
    """How the gateway's queue is."""
    asked = urllib.request.Request(f"{gateway.url}/admin/queue/stats", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(asked) as answer:
        stats: dict[str, int] = json.load(answer)
    return stats


def assert_given_up(llama: LlamaServer, sdk: Sdk, pause_s: float = 0.01) -> None:
    """The server does nothing more for who has left, and the one place for this model in the gateway is free."""
    wait_for(lambda: not llama.slot()["is_processing"], "an idle server", pause_s)
    slot = llama.slot()
    assert slot["n_prompt_tokens"] < slot["n_ctx"] / 2, "it went on to the end"
    assert text_of(sdk.call("chat.completions.create", KEY, max_tokens=2, **COUNT)) == " 10 11"


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_client_that_leaves_a_stream(sdk: Sdk, llamas: dict[str, LlamaServer], asynchronous: bool) -> None:
    chunks = sdk.call("chat.completions.create", KEY, asynchronous=asynchronous, leave_after=5, **COUNT)
    assert text_of(chunks).startswith(" 10 11")
    assert_given_up(llamas["counter"], sdk)


def posted(body: dict[str, Any]) -> tuple[str, ...]:
    """What curl is told to post it."""
    return (
        "--header", f"Authorization: Bearer {KEY}",
        "--header", "Content-Type: application/json",
        "--data", json.dumps(body),
    )  # fmt: skip


def start_curl(gateway: ServerProcess, home: Path, body: dict[str, Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["curl", "--silent", "--no-buffer", *posted(body), f"{gateway.url}/v1/chat/completions"],
        env=clean_environment(home), stdout=subprocess.PIPE,
    )  # fmt: skip


def kill(client: subprocess.Popen[bytes]) -> None:
    client.kill()
    client.communicate()


def test_client_that_dies(gateway: ServerProcess, sdk: Sdk, llamas: dict[str, LlamaServer], tmp_path: Path) -> None:
    client = start_curl(gateway, tmp_path, COUNT)
    assert client.stdout is not None
    assert client.stdout.readline().startswith(b"data: {")
    assert llamas["counter"].slot()["is_processing"]
    kill(client)
    assert_given_up(llamas["counter"], sdk)


def test_client_that_dies_before_its_answer(
    gateway: ServerProcess, sdk: Sdk, llamas: dict[str, LlamaServer], tmp_path: Path
) -> None:
    client = start_curl(gateway, tmp_path, {**COUNT, "stream": False})
    wait_for(lambda: llamas["counter"].slot()["is_processing"], "the server's slot in use")
    kill(client)
    gateway.wait_for_log("/v1/chat/completions 499", "client_closed")
    assert queue(gateway)["running"] == 0
    # llama.cpp looks after the connection whenever nothing has happened for a second, and to be asked is to happen.
    assert_given_up(llamas["counter"], sdk, pause_s=1.3)


def test_client_that_dies_in_the_queue(
    gateway: ServerProcess, sdk: Sdk, llamas: dict[str, LlamaServer], tmp_path: Path
) -> None:
    first = start_curl(gateway, tmp_path, COUNT)
    assert first.stdout is not None
    assert first.stdout.readline().startswith(b"data: {")
    second = start_curl(gateway, tmp_path, COUNT)
    wait_for(lambda: queue(gateway)["current_size"] == 1, "the second client in the queue")
    kill(second)
    wait_for(lambda: queue(gateway)["current_size"] == 0, "nobody in the queue")
    assert llamas["counter"].slot()["is_processing"], "the first client is still served"
    kill(first)
    assert_given_up(llamas["counter"], sdk)


def test_events_as_curl_sees_them(gateway: ServerProcess, tmp_path: Path) -> None:
    body = posted({**CHAT, "stream": True})
    raw = curl(tmp_path, "--fail", "--no-buffer", "--include", *body, f"{gateway.url}/v1/chat/completions")
    head, _, events = raw.replace("\r\n", "\n").partition("\n\n")
    assert "content-type: text/event-stream" in head.lower()
    *data, last, end = events.split("\n\n")
    assert (last, end) == ("data: [DONE]", "")
    assert text_of([json.loads(event.removeprefix("data: ")) for event in data]) == SPEECH
