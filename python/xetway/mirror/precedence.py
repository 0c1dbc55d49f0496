"""Whose answer a request gets: a hosted repository that the caller may read wins, the upstream's comes next.

Only reading goes upstream. A request is first answered as if there were no mirror; if that fails because there is no
such repository here for this caller, the mirror answers. Where the mirror has a route and the hub has none, it is
added.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeAlias

from xetway.errors import NotFoundError, XetwayError
from xetway.http.request import Request
from xetway.http.response import AnyResponse
from xetway.http.router import Handler, Route
from xetway.http.threads import run
from xetway.mirror.refusals import Refused, unreachable

AsyncHandler: TypeAlias = Callable[[Request], Awaitable[AnyResponse]]

# What the hub says when nothing here is meant.
_NOT_HERE = frozenset({"repo_not_found", "file_not_found"})


def behind(hosted: Iterable[Route], mirrored: Iterable[Route]) -> Iterator[Route]:
    """Put the mirror's routes behind those of the hub; patterns are compared as they are written."""
    second = {(method, pattern): handler for methods, pattern, handler in mirrored for method in methods.split("|")}
    for methods, pattern, handler in hosted:
        for method in methods.split("|"):
            other = second.pop((method, pattern), None)
            yield method, pattern, handler if other is None else either(handler, other)
    for (method, pattern), handler in second.items():
        yield method, pattern, guarded(handler)


def either(hosted: Handler, mirrored: Handler) -> AsyncHandler:
    """Answer with `hosted`, or with `mirrored` where that has nothing."""
    other = guarded(mirrored)

    async def answer(request: Request) -> AnyResponse:
        request.keeps_body = True
        try:
            return await called(hosted, request)
        except NotFoundError as error:
            if error.code not in _NOT_HERE:
                raise
        return await other(request)

    return answer


def for_writers(hosted: Handler, check: Callable[[Request], object]) -> AsyncHandler:
    """Let `check` refuse one who may not write a repository that is not here, before it is said not to exist.

    Where the upstream has one of that name, a client that could not create it here goes on, since it is there.
    """

    async def answer(request: Request) -> AnyResponse:
        try:
            return await called(hosted, request)
        except NotFoundError as error:
            if error.code == "repo_not_found":
                await run(check, request)
            raise

    return answer


def guarded(handler: Handler) -> AsyncHandler:
    """Turn what the upstream refuses, and its absence, into answers."""

    async def answer(request: Request) -> AnyResponse:
        try:
            return await called(handler, request)
        except Refused as refused:
            return refused.response()
        except XetwayError:
            raise
        except (ConnectionError, TimeoutError) as error:
            raise unreachable(error) from error

    return answer


async def called(handler: Handler, request: Request) -> AnyResponse:
    """Call a handler of either kind."""
    if inspect.iscoroutinefunction(handler):
        answer: AnyResponse = await handler(request)
        return answer
    return await run(handler, request)  # type: ignore[arg-type]
