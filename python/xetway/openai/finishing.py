"""A stream of events of which nothing proves that it is complete: it is, if its last event says so.

Chats and completions end with `data: [DONE]`, or an error. Where an upstream's stream ends with its connection, and
HTTP told no length and no last chunk, one that died looks like one that is done.

Source: https://platform.openai.com/docs/api-reference/chat-streaming; RFC 9112, section 6.3.
"""

from __future__ import annotations

from xetway.errors import TransportError
from xetway.openai.usage import TAIL_BYTES
from xetway.ports import Answer

_PATHS = frozenset({b"/chat/completions", b"/completions"})


def checked(answer: Answer, path: bytes) -> Answer:
    """Return an answer that ends with the connection so that reading it fails if it is not complete."""
    is_events = any(name == b"content-type" and b"event-stream" in value for name, value in answer.headers)
    return Checked(answer) if is_events and path.partition(b"?")[0] in _PATHS else answer


class Checked:
    """Implements `ports.Answer`."""

    __slots__ = ("_answer", "_tail", "_whole", "body", "headers", "status")

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.body: bytes | None = answer.body
        self._answer = answer
        self._tail = b""
        self._whole: bytes | None = None
        if self.body is not None and not _is_complete(self.body):
            self.body, self._whole = None, self.body

    async def read(self) -> bytes:
        """Return what has come since, nothing at the end.

        Raises:
            TransportError: As the answer's own, or `stream_unfinished`.
        """
        if self._whole is not None:
            piece, self._whole = self._whole, b""
        else:
            piece = await self._answer.read()
        self._tail = (self._tail + piece)[-TAIL_BYTES:]
        if not piece and not _is_complete(self._tail):
            raise TransportError("the stream ended without its last event", code="stream_unfinished")
        return piece

    def close(self) -> None:
        """End it."""
        self._answer.close()


def _is_complete(tail: bytes) -> bool:
    last = tail.replace(b"\r\n", b"\n").rstrip().rpartition(b"\n\n")[2]
    return last.endswith(b"[DONE]") or b'"error"' in last
