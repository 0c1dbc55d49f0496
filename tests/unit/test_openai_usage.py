"""Reading what an answer says of its tokens, whatever it says."""

from __future__ import annotations

import pytest

from xetway.openai.body import MAX_TOKENS
from xetway.openai.usage import Usage, of_body, of_stream


@pytest.mark.parametrize("said", [-5, MAX_TOKENS + 1, 2**63, 2**64, 2**70])
def test_a_number_of_tokens_that_cannot_be_is_not_believed(said: int) -> None:
    for name in ("total_tokens", "prompt_tokens", "output_tokens"):
        told = b'{"usage":{"%s":%d}}' % (name.encode(), said)
        assert of_body(told) is None
        assert of_stream(b"data: " + told) is None


def test_a_sum_that_is_not_there_is_made() -> None:
    usage = of_body(b'{"usage":{"input_tokens":3,"output_tokens":4}}')
    assert usage is not None
    assert (usage.prompt, usage.answer, usage.total) == (3, 4, 7)


def test_the_last_usage_of_a_stream_counts() -> None:
    events = (
        b'cut"}',
        b'data: {"usage":{"total_tokens":1}}',
        b'data: {"usage": {"total_tokens":7}}',
        b'data: {"usage":null}',
    )
    stream = b"\n\n".join((*events, b"data: [DONE]\n\n"))
    assert of_stream(stream) == Usage(total_tokens=7)
    # A short stream may be there whole.
    assert of_body(stream) == Usage(total_tokens=7)


@pytest.mark.parametrize("nested", [b"[" * 1900 + b"]" * 1900, b"[" * 4000])
def test_nesting_in_a_usage_is_no_danger(nested: bytes) -> None:
    assert of_stream(b'data: {"usage":{"a":' + nested + b"}}\n\n") is None
    assert of_body(b'{"usage":{"a":' + nested * 10 + b"}}") is None
