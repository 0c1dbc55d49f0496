"""Which paths below /v1 are forwarded: those whose body names a model.

What is asked for by an id of the upstream's (stored responses, files, batches, fine-tuning jobs) names none, so nobody
here knows which upstream has it.

Sources: https://platform.openai.com/docs/api-reference; the servers of vLLM and llama.cpp (rerank, score, pooling,
classify, tokenize, infill), and Anthropic's messages, which both answer.
"""

from __future__ import annotations

from collections.abc import Iterator

from xetway.errors import NotFoundError

FORWARDED = (
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
    "chat/completions",
    "classify",
    "completions",
    "detokenize",
    "embeddings",
    "images/edits",
    "images/generations",
    "images/variations",
    "infill",
    "messages",
    "messages/count_tokens",
    "moderations",
    "pooling",
    "rerank",
    "reranking",
    "responses",
    "responses/compact",
    "responses/input_tokens",
    "score",
    "tokenize",
)


def patterns(more: tuple[str, ...]) -> Iterator[str]:
    """Give the router's patterns of all; in `more`, a last part `*` stands for any."""
    for path in dict.fromkeys((*(f"/v1/{path}" for path in FORWARDED), *more)):
        yield f"{path[:-1]}{{rest...}}" if path.endswith("/*") else path


def not_forwarded(method: str, path: str) -> NotFoundError:
    """What others are told."""
    return NotFoundError(
        f"{method} {path[:200]} is not forwarded: that takes a POST whose body names a model, to a path that is known "
        "here or named by the setting http.paths",
        code="path_not_forwarded",
    )
