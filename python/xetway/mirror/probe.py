"""Asks the upstream once, when the server starts, so that a wrong address is told before a client runs into it."""

from __future__ import annotations

import logging

import msgspec

from xetway.http.errors import describe
from xetway.mirror.mirror import Mirror
from xetway.mirror.upstream import TROUBLE, Answer

logger = logging.getLogger("xetway")

# A list of repositories is what a Hub has for everybody; some that stand before a Hub know nothing of lists.
_QUESTIONS = ("/api/models?limit=1", "/api/whoami-v2")
_WANTS_TOKEN = frozenset({401, 403, 429})


async def probe(mirror: Mirror) -> None:
    """Warn, once, if the upstream cannot be reached, is in trouble or is no Hub; nothing is asked when offline."""
    upstream = mirror.upstream
    if upstream.offline:
        return
    caller = mirror.callers.again(None)
    heard, in_trouble = [], False
    try:
        for target in _QUESTIONS:
            answer = await upstream.ask(caller, "GET", target)
            if _is_of_a_hub(answer):
                return
            in_trouble |= answer.status in TROUBLE
            heard.append(f"{answer.status} {answer.headers.get('content-type', '')[:50]}".strip())
    except (ConnectionError, TimeoutError) as error:
        logger.warning(
            "the upstream %s cannot be reached (%s): until it can, only what is cached is served; check --upstream, "
            "the network and its proxy (HTTPS_PROXY)",
            upstream.url,
            describe(error),
        )
        return
    if in_trouble:
        logger.warning(
            "the upstream %s is in trouble (%s): meanwhile only what is cached is served",
            upstream.url,
            ", ".join(heard),
        )
        return
    logger.warning(
        "the upstream %s does not answer as a Hub does (%s to %s): check --upstream, and whether a proxy answers in "
        "its place",
        upstream.url,
        ", ".join(heard),
        ", ".join(_QUESTIONS),
    )


def _is_of_a_hub(answer: Answer) -> bool:
    if answer.status not in {200, *_WANTS_TOKEN}:
        return False
    try:
        msgspec.json.decode(answer.body, type=list[dict[str, object]] | dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
