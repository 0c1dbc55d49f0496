"""The model's name in a multipart form, such as one that brings audio.

Only the parts' headers and the few fields that policy needs are looked at; the form is forwarded as it came.

Source: RFC 7578 (multipart/form-data), RFC 2046, section 5.1.
"""

from __future__ import annotations

import re

from xetway.errors import RequestError
from xetway.openai.body import MAX_MODEL_CHARS, Head

MAX_PARTS = 128
_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"\\]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb'^content-disposition:[^\r\n]*?;\s*name="?([^";\r\n]*)', re.IGNORECASE | re.MULTILINE)


def read(body: bytes, content_type: str) -> Head:
    """Read `model` and `stream` of a form.

    Raises:
        RequestError: `bad_form` if it is none, `missing_model`, `duplicate_field`.
    """
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise RequestError("the multipart body has no boundary", code="bad_form")
    parts = (b"\r\n" + body).split(b"\r\n--" + (match[1] or match[2]).encode("latin-1", "replace"), MAX_PARTS + 1)
    if len(parts) < 3 or len(parts) > MAX_PARTS + 1 or not parts[-1].startswith(b"--"):
        raise RequestError(f"the form is malformed, or has more than {MAX_PARTS} parts", code="bad_form")
    fields: dict[bytes, bytes] = {}
    for part in parts[1:-1]:
        head, blank, value = part.partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if not blank or name is None:
            raise RequestError("a part of the form has no name", code="bad_form")
        if name[1] in {b"model", b"stream"}:
            if name[1] in fields:
                raise RequestError(f"the form has {name[1].decode()} twice", code="duplicate_field")
            fields[name[1]] = value
    try:
        model = fields.get(b"model", b"").decode()
    except UnicodeDecodeError:
        model = ""
    if not model or len(model) > MAX_MODEL_CHARS:
        raise RequestError(f"the form has no field model of 1 to {MAX_MODEL_CHARS} characters", code="missing_model")
    return Head(model=model, stream=fields.get(b"stream", b"").lower() in {b"true", b"1"})
