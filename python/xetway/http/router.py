"""Routing on the raw, still percent-encoded path.

Hub clients send ``dev%2Fx`` for the revision ``dev/x`` and plain slashes in file paths, so a path is cut at
its slashes first and each segment decoded after. A pattern has literal segments (which may hold one
parameter with text around it, like ``{name}.git``), ``{name}`` for one segment, and ``{name...}`` as the last
segment for the rest of the path. The most specific pattern wins: literal before parameter before rest, from
left to right.

What it refuses, with 400 ``bad_path``: empty, ``.`` and ``..`` segments, control characters, bytes that are not
UTF-8, wrong percent signs, segments and paths that are too long.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeAlias

from xetway.errors import NotFoundError, RequestError
from xetway.http.response import AnyResponse

Handler: TypeAlias = Callable[[Any], AnyResponse] | Callable[[Any], Awaitable[AnyResponse]]
Route: TypeAlias = tuple[str, str, Handler]

MAX_PATH_BYTES = 16 * 1024
MAX_SEGMENT_BYTES = 1024
# hf_xet falls back to older routes on 404 and gives up on 405, so these never answer 405.
_NEVER_405 = ("-", "v1", "v2", "xorbs", "shards", "chunks", "reconstructions", "xorb-grants")
_PARAMETER = re.compile(r"([^{}]*)\{([a-z_]+)(\.\.\.)?\}([^{}]*)")
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")


class _Node:
    """One place in the tree of patterns."""

    __slots__ = ("affixed", "handlers", "literals", "names", "parameter", "rest")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.affixed: list[tuple[str, str, _Node]] = []
        self.parameter: _Node | None = None
        self.rest: _Node | None = None
        self.handlers: dict[str, tuple[Handler, tuple[str, ...]]] = {}


class Router:
    """A table of patterns. Filled once at start, read by all requests."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._root = _Node()
        # Those without parameters, by their path as it comes: they go before all others.
        self._plain: dict[tuple[str, bytes], Handler] = {}
        for methods, pattern, handler in routes:
            self.add(methods, pattern, handler)

    def add(self, methods: str, pattern: str, handler: Handler) -> None:
        """Add a route: `methods` like ``GET|HEAD``.

        Raises:
            ValueError: The pattern is malformed, or has a handler for one of the methods already.
        """
        node, names = self._place(pattern)
        for method in methods.split("|"):
            if method in node.handlers:
                raise ValueError(f"{method} {pattern} has a handler already")
            node.handlers[method] = (handler, names)
            if not names:
                self._plain[method, pattern.encode()] = handler

    def _place(self, pattern: str) -> tuple[_Node, tuple[str, ...]]:
        if not pattern.startswith("/"):
            raise ValueError(f"pattern {pattern!r} does not begin with a slash")
        segments = pattern[1:].split("/") if pattern != "/" else []
        node, names = self._root, []
        for index, segment in enumerate(segments):
            match = _PARAMETER.fullmatch(segment)
            if match is None:
                if "{" in segment or not segment:
                    raise ValueError(f"pattern {pattern!r} has a malformed segment {segment!r}")
                node = node.literals.setdefault(segment, _Node())
                continue
            before, name, rest, after = match.groups()
            names.append(name)
            if rest and (before or after or index != len(segments) - 1):
                raise ValueError(f"pattern {pattern!r}: a rest parameter is a whole segment, the last one")
            if rest:
                node.rest = node = node.rest or _Node()
            elif before or after:
                node = _affixed(node, before, after)
            else:
                node.parameter = node = node.parameter or _Node()
        return node, tuple(names)

    def match(self, method: str, raw_path: bytes) -> tuple[Handler, dict[str, str]]:
        """Find the handler and the decoded parameters.

        Raises:
            RequestError: `bad_path`, or `method_not_allowed` (405, with `allow`).
            NotFoundError: No such route, or a CAS route without this method.
        """
        plain = self._plain.get((method, raw_path))
        if plain is not None:
            return plain, {}
        segments = split_path(raw_path)
        allowed: set[str] = set()
        for node, values in _walk(self._root, segments, 0, ()):
            found = node.handlers.get(method)
            if found is not None:
                handler, names = found
                return handler, dict(zip(names, values, strict=True))
            allowed.update(node.handlers)
        if not allowed or (segments and segments[0] in _NEVER_405):
            raise NotFoundError("no such route", code="route_not_found")
        raise RequestError(
            f"this address answers {', '.join(sorted(allowed))}",
            code="method_not_allowed",
            status=405,
            headers=(("allow", ", ".join(sorted(allowed))),),
        )


def _affixed(node: _Node, before: str, after: str) -> _Node:
    for known_before, known_after, child in node.affixed:
        if (known_before, known_after) == (before, after):
            return child
    child = _Node()
    node.affixed.append((before, after, child))
    return child


def _walk(
    node: _Node, segments: list[str], at: int, values: tuple[str, ...]
) -> Iterable[tuple[_Node, tuple[str, ...]]]:
    """Give every node with handlers that the path leads to, the most specific first."""
    if at == len(segments):
        if node.handlers:
            yield node, values
        return
    segment = segments[at]
    literal = node.literals.get(segment)
    if literal is not None:
        yield from _walk(literal, segments, at + 1, values)
    for before, after, child in node.affixed:
        if len(segment) > len(before) + len(after) and segment.startswith(before) and segment.endswith(after):
            yield from _walk(child, segments, at + 1, (*values, segment[len(before) : len(segment) - len(after)]))
    if node.parameter is not None:
        yield from _walk(node.parameter, segments, at + 1, (*values, segment))
    if node.rest is not None and node.rest.handlers:
        yield node.rest, (*values, "/".join(segments[at:]))


def split_path(raw_path: bytes) -> list[str]:
    """Cut the path at its slashes and decode each segment."""
    if len(raw_path) > MAX_PATH_BYTES:
        raise _bad_path(f"longer than {MAX_PATH_BYTES} bytes")
    if not raw_path.startswith(b"/"):
        raise _bad_path("it does not begin with a slash")
    if raw_path == b"/":
        return []
    return [decode_segment(segment) for segment in raw_path[1:].split(b"/")]


def decode_segment(raw: bytes) -> str:
    """Decode one segment and refuse what is no name of anything."""
    if raw.isalnum() and len(raw) <= MAX_SEGMENT_BYTES:
        return raw.decode("ascii")
    if b"%" in raw:
        if _BAD_PERCENT.search(raw):
            raise _bad_path("a percent sign is not followed by two hex digits")
        raw = _PERCENT.sub(lambda match: bytes.fromhex(match[1].decode()), raw)
    if len(raw) > MAX_SEGMENT_BYTES:
        raise _bad_path(f"a part of it is longer than {MAX_SEGMENT_BYTES} bytes")
    try:
        segment = raw.decode()
    except UnicodeDecodeError:
        raise _bad_path("it is not UTF-8") from None
    if any(character < " " or character == "\x7f" for character in segment):
        raise _bad_path("it has a control character")
    # An encoded slash may sit inside a segment (revisions, folders), so its parts are checked too.
    if any(part in {"", ".", ".."} for part in segment.split("/")):
        raise _bad_path("it has an empty, '.' or '..' part")
    return segment


def _bad_path(reason: str) -> RequestError:
    return RequestError(f"the path is refused: {reason}", code="bad_path")
