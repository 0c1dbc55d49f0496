"""How one exchange with a model is counted, by what was passed on when its client went."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from xetway.errors import XetwayError
from xetway.openai.gateway import _Exchange
from xetway.openai.usage import Usage


class Coming:
    """An answer of which so much is there."""

    status = 200
    body = None

    def __init__(self, *pieces: bytes, length: int | None) -> None:
        self.headers = [] if length is None else [(b"content-length", b"%d" % length)]
        self._pieces = list(pieces)

    async def read(self) -> bytes:
        return self._pieces.pop(0)

    def close(self) -> None:
        pass


class Granted:
    def headers(self) -> list[tuple[str, str]]:
        return []

    def finish(self, tokens_used: int | None = None) -> None:
        pass


class Counted:
    def __init__(self) -> None:
        self.statuses: list[int] = []

    def began(self, model: str) -> None:
        pass

    def pace(self, model: str) -> None:
        pass

    def told(self, error: XetwayError) -> None:
        pass

    def ended(self, model: str, status: int, duration_s: float, first_byte_s: float, usage: Usage | None) -> None:
        self.statuses.append(status)


@pytest.mark.parametrize(("length", "status"), [(4, 200), (5, 499), (None, 499)])
def test_who_goes_with_all_of_an_answer_was_answered(length: int | None, status: int) -> None:
    async def leave_after_two_pieces() -> list[int]:
        counted = Counted()
        answer: Any = Coming(b"12", b"34", length=length)
        pieces: Any = _Exchange(counted, "m", Granted(), {}).relay(answer, None).pieces
        assert [await anext(pieces), await anext(pieces)] == [[b"12"], [b"34"]]
        await pieces.aclose()
        return counted.statuses

    assert asyncio.run(leave_after_two_pieces()) == [status]
