"""What is read of a request's body, and the edits to it."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xetway.errors import RequestError
from xetway.openai import body
from xetway.openai.body import Edits


def test_only_what_policy_needs_is_read_and_any_shape_passes() -> None:
    content = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}, {"type": "text", "text": "é"}]
    sent = {"model": "m", "messages": [{"role": "robot", "content": content}], "stop": "x", "stream": True, "n": 2}
    head = body.read(json.dumps(sent).encode())
    assert (head.model, head.streams, head.n, head.answer_tokens) == ("m", True, 2, 0)
    assert not body.read(b'{"model":"m","stream":null,"max_tokens":7}').streams
    assert body.read(b'{"model":"m","max_tokens":7}').answer_tokens == 7


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"", "bad_json"),
        (b"[]", "bad_json"),
        (b'{"model":"m"', "bad_json"),
        (b'{"model":"m"} x', "bad_json"),
        (b'{"model":"\xff"}', "bad_json"),
        (b'{"model":7}', "bad_json"),
        (b'{"model":"m","stream":"yes"}', "bad_json"),
        (b'{"messages":[]}', "missing_model"),
        (b'{"model":""}', "missing_model"),
        (b'{"model":"' + b"m" * 257 + b'"}', "missing_model"),
        (b'{"model":"a","model":"b"}', "duplicate_field"),
        (b'{"model":"a","mod\\u0065l":"b"}', "duplicate_field"),
        (b'{"model":"a","Model":"b"}', "duplicate_field"),
        (b'{"model":"a","MOD\\u0045L":"b"}', "duplicate_field"),
        (b'{"model":"a","stream":false,"Stream":true}', "duplicate_field"),
        (b'{"model":"a","stream":false,"stream":true}', "duplicate_field"),
        (b'{"model":"a","x":"\\u0061","str\\u0065am":false,"stream":true}', "duplicate_field"),
    ],
)
def test_what_is_refused(sent: bytes, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        body.read(sent)
    assert caught.value.code == code
    assert caught.value.status == 400


def test_nesting_is_no_danger() -> None:
    def nested(depth: int) -> bytes:
        return b'{"model":"m","x":"\\u0061","tools":' + b"[" * depth + b"]" * depth + b"}"

    assert body.read(nested(100)).model == "m"
    with pytest.raises(RequestError) as caught:
        body.read(nested(100_000))
    assert caught.value.code == "bad_json"


def test_the_same_name_deeper_down_is_no_duplicate() -> None:
    assert body.read(b'{"tools":[{"model":"x","model":"y"}],"model":"m","stream":true,"x":{"stream":1}}').model == "m"


def test_edits_touch_the_root_and_keep_the_bytes_of_values() -> None:
    edits = Edits(model="other", put={"cache": True}, defaults={"temperature": 0.5, "top_p": 1}, remove=("user",))
    assert edits
    assert not Edits()
    sent = b'{"model":"m", "temperature": 1.0e0, "user":"u", "num_ctx": 4, "messages": [ {"a" : "\\u0041"} ]}'
    edited = edits.apply(sent, remove=("num_ctx",))
    assert b'[ {"a" : "\\u0041"} ]' in edited
    assert b'"temperature":1.0e0' in edited
    assert json.loads(edited) == {
        "model": "other",
        "temperature": 1.0,
        "top_p": 1,
        "messages": [{"a": "A"}],
        "cache": True,
    }


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
    )
)
def test_an_edit_changes_nothing_else(fields: dict[str, object]) -> None:
    sent = msgspec.json.encode({**fields, "model": "m"})
    assert body.read(sent).model == "m" if _plain(fields) else True
    assert json.loads(Edits(model="n").apply(sent)) == {**fields, "model": "n"}


def _plain(fields: dict[str, object]) -> bool:
    return not set(fields) & set(body.Head.__struct_fields__)


@pytest.mark.parametrize(("said", "taken"), [("-1", 0), ("0", 0), (str(-(2**62)), 0), (str(2**70), body.MAX_TOKENS)])
def test_what_clients_say_of_tokens_can_be_calculated_with(said: str, taken: int) -> None:
    for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        assert body.read(f'{{"model":"m","{name}":{said}}}'.encode()).answer_tokens == taken
