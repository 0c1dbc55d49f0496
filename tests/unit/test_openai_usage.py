"""Reading what an answer says of its tokens, whatever it says."""

from __future__ import annotations

import pytest

from xetway.openai.body import MAX_TOKENS
from xetway.openai.usage import Usage, of_body, of_stream


@pytest.mark.parametrize(("said", "total"), [(-5, 0), (2**70, MAX_TOKENS), (12, 12)])
def test_what_upstreams_say_of_tokens_can_be_calculated_with(said: int, total: int) -> None:
    usage = of_body(b'{"usage":{"total_tokens":%d,"prompt_tokens":%d,"completion_tokens":%d}}' % (said, said, said))
    assert usage is not None
    assert (usage.total, usage.prompt, usage.answer) == (total, total, total)


def test_the_last_usage_of_a_stream_counts() -> None:
    events = (
        b'cut"}',
        b'data: {"usage":{"total_tokens":1}}',
        b'data: {"usage": {"total_tokens":7}}',
        b'data: {"usage":null}',
    )
    assert of_stream(b"\n\n".join((*events, b"data: [DONE]\n\n"))) == Usage(total_tokens=7)


@pytest.mark.parametrize("nested", [b"[" * 1900 + b"]" * 1900, b"[" * 4000])
def test_nesting_in_a_usage_is_no_danger(nested: bytes) -> None:
    assert of_stream(b'data: {"usage":{"a":' + nested + b"}}\n\n") is None
    assert of_body(b'{"usage":{"a":' + nested * 10 + b"}}") is None
