"""Which requests may be answered with an earlier answer, and which are the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from xetway.policy.cacheable import Plan, control, generation, model_prefix, plan
from xetway.settings.gateway import Model, Upstream

CHAT = b"/chat/completions"
EMBED = {"model": "e", "input": "hello"}
COLD = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "temperature": 0}
RESPONSE = {"model": "m", "input": "hello", "temperature": 0, "store": False}


def make(path: bytes, body: object, **options) -> Plan | None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fixed = {"caller": "key-1", "model": "m", "generation": "1"} | options
    return plan(fixed.pop("caller"), path, fixed.pop("model"), fixed.pop("generation"), raw, **fixed)


def key(path: bytes, body: object, **options) -> bytes:
    found = make(path, body, **options)
    assert found is not None
    return found.key


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (b"/embeddings", EMBED),
        (b"/embeddings?api-version=1", EMBED | {"encoding_format": "base64", "dimensions": 8}),
        (CHAT, COLD),
        (CHAT, COLD | {"temperature": 0.0, "n": 3, "logprobs": True, "stream": True, "user": "u"}),
        (CHAT, COLD | {"temperature": -0.0}),
        (CHAT, COLD | {"temperature": 1, "seed": 7}),
        (CHAT, COLD | {"seed": 0, "temperature": None}),
        (CHAT, COLD | {"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom"}]}),
        (CHAT, COLD | {"store": False, "metadata": {"a": "b"}}),
        (b"/completions", {"model": "m", "prompt": ["a", "b"], "temperature": 0}),
        (b"/responses", RESPONSE),
    ],
)
def test_repeatable(path: bytes, body: object) -> None:
    assert make(path, body) is not None


@pytest.mark.parametrize(
    "extra",
    [
        {"temperature": 1},
        {"temperature": None},
        {"temperature": False},
        {"temperature": "0"},
        {"temperature": 1, "seed": -1},
        {"temperature": 1, "seed": 4294967295},
        {"temperature": 1, "seed": None},
        {"temperature": 1, "seed": True},
        {"web_search_options": {"user_location": None}},
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": ["function"]}]},
        {"tools": ["function"]},
        {"tools": 1},
        {"dynatemp_range": 0.5},
        {"xtc_probability": 0.1},
        {"mirostat": 2},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b"}}]}]},
    ],
)
def test_not_repeatable_unless_everything_is(extra: dict[str, object]) -> None:
    assert make(CHAT, COLD | extra) is None
    assert make(CHAT, COLD | extra, everything=True) is not None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, COLD | {"store": True}),
        (CHAT, COLD | {"audio": {"voice": "x"}}),
        (b"/responses", {name: value for name, value in RESPONSE.items() if name != "store"}),
        (b"/responses", RESPONSE | {"store": None}),
        (b"/responses", RESPONSE | {"background": True}),
        (b"/responses", RESPONSE | {"previous_response_id": "resp_1"}),
        (b"/responses", RESPONSE | {"conversation": "conv_1"}),
        (b"/images/generations", COLD),
        (b"/chat/completions/x", COLD),
        (CHAT, []),
        (CHAT, b'{"temperature": 0'),
        (CHAT, b'{"temperature": 0, "a": NaN}'),
        (CHAT, b'{"temperature": 0, "a": Infinity}'),
        (CHAT, b'{"temperature": 0, "a": 1e999}'),
        (CHAT, b'{"temperature": 1, "temperature": 0}'),
        (CHAT, b'{"temperature": 1, "temper\\u0061ture": 0, "seed": 1}'),
        (CHAT, b'{"temperature": 0, "messages": [{"role": "a", "role": "b"}]}'),
        (CHAT, b'{"temperature": 0, "a": "\xff"}'),
        (CHAT, b'{"temperature": 0, "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        (CHAT, json.dumps(COLD).encode("utf-16")),
    ],
)
def test_never_kept(path: bytes, body: object) -> None:
    assert make(path, body, everything=True) is None
    assert make(path, body) is None


def test_prompt_by_reference_is_not_repeatable() -> None:
    assert make(b"/responses", RESPONSE | {"prompt": {"id": "pmpt_1"}}) is None


def test_same_request_written_otherwise() -> None:
    plain = b'{"model":"m","messages":[{"role":"user","content":"h\xc3\xa9"}],"temperature":0}'
    other = b'{ "temperature": 0, "messages": [ {"content": "h\\u00e9", "role": "user"} ],\n "model": "\\u006d" }'
    assert key(CHAT, plain) == key(CHAT, other)


@pytest.mark.parametrize("path", [CHAT, b"/embeddings"])
def test_who_the_end_user_is_does_not_matter(path: bytes) -> None:
    named = COLD | {"user": "u", "safety_identifier": "s", "prompt_cache_key": "k"}
    assert key(path, named) == key(path, COLD)


def test_answers_that_repeat_the_end_user_are_told_apart() -> None:
    assert key(b"/responses", RESPONSE | {"user": "u"}) != key(b"/responses", RESPONSE)


@pytest.mark.parametrize("stream", [False, None])
def test_not_streamed_is_the_same_as_saying_nothing(stream: object) -> None:
    assert key(CHAT, COLD | {"stream": stream}) == key(CHAT, COLD)


def test_all_that_changes_the_answer_changes_the_key() -> None:
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    keys = [
        key(CHAT, COLD),
        key(CHAT, COLD, caller="key-2"),
        key(CHAT, COLD, model="m2"),
        key(CHAT, COLD, generation="2"),
        key(CHAT, COLD, vary=("a",)),
        key(CHAT, COLD, vary=("a", "")),
        key(CHAT + b"?x=1", COLD),
        key(b"/completions", COLD),
        key(CHAT, COLD | {"temperature": 0.0}),
        key(CHAT, COLD | {"n": 2}),
        key(CHAT, COLD | {"seed": 1}),
        key(CHAT, COLD | {"unknown": 1}),
        key(CHAT, COLD | {"model": "other"}),
        key(CHAT, COLD | {"metadata": {"a": "b"}}),
        key(CHAT, COLD | {"stream": True}),
        key(CHAT, COLD | usage),
        key(CHAT, b'{"temperature": 0, "a": "\\ud800"}'),
        key(CHAT, b'{"temperature": 0, "a": "\\ud801"}'),
        key(CHAT, b'{"temperature": 0, "a": 9007199254740993}'),
        key(CHAT, b'{"temperature": 0, "a": 9007199254740992}'),
    ]
    assert len(set(keys)) == len(keys)


def test_keys_of_a_model_begin_alike() -> None:
    assert key(CHAT, COLD).startswith(model_prefix("m"))
    assert key(b"/embeddings", EMBED).startswith(model_prefix("m"))
    assert not key(CHAT, COLD, model="n").startswith(model_prefix("m"))
    assert len(key(CHAT, COLD)) == 48


@pytest.mark.parametrize(
    ("header", "max_age_s", "store"),
    [
        (None, float("inf"), True),
        ("no-cache", -1, True),
        ("No-Store", float("inf"), False),
        ("no-cache, no-store", -1, False),
        ("max-age=60", 60, True),
        ('max-age="60", x=y', 60, True),
        ("max-age=0", -1, True),
        ("max-age=soon, private", float("inf"), True),
    ],
)
def test_cache_control(header: str | None, max_age_s: float, store: bool) -> None:
    got = control(header)
    assert (got.max_age_s, got.store) == (max_age_s, store)


def test_another_configuration_is_another_generation() -> None:
    def of(**options: Any) -> str:
        upstream = {"url": "http://a/v1"} | options.pop("upstream", {})
        return generation(Model(name="m", upstreams=(Upstream(**upstream),), **options))

    same = [of(), of(aliases=("n",)), of(timeout=5.0), of(upstream={"weight": 2, "max_connections": 3})]
    other = [
        of(set={"a": 1}),
        of(defaults={"a": 1}),
        of(remove=("a",)),
        of(set_headers={"a": "1"}),
        of(remove_headers=("a",)),
        of(upstream={"url": "http://b/v1"}),
        of(upstream={"model": "a"}),
    ]
    assert len(set(same)) == 1
    assert len({of(), *other}) == 1 + len(other)
    assert of(set={"a": 1, "b": 2}) == of(set={"b": 2, "a": 1})
