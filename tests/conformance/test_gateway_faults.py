"""What a client sees of each fault of an upstream, with another upstream to turn to and without."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from raw_client import Answer, ask_once, request
from server_process import ServerProcess

from tests.conformance.model_server import Asked, Manner, ModelServer, Write, answer, chat, exact

CONFIG = """
[breaker]
enabled = false
[http]
idle_timeout = 1
connect_timeout = 5
"""
MODEL = """
[[models]]
name = "{name}"
timeout = {timeout}
upstreams = [{{ url = "{url}", weight = 1000 }}{second}]
"""
WHOLE = chat("right")
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
EVENT = b'data: {"choices":[{"delta":{"content":"right"}}]}\n\n'
EVENTS = EVENT * 3 + b"data: [DONE]\n\n"
EVENTS_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
RIGHT = JSON_HEAD + b"content-length: %d\r\n\r\n%s" % (len(WHOLE), WHOLE)
RIGHT_EVENTS = EVENTS_HEAD + b"%x\r\n%s\r\n0\r\n\r\n" % (len(EVENTS), EVENTS)
BEGUN = JSON_HEAD + b"content-length: %d\r\n\r\n%s" % (len(WHOLE), WHOLE[:9])
BEGUN_EVENTS = EVENTS_HEAD + b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
UNASKED = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nUNASKED"


def drip(data: bytes) -> Manner:
    """Send bytes one by one."""

    def do(_: Asked, write: Write) -> None:
        for place in range(len(data)):
            write(data[place : place + 1])

    return do


def close_when_used_again(data: bytes) -> Manner:
    """Answer the first request of each connection, and end the connection when the second comes."""
    known: set[int] = set()

    def do(asked: Asked, write: Write) -> None:
        if asked.link.fileno() in known:
            known.remove(asked.link.fileno())
            raise OSError
        known.add(asked.link.fileno())
        write(data)

    return do


@dataclass(frozen=True)
class Case:
    """What an upstream does, whole and as events, and what is seen of it; `helped` and `stream` if it differs."""

    whole: Manner
    events: Manner
    seen: str
    stream: str | None = None
    helped: str | None = None
    model: str = "faulty"


def both(data: bytes, seen: str, *, then: str = "cut", **more: str) -> Case:
    """A case where it does not matter what was asked for."""
    return Case(exact(data, then=then), exact(data, then=then), seen, **more)


def status(line: str, seen: str, helped: str | None = None) -> Case:
    """A refusal with a Retry-After."""
    refusal = answer(b"as sent", line, "retry-after: 7\r\n")
    return Case(refusal, refusal, f"{seen} as sent, retry-after 7", helped=helped)


LARGE = JSON_HEAD + b"x: " + b"y" * 70_000 + b"\r\n\r\n"
MANY = JSON_HEAD + b"".join(b"x-%d: y\r\n" % number for number in range(200)) + b"\r\n"
ZIPPED = gzip.compress(WHOLE)
CASES = {
    "refuses": Case(exact(b""), exact(b""), "502 connect_failed", helped="second", model="gone"),
    "stalls before the first byte": both(b"", "504 timed_out", then="stall", helped="second", model="hasty"),
    "stalls in the head": both(JSON_HEAD, "504 timed_out", then="stall", model="hasty"),
    "stalls after it": Case(
        exact(BEGUN, then="stall"), exact(BEGUN_EVENTS, then="stall"), "504 stalled", stream="broke off: stalled"
    ),
    "ends before the first byte": both(b"", "502 connection_reset", helped="second"),
    "resets before the first byte": both(b"", "502 connection_reset", then="reset", helped="second"),
    "ends in the head": both(JSON_HEAD[:20], "502 connection_cut"),
    "ends after the head": Case(
        exact(BEGUN[:-9]),
        exact(EVENTS_HEAD),
        "502 connection_cut",
        stream="502 connection_cut or broke off: connection_cut",
    ),
    "ends in the body": Case(
        exact(BEGUN), exact(BEGUN_EVENTS), "502 connection_cut", stream="broke off: connection_cut"
    ),
    "ends in an event": Case(
        exact(BEGUN), exact(BEGUN_EVENTS + b"9\r\ndata: {"), "502 connection_cut", stream="broke off: -"
    ),
    "ends before the last chunk": Case(
        exact(RIGHT[:-1]), exact(RIGHT_EVENTS[:-5]), "502 connection_cut", stream="broke off: connection_cut"
    ),
    "garbage": both(b"SSH-2.0-OpenSSH_9.9\r\n\r\n", "502 bad_answer"),
    "TLS": both(b"\x15\x03\x01\x00\x02\x02\x28", "502 bad_answer"),
    "too short a length": Case(
        exact(JSON_HEAD + b"content-length: 2\r\n\r\n{}" + UNASKED, then="keep"),
        exact(JSON_HEAD + b"content-length: 2\r\n\r\n{}" + UNASKED, then="keep"),
        "200 {}",
    ),
    "an answer nobody asked for": Case(
        exact(RIGHT + UNASKED, then="keep"), exact(RIGHT_EVENTS + UNASKED, then="keep"), "right"
    ),
    "two lengths": both(JSON_HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}", "502 bad_answer"),
    "a length and chunks": both(
        JSON_HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "502 bad_answer"
    ),
    "no chunk": both(JSON_HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", "502 bad_answer"),
    "no chunk later": Case(exact(BEGUN_EVENTS + b"zz\r\n"), exact(BEGUN_EVENTS + b"zz\r\n"), "broke off: bad_answer"),
    "429": status("429 Too Many Requests", "429", helped="second"),
    "500": status("500 Internal Server Error", "500"),
    "502": status("502 Bad Gateway", "502", helped="second"),
    "503": status("503 Service Unavailable", "503", helped="second"),
    "504": status("504 Gateway Timeout", "504", helped="second"),
    "400": status("400 Bad Request", "400"),
    "drips": Case(drip(RIGHT), drip(RIGHT_EVENTS), "right"),
    "a large head": both(LARGE, "502 head_too_large"),
    "many headers": both(MANY, "502 head_too_large"),
    "ends a kept connection": Case(close_when_used_again(RIGHT), close_when_used_again(RIGHT_EVENTS), "right"),
    "ends each connection": Case(exact(RIGHT), exact(RIGHT_EVENTS), "right"),
    "ends it to tell the end": Case(
        exact(JSON_HEAD + b"\r\n" + WHOLE),
        exact(EVENTS_HEAD.replace(b"transfer-encoding: chunked\r\n", b"") + EVENTS),
        "right",
    ),
    "compresses unasked": both(
        JSON_HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n%s" % (len(ZIPPED), ZIPPED), "right, gzip"
    ),
    "says more before": Case(
        exact(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + RIGHT),
        exact(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + RIGHT_EVENTS),
        "right",
    ),
    "switches": both(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "502 bad_answer"
    ),
    "sends elsewhere": both(
        b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/v1\r\ncontent-length: 7\r\n\r\nas sent",
        "307 as sent",
    ),
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(upstream: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    root = tmp_path_factory.mktemp("faults")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    with ModelServer(_second) as second:
        text = CONFIG
        for name, url, timeout in (("faulty", upstream.url, 30), ("hasty", upstream.url, 0.5), ("gone", gone, 30)):
            text += MODEL.format(name=f"{name}-alone", url=url, timeout=timeout, second="")
            other = f', {{ url = "{second.url}" }}'
            text += MODEL.format(name=f"{name}-helped", url=url, timeout=timeout, second=other)
        config, data = root / "gateway.toml", root / "data"
        config.write_text(text)
        data.mkdir()
        with ServerProcess(data, "--config", str(config), home=root) as server:
            yield server
        assert "Traceback" not in server.log
        assert "internal_error" not in server.log


def _second(asked: Asked, write: Write) -> None:
    write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 6\r\n\r\nsecond")


def ask(server: ServerProcess, model: str, *, stream: bool) -> Answer:
    body = json.dumps({"model": model, "stream": stream, "messages": []}).encode()
    return asyncio.run(ask_once(server.url, request("POST", "/v1/chat/completions", {}, body)))


def seen(found: Answer, *, stream: bool) -> str:
    """Say in a few words what a client got."""
    right = EVENTS if stream else WHOLE
    if not found.complete:
        came, _, error = found.body.partition(b'data: {"error":')
        assert found.status == 200
        assert EVENTS.startswith(came[: came.rfind(b"\n\n") + 2])
        assert b"[DONE]" not in error
        return f"broke off: {json.loads(error.strip()[:-1])['code'] if error else '-'}"
    if found.status == 200:
        if found.headers.get("content-encoding") == "gzip":
            return "right, gzip" if gzip.decompress(found.body) == WHOLE else "wrong, gzip"
        return {right: "right", b"second": "second"}.get(found.body, f"200 {found.body.decode()}")
    what = "as sent" if found.body == b"as sent" else found.code
    after = found.headers.get("retry-after")
    return f"{found.status} {what}" + (f", retry-after {after}" if after else "")


@pytest.mark.parametrize("helped", [False, True], ids=["alone", "helped"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", CASES)
def test_what_a_client_sees(
    gateway: ServerProcess, upstream: ModelServer, name: str, stream: bool, helped: bool
) -> None:
    case = CASES[name]
    upstream.manner = case.events if stream else case.whole
    model = f"{case.model}-{'helped' if helped else 'alone'}"
    expected = (case.helped if helped else None) or (case.stream if stream else None) or case.seen
    # More than once: what one fault leaves behind is nothing to the next request.
    for _ in range(1 if expected.startswith("504") or "stalled" in expected else 3):
        assert seen(ask(gateway, model, stream=stream), stream=stream) in expected.split(" or ")
    upstream.manner = exact(RIGHT, then="keep")
    assert seen(ask(gateway, "faulty-alone", stream=False), stream=False) == "right"
