"""What the gateway reads in a request's body, and the edits it makes to one.

A body is forwarded as it came unless an edit is configured: then fields at its root are added, replaced or left out,
and every other value keeps its bytes. Two fields of one name at the root are refused where this gateway reads that
name: the upstream might take the other one (RFC 8259, section 4). So are names that differ in case only, which is no
difference to some readers (https://pkg.go.dev/encoding/json#Unmarshal).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from xetway.errors import RequestError

MAX_MODEL_CHARS = 256
# What is said of tokens is no more than this: others than us say it, and it is calculated with.
MAX_TOKENS = 2**24


class StreamOptions(Struct):
    """Of `stream_options`, what matters here."""

    include_usage: bool = False


class Head(Struct):
    """The fields of a request that policy needs; all others pass unread.

    Source: https://platform.openai.com/docs/api-reference, and `num_ctx` as Ollama has it.
    """

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    seed: int | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    num_ctx: int | UnsetType | None = UNSET

    @property
    def streams(self) -> bool:
        """Whether the answer is to come as events."""
        return self.stream is True

    @property
    def answer_tokens(self) -> int:
        """The longest answer that was asked for; 0 if that was not said."""
        # -1 is how some say that there is no limit.
        return min(max(0, self.max_completion_tokens or self.max_tokens or self.max_output_tokens or 0), MAX_TOKENS)


_READ = frozenset(Head.__struct_fields__)
_DECODER = msgspec.json.Decoder(Head)
_RAW = msgspec.json.Decoder(dict[str, Raw])
_ENCODER = msgspec.json.Encoder()


def read(body: bytes) -> Head:
    """Read the head of a JSON body.

    Raises:
        RequestError: `bad_json` if it is no JSON object, `missing_model`, `duplicate_field`.
    """
    try:
        head = _DECODER.decode(body)
        if not body.isascii():
            body.decode()  # strings that are not read above may hold anything
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(body, error) from None
    # A name can be written with escapes; only bodies that might do so, or that say a name twice, are read again.
    text = body.lower()
    if (
        text.count(b'"model"') != 1
        or b"\\u00" in text
        or text.count(b'"stream"') > 1
        or b'"num_ctx"' in text  # which is bounded here
    ):
        _refuse_duplicates(body)
    if not head.model or len(head.model) > MAX_MODEL_CHARS:
        raise RequestError(f"model must have 1 to {MAX_MODEL_CHARS} characters", code="missing_model")
    return head


def _malformed(body: bytes, error: Exception) -> RequestError:
    if isinstance(error, msgspec.ValidationError) and "`model`" in str(error) and "missing" in str(error):
        return RequestError("the body names no model", code="missing_model")
    what = "is empty" if not body.strip() else f"is not the JSON expected here: {error}"
    return RequestError(f"the body {what}", code="bad_json")


def _refuse_duplicates(body: bytes) -> None:
    def pairs(found: list[tuple[str, Any]]) -> list[str]:
        return [name for name, _ in found]

    # The hook is called for the root last, so what is returned is the root's names.
    try:
        names: list[str] = json.loads(body, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        raise RequestError("the body is not JSON, or nested too deeply", code="bad_json") from None
    seen: set[str] = set()
    for written in names:
        name = written.casefold()
        if (name in seen and name in _READ) or (name != written and name == "num_ctx"):
            raise RequestError(f"the body has {name} twice, or in other letters", code="duplicate_field")
        seen.add(name)


class Edits:
    """Changes to the root of a JSON body, prepared once for each upstream of a model."""

    def __init__(
        self,
        *,
        model: str | None = None,
        put: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
        remove: Iterable[str] = (),
    ) -> None:
        self._put = {name: Raw(_ENCODER.encode(value)) for name, value in (put or {}).items()}
        if model is not None:
            self._put["model"] = Raw(_ENCODER.encode(model))
        self._defaults = {name: Raw(_ENCODER.encode(value)) for name, value in (defaults or {}).items()}
        # In whatever letters: what is put in is the only one of its name.
        self._left_out = frozenset(map(str.casefold, (*remove, *self._put)))

    def __bool__(self) -> bool:
        return bool(self._defaults or self._left_out)

    def apply(self, body: bytes, *, remove: Iterable[str] = ()) -> bytes:
        """Return the edited body. `body` was read before, so it is a JSON object."""
        fields = _RAW.decode(body)
        left_out = self._left_out.union(remove)
        kept = {name: value for name, value in fields.items() if name in self._put or name.casefold() not in left_out}
        return _ENCODER.encode({**self._defaults, **kept, **self._put})
