"""Answers of a model that can be foretold: each is a function of its question, and says which one it is.

A wrong byte, or an answer to another question, cannot be mistaken for the right one. `serial` is the number of the
request that the upstream answered; it comes last, so the rest is known before.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

EVENT_CHARS = 400
DONE = b"data: [DONE]\n\n"


def text_of(question: str, size: int) -> str:
    """`size` characters that belong to this question."""
    word = hashlib.sha256(question.encode()).hexdigest()
    return (word * (size // len(word) + 1))[:size]


def usage_of(question: str, size: int) -> dict[str, int]:
    """As if a token had four characters."""
    prompt, answer = len(question) // 4 + 1, size // 4 + 1
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def whole(question: str, size: int, serial: int) -> bytes:
    """A chat answer in one piece."""
    message = {"role": "assistant", "content": text_of(question, size)}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return _json({"choices": choices, "usage": usage_of(question, size), "serial": serial})


def events(question: str, size: int, serial: int) -> list[bytes]:
    """A chat answer as events; `[DONE]` is the last."""
    text = text_of(question, size)
    found = [
        _json({"choices": [{"index": 0, "delta": {"content": text[start : start + EVENT_CHARS]}}], "usage": None})
        for start in range(0, size, EVENT_CHARS)
    ]
    found.append(_json({"choices": [], "usage": usage_of(question, size), "serial": serial}))
    return [*(b"data: " + event + b"\n\n" for event in found), DONE]


def embeddings(inputs: list[str], serial: int) -> bytes:
    """A vector for each input."""
    data = [{"object": "embedding", "index": index, "embedding": vector(text)} for index, text in enumerate(inputs)]
    tokens = sum(len(text) for text in inputs)
    return _json({"data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}, "serial": serial})


def vector(text: str) -> list[int]:
    """Numbers that belong to this text."""
    return list(hashlib.sha256(text.encode()).digest())


def transcript(form: bytes, serial: int) -> bytes:
    """What an upload is answered."""
    return _json({"text": hashlib.sha256(form).hexdigest(), "serial": serial})


def serial_of(body: bytes) -> int:
    """The number in an answer; -1 if there is none."""
    digits = body.rpartition(b'"serial":')[2].partition(b"}")[0]
    return int(digits) if digits.isdigit() else -1


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
