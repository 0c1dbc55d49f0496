"""Embeddings requests put together, and their answers taken apart again.

Inputs, embeddings (numbers or base64) and all unknown fields keep their bytes. What an answer says about usage is
exact in the sum only: each part gets a share by the length of its input, in tokens if it came as tokens.

Source: https://platform.openai.com/docs/api-reference/embeddings/create.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import msgspec
from msgspec import Raw

_DIGITS = {b"%d" % digit for digit in range(10)}
_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_ARRAY = msgspec.json.Decoder(list[Raw])
_OBJECTS = msgspec.json.Decoder(list[dict[str, Raw]])
_NUMBER = msgspec.json.Decoder(int)
_ENCODE = msgspec.json.Encoder().encode


class Question(msgspec.Struct, frozen=True):
    """A request that can be put together with others of the same `shape`."""

    shape: tuple[tuple[str, bytes], ...]
    items: tuple[Raw, ...]
    weight: int


def read(body: bytes) -> Question | None:
    """Read a request; None if its input is none that can be one of several."""
    try:
        fields = _OBJECT.decode(body)
        given = bytes(fields.pop("input"))
        if given.startswith(b'"'):
            items, kind = [Raw(given)], b'"'
        else:
            items = _ARRAY.decode(given)
            kinds = {bytes(item)[:1] for item in items}
            if kinds <= _DIGITS and kinds:
                items, kind = [Raw(given)], b"["
            elif kinds in ({b'"'}, {b"["}):
                kind = kinds.pop()
            else:
                return None
    except (msgspec.DecodeError, ValueError, RecursionError, KeyError):
        return None
    shape = tuple(sorted((name, bytes(value)) for name, value in fields.items()))
    return Question((("input", kind), *shape), tuple(items), _weight(kind, items))


def _weight(kind: bytes, items: Sequence[Raw]) -> int:
    if kind == b"[":
        return sum(bytes(item).count(b",") + 1 for item in items)
    return sum(len(bytes(item)) for item in items)


def merge(questions: Sequence[Question]) -> bytes:
    """Make one body of several of one shape."""
    _, *shape = questions[0].shape
    items = [item for question in questions for item in question.items]
    return _ENCODE({name: Raw(value) for name, value in shape} | {"input": items})


def split(body: bytes, questions: Sequence[Question]) -> list[bytes] | None:
    """Take the answer apart; None if it does not have one embedding for each input."""
    ends = list(accumulate((len(question.items) for question in questions), initial=0))
    try:
        fields = _OBJECT.decode(body)
        data = _OBJECTS.decode(fields["data"])
        placed = {_NUMBER.decode(item["index"]): item for item in data}
        if len(data) != ends[-1] or placed.keys() != set(range(ends[-1])):
            return None
        usages = _shares(fields.get("usage"), [question.weight for question in questions])
    except (msgspec.DecodeError, ValueError, RecursionError, KeyError):
        return None
    parts = []
    for (start, end), usage in zip(pairwise(ends), usages, strict=True):
        items = [placed[place] | {"index": place - start} for place in range(start, end)]
        part = fields | {"data": items}
        parts.append(_ENCODE(part if usage is None else part | {"usage": usage}))
    return parts


def _shares(usage: Raw | None, weights: Sequence[int]) -> Sequence[dict[str, int] | None]:
    """Share out each whole number so that the shares add up to it; other values cannot be shared and are left out."""
    if usage is None or bytes(usage) == b"null":
        return [None] * len(weights)
    ends = list(accumulate(weights, initial=0))
    shares: list[dict[str, int]] = [{} for _ in weights]
    for name, value in _OBJECT.decode(usage).items():
        if bytes(value).isdigit():
            total = int(bytes(value))
            for share, (start, end) in zip(shares, pairwise(ends), strict=True):
                share[name] = total * end // ends[-1] - total * start // ends[-1]
    return shares
