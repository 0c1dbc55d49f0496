"""The model's name in a multipart form, such as one that brings audio.

Only the parts' headers and the few fields that policy needs are looked at; the form is forwarded as it came. So
whatever could be read in two ways is refused: the upstream might find another model in it.

Source: RFC 7578 (multipart/form-data), RFC 2046, section 5.1.
"""

from __future__ import annotations

import re

from xetway.errors import RequestError
from xetway.openai.body import MAX_MODEL_CHARS, Head

MAX_PARTS = 128
_TYPE = re.compile(
    r"""multipart/form-data;[ ]*boundary=(?:"([\w'()+,./:=?-]{1,70})"|([\w'+.-]{1,70}))"""
    r"""[ ]*(?:;[ ]*charset="?utf-8"?)?""",
    re.IGNORECASE | re.ASCII,
)
_HEADER = re.compile(rb"([\w-]+):[ \t]*([^\x00-\x1f\x7f]*)", re.ASCII)
_DISPOSITION = re.compile(
    rb"""form-data;[ ]*name=(?:"([^"\\]*)"|([\w.\[\]-]+))(?:;[ ]*filename=(?:"(?:[^"\\]|\\.)*"|[\w.-]+))?"""
    rb"""(?:;[ ]*filename\*=[\w.%!#$&+^`|~'-]+)?[ ]*""",
    re.IGNORECASE | re.ASCII,
)


def read(body: bytes, content_type: str) -> Head:
    """Read `model` and `stream` of a form.

    Raises:
        RequestError: `bad_form` if it is none, `missing_model`, `duplicate_field`.
    """
    fields: dict[bytes, bytes] = {}
    for part in _parts(body, content_type):
        head, blank, value = part.partition(b"\r\n\r\n")
        name = _name(head)
        if not blank or name is None:
            raise RequestError("a part of the form has no name, or not in the usual way", code="bad_form")
        if name in {b"model", b"stream"}:
            if name in fields:
                raise RequestError(f"the form has {name.decode()} twice", code="duplicate_field")
            fields[name] = value
    try:
        model = fields.get(b"model", b"").decode()
    except UnicodeDecodeError:
        model = ""
    if not model or len(model) > MAX_MODEL_CHARS:
        raise RequestError(f"the form has no field model of 1 to {MAX_MODEL_CHARS} characters", code="missing_model")
    return Head(model=model, stream=fields.get(b"stream", b"").lower() in {b"true", b"1"})


def renamed(body: bytes, content_type: str, model: str) -> bytes:
    """Return a form that was read before, with another model in it."""
    mark, parts = _cut(body, content_type)
    for place, part in enumerate(parts):
        head, blank, _ = part.partition(b"\r\n\r\n")
        if blank and _name(head) == b"model":
            parts[place] = head + blank + model.encode()
    return (b"\r" + mark).join(parts)[2:]


def _parts(body: bytes, content_type: str) -> list[bytes]:
    mark, parts = _cut(body, content_type)
    if len(parts) < 3 or len(parts) > MAX_PARTS + 2:
        raise RequestError(f"the form is malformed, or has more than {MAX_PARTS} parts", code="bad_form")
    # Some take a line feed alone for the end of a line.
    is_clear = body.count(mark) + body.startswith(mark[1:]) == len(parts) - 1
    is_clear = is_clear and not parts[0] and parts[-1] in {b"--", b"--\r\n"}
    if not is_clear or not all(part.startswith(b"\r\n") for part in parts[1:-1]):
        raise RequestError("the form has a boundary that is none, or more than parts", code="bad_form")
    return parts[1:-1]


def _cut(body: bytes, content_type: str) -> tuple[bytes, list[bytes]]:
    """What stands before each part but for a carriage return, and what is between, before and after."""
    match = _TYPE.fullmatch(content_type.strip())
    if match is None:
        raise RequestError("the content type is not multipart/form-data with one boundary", code="bad_form")
    mark = b"\n--" + (match[1] or match[2]).encode()
    return mark, (b"\r\n" + body).split(b"\r" + mark, MAX_PARTS + 2)


def _name(head: bytes) -> bytes | None:
    """The name of a part in lower case; None if it has none, or another might read another one."""
    names = []
    for line in head[2:].split(b"\r\n"):
        header = _HEADER.fullmatch(line)
        if header is None:
            return None
        if header[1].lower() == b"content-disposition":
            names.append(_DISPOSITION.fullmatch(header[2]))
    if len(names) != 1 or names[0] is None:
        return None
    return (names[0][1] or names[0][2] or b"").lower()
