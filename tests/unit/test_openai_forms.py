"""The model in a multipart form, and forms that could be read in two ways."""

from __future__ import annotations

import pytest

from xetway.errors import RequestError
from xetway.openai import forms

TYPE = "multipart/form-data; boundary=xyz"
MODEL = b'--xyz\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'
END = b"--xyz--\r\n"


def part(disposition: bytes, value: bytes = b"v") -> bytes:
    return b"--xyz\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n" + value + b"\r\n"


def test_a_form_of_a_client() -> None:
    audio = b'--xyz\r\ncontent-disposition: form-data; name="file"; filename="a; name=b \\".wav"\r\n'
    audio += b"Content-Type: audio/wav\r\n\r\nRIFF\r\n--xy\n--\r\n\r\n"
    head = forms.read(audio + part(b"name=stream", b"True") + MODEL + END, TYPE)
    assert (head.model, head.streams) == ("m", True)
    quoted = 'Multipart/Form-Data; boundary="xyz"; charset=utf-8'
    assert forms.read(MODEL + part(b'name="a[]"; filename="x"; filename*=UTF-8\'\'%e2') + END, quoted).model == "m"
    assert forms.read(MODEL + b"--xyz--", TYPE).model == "m"


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"", TYPE, "bad_form"),
        (MODEL, TYPE, "bad_form"),
        (b"{}", TYPE, "bad_form"),
        (MODEL + END, "multipart/form-data", "bad_form"),
        (MODEL + END, "multipart/form-data; boundary=xyz; boundary=abc", "bad_form"),
        (MODEL + END, "multipart/form-data; boundary=xyz, multipart/form-data; boundary=abc", "bad_form"),
        (MODEL + END, "multipart/mixed; boundary=xyz", "bad_form"),
        (part(b"name=x") * forms.MAX_PARTS + MODEL + END, TYPE, "bad_form"),
        (part(b"name=x") + END, TYPE, "missing_model"),
        (part(b"name=model", b"\xff") + END, TYPE, "missing_model"),
        (part(b"name=model", b"") + END, TYPE, "missing_model"),
        (part(b"name=model", b"m" * 257) + END, TYPE, "missing_model"),
        (MODEL + MODEL + END, TYPE, "duplicate_field"),
        (MODEL + part(b"name=Model") + END, TYPE, "duplicate_field"),
    ],
)
def test_what_is_refused(body: bytes, content_type: str, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        forms.read(body, content_type)
    assert (caught.value.code, caught.value.status) == (code, 400)


@pytest.mark.parametrize(
    "hidden",
    [
        part(b'filename="; name=x"; name="model"'),
        part(b'name="x"; name="model"'),
        part(b'name="mod\\el"'),
        part(b"name*=UTF-8''model"),
        part(b"name*0=mo; name*1=del"),
        part(b'name="x"\r\nContent-Disposition: form-data; name="model"'),
        part(b'name="x";\r\n name="model"'),
        part(b'name="x"\nContent-Disposition: form-data; name="model"'),
        b'--xyz \r\nContent-Disposition: form-data; name="model"\r\n\r\nv\r\n',
        b'--xyz\r\nContent-Disposition : form-data; name="model"\r\n\r\nv\r\n',
        part(b"name=x", b'\n--xyz\nContent-Disposition: form-data; name="model"\n\nv\n'),
    ],
)
def test_no_other_model_can_be_hidden(hidden: bytes) -> None:
    for body in (MODEL + hidden + END, hidden + MODEL + END):
        with pytest.raises(RequestError) as caught:
            forms.read(body, TYPE)
        assert caught.value.code == "bad_form"


@pytest.mark.parametrize(
    "body", [part(b"name=x") + END + MODEL + END, b"preamble\r\n" + MODEL + END, MODEL + END + b"x"]
)
def test_there_is_nothing_before_and_behind_a_form(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        forms.read(body, TYPE)
    assert caught.value.code == "bad_form"
