"""What becomes of a request's path, headers and body on its way to a model, and of its answer's headers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from server_process import ServerProcess

from tests.conformance.model_server import Asked, ModelServer, Write, answer, chat, events

CHAT = "/v1/chat/completions"
LIMITED = "[limits]\nenabled = true"


@pytest.fixture
def upstream() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def gateway(
    tmp_path: Path, make_server: Callable[..., ServerProcess], upstream: ModelServer
) -> Iterator[Callable[..., httpx.Client]]:
    """`gateway("...")` is a client of a server with this configuration and a model `m`, which is `real` upstream."""
    clients: list[httpx.Client] = []

    def make(more: str = "", model: str = "real") -> httpx.Client:
        config = tmp_path / "gateway.toml"
        named = f', model = "{model}"' if model else ""
        config.write_text(
            f'[[models]]\nname = "m"\naliases = ["other"]\nid = 7\n'
            f'upstreams = [{{ url = "{upstream.url}"{named} }}]\n{more}\n'
        )
        url = make_server("--config", str(config)).url
        clients.append(httpx.Client(base_url=url, trust_env=False, timeout=30))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def streaming(gateway: Callable[..., httpx.Client]) -> httpx.Client:
    return gateway()


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


@pytest.mark.parametrize(("configured", "told"), [("real", b"real"), ("", b"m")])
def test_a_form_names_the_model_that_the_upstream_knows(
    gateway: Callable[..., httpx.Client], upstream: ModelServer, configured: str, told: bytes
) -> None:
    client = gateway(model=configured)
    audio = b"\r\n--not-the-boundary\r\nmodel" + bytes(range(256))
    for name in ("m", "other", "7"):
        files = {"file": ("a.wav", audio, "audio/wav")}
        got = client.post("/v1/audio/transcriptions", files=files, data={"language": "en", "model": name, "n": "1"})
        assert got.status_code == 200
        asked = upstream.asked.pop()
        boundary = (asked.header("content-type") or "").partition("boundary=")[2].encode()
        head, *parts, end = asked.body.split(b"--" + boundary)
        assert (head, end) == (b"", b"--\r\n")
        assert asked.body.count(b'name="model"\r\n\r\n' + told + b"\r\n") == 1
        assert next(part for part in parts if audio in part).endswith(b"\r\n\r\n" + audio + b"\r\n")
        assert len(parts) == 4
        assert len(asked.body) == int(asked.header("content-length") or 0)


def test_what_a_client_says_of_its_connection_leaves_our_own_headers_alone(
    gateway: Callable[..., httpx.Client], upstream: ModelServer
) -> None:
    client = gateway()
    headers = {"connection": "content-type, x-request-id, x-drop", "x-request-id": "abc", "x-drop": "1"}
    client.post(CHAT, json={"model": "m"}, headers=headers)
    client.post("/v1/audio/transcriptions", files={"model": (None, "m")}, headers=headers)
    for asked, kind in zip(upstream.asked, ("application/json", "multipart/form-data; boundary="), strict=True):
        assert (asked.header("content-type") or "").startswith(kind)
        assert asked.header("x-request-id") == "abc"
        assert asked.header("x-drop") is None
        assert [name for name, _ in asked.headers].count("content-type") == 1


@pytest.mark.parametrize("more", ["", LIMITED, "[cache]\nenabled = true"])
def test_what_is_said_here_is_not_said_by_the_upstream_too(
    gateway: Callable[..., httpx.Client], upstream: ModelServer, more: str
) -> None:
    theirs = {"x-request-id": "theirs", "x-cache": "theirs", "x-ratelimit-remaining": "theirs", "x-mine": "theirs"}
    upstream.manner = answer(chat("hi"), headers="".join(f"{name}: {value}\r\n" for name, value in theirs.items()))
    got = gateway(more).post(CHAT, json={"model": "m", "temperature": 0}, headers={"x-request-id": "abc"})
    assert got.headers.get_list("x-request-id") == ["abc"]
    assert got.headers.get_list("x-cache") == (["MISS"] if "cache" in more else ["theirs"])
    assert got.headers.get_list("x-ratelimit-remaining") == (["99"] if "limits" in more else ["theirs"])
    assert got.headers["x-mine"] == "theirs"


@pytest.mark.parametrize(
    "path", ["/v1/rerank", "/v1/score", "/v1/audio/speech", "/v1/messages", "/v1/own/thing", "/v1/any/of/these"]
)
def test_paths_that_name_a_model_in_their_body(
    gateway: Callable[..., httpx.Client], upstream: ModelServer, path: str
) -> None:
    got = gateway('[http]\npaths = ["/v1/own/thing", "/v1/any/*"]').post(path, json={"model": "m"})
    assert got.status_code == 200
    assert upstream.asked[0].line == f"POST {path} HTTP/1.1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/responses/resp_1"),
        ("DELETE", "/v1/responses/resp_1"),
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/files"),
        ("POST", "/v1/batches"),
        ("POST", "/v1/fine_tuning/jobs"),
        ("POST", "/v1/any"),
    ],
)
def test_paths_that_do_not(gateway: Callable[..., httpx.Client], upstream: ModelServer, method: str, path: str) -> None:
    got = gateway().request(method, path, content=b'{"model":"m"}')
    assert code_of(got) == (404, "path_not_forwarded")
    assert f"{method} {path}" in got.json()["error"]["message"]
    assert not upstream.asked


def test_bodies_that_wait_for_their_answers_are_bounded_together(
    gateway: Callable[..., httpx.Client], upstream: ModelServer
) -> None:
    came, go = threading.Semaphore(0), threading.Event()

    def wait(asked: Asked, write: Write) -> None:
        came.release()
        assert go.wait(30)
        answer(chat("hi"))(asked, write)

    upstream.manner = wait
    client = gateway("[http]\nmax_waiting_bytes = 3000")
    body = json.dumps({"model": "m", "x": "x" * 1400}).encode()
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(client.post, CHAT, content=body) for _ in range(2)]
        assert came.acquire(timeout=30)
        assert came.acquire(timeout=30)
        refused = client.post(CHAT, content=body)
        assert code_of(refused) == (503, "busy")
        assert refused.headers["retry-after"] == "5"
        go.set()
        assert [each.result().status_code for each in waiting] == [200, 200]
    assert client.post(CHAT, content=body).status_code == 200


def test_embeddings_sent_alone_keep_their_headers_and_a_batch_has_those_of_its_first(
    gateway: Callable[..., httpx.Client], upstream: ModelServer
) -> None:
    def embed(asked: Asked, write: Write) -> None:
        found = json.loads(asked.body)["input"]
        data = [{"object": "embedding", "index": place, "embedding": [0.5]} for place in range(len(found))]
        answer(json.dumps({"object": "list", "data": data}).encode())(asked, write)

    upstream.manner = embed
    client = gateway("[batching]\nenabled = true\nmax_size = 2\nwindow = 1.0")
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333{}-01"

    def send(number: int, count: int, team: str = "a") -> int:
        headers = {"traceparent": trace.format(number), "x-team": team, "x-request-id": f"id-{number}"}
        sent = {"model": "m", "input": ["text"] * count}
        return len(client.post("/v1/embeddings", json=sent, headers=headers).json()["data"])

    assert send(1, 2) == 2
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(lambda number: send(number, 1), (2, 3))) == [1, 1]
        assert list(pool.map(lambda number: send(number, 1, f"team {number}"), (4, 5))) == [1, 1]
    names = ("traceparent", "x-request-id", "x-team")
    told = [tuple(asked.header(name) for name in names) for asked in upstream.asked]
    assert told[0] == (trace.format(1), "id-1", "a")
    assert told[1] in {(trace.format(number), f"id-{number}", "a") for number in (2, 3)}
    assert set(told[2:]) == {(trace.format(number), f"id-{number}", f"team {number}") for number in (4, 5)}


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("path", "sent", "told"),
    [
        (CHAT, b"data: 1\n\n", "stream_unfinished"),
        (CHAT, b"", "stream_unfinished"),
        ("/v1/completions", b"data: 1\n\n", "stream_unfinished"),
        (CHAT, b"data: 1\r\n\r\ndata: [DONE]\r\n\r\n", None),
        (CHAT, b'data: 1\n\ndata: {"error":{"message":"broken"}}\n\n', None),
        ("/v1/responses", b"data: 1\n\n", None),
    ],
)
def test_a_stream_that_ends_with_its_connection_is_done_only_if_it_says_so(
    streaming: httpx.Client, upstream: ModelServer, path: str, sent: bytes, told: str | None, at_once: bool
) -> None:
    go = threading.Event()

    def stream(_: Asked, write: Write) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
        if at_once:
            write(head + sent)
            return
        write(head + sent[:4])
        assert go.wait(30)
        write(sent[4:])

    upstream.manner, upstream.closes = stream, True
    got = b""
    try:
        with streaming.stream("POST", path, json={"model": "m", "stream": True}) as answered:
            assert answered.status_code == 200
            go.set()
            for piece in answered.iter_raw():
                got += piece
        is_cut = False
    except httpx.RemoteProtocolError:
        is_cut = True
    assert is_cut == (told is not None)
    rest = got.removeprefix(sent)
    assert got.startswith(sent)
    assert (told is None and rest == b"") or json.loads(rest.removeprefix(b"data: "))["error"]["code"] == told


def test_a_stream_with_an_end_of_http_s_own_is_believed(streaming: httpx.Client, upstream: ModelServer) -> None:
    upstream.manner, upstream.closes = events(b"1"), True
    assert streaming.post(CHAT, json={"model": "m", "stream": True}).content == b"data: 1\n\n"


@pytest.mark.parametrize(("theirs", "told"), [("", "no-cache"), ("cache-control: no-store\r\n", "no-store")])
def test_events_are_not_to_be_kept_on_the_way(
    streaming: httpx.Client, upstream: ModelServer, theirs: str, told: str
) -> None:
    kind = f"content-type: text/event-stream\r\n{theirs}"

    def stream(_: Asked, write: Write) -> None:
        write(f"HTTP/1.1 200 OK\r\n{kind}content-length: 14\r\n\r\ndata: [DONE]\n\n".encode())

    upstream.manner = stream
    got = streaming.post(CHAT, json={"model": "m", "stream": True})
    assert got.headers.get_list("cache-control") == [told]
