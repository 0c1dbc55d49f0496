"""How many tokens an answer says it took, read at its end.

Source: the `usage` objects of the OpenAI reference; that of responses has other names.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from xetway.openai.body import MAX_TOKENS

# A number that cannot be is none: nobody is to wait for hours because of it.
_Tokens: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_TOKENS)] | None


class Usage(Struct, frozen=True):
    """Tokens, as the upstream counted them."""

    prompt_tokens: _Tokens = None
    completion_tokens: _Tokens = None
    total_tokens: _Tokens = None
    input_tokens: _Tokens = None
    output_tokens: _Tokens = None

    @property
    def prompt(self) -> int:
        """Those of the question."""
        return self.prompt_tokens or self.input_tokens or 0

    @property
    def answer(self) -> int:
        """Those of the answer."""
        return self.completion_tokens or self.output_tokens or 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.total_tokens or self.prompt + self.answer


class _Body(Struct):
    usage: Usage | None = None


_BODY = msgspec.json.Decoder(_Body)
_USAGE = msgspec.json.Decoder(Usage)
_NAME = b'"usage":'
# How much of the end of a stream its usage is looked for in.
TAIL_BYTES = 4096


def of_body(body: bytes) -> Usage | None:
    """Read the usage of a whole answer: JSON, or all events of a stream that came at once."""
    try:
        return _BODY.decode(body).usage
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return of_stream(body[-TAIL_BYTES:])


def of_stream(tail: bytes) -> Usage | None:
    """Read the last usage in the end of a stream; in other events it is null."""
    end = len(tail)
    while (at := tail.rfind(_NAME, 0, end)) >= 0:
        found = tail[at + len(_NAME) :].lstrip(b" ")
        if found.startswith(b"{"):
            try:
                return _USAGE.decode(_object(found))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return None
        end = at
    return None


def _object(text: bytes) -> bytes:
    """Cut out the object that `text` begins with; its strings hold no braces."""
    depth = 0
    for at, byte in enumerate(text):
        depth += (byte == 0x7B) - (byte == 0x7D)
        if depth == 0:
            return text[: at + 1]
    return text
