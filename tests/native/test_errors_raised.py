"""The exceptions that native code raises are those of `xetway.errors`, with their fields, and can be pickled."""

import pickle

import pytest

import xetway
from tests.native.oracle import sm
from xetway import Hash, errors
from xetway._native import XorbStore


def stored(tmp_path):
    store = XorbStore(tmp_path)
    ingest = store.ingest()
    ingest.write(sm(1, 300_000))
    _, size, _, terms, [(xorb, writer, *_)] = ingest.finish()
    writer.publish()
    return store, terms, size, xorb


def corrupt(tmp_path):
    store, terms, size, xorb = stored(tmp_path)
    path = tmp_path / "xorbs" / str(xorb)[:2] / f"{xorb}.xorb"
    data = bytearray(path.read_bytes())
    data[50_000] ^= 1
    path.write_bytes(data)
    reader = store.open_file(terms, 0, size)
    while reader.read():
        pass


def missing(tmp_path):
    store, terms, size, xorb = stored(tmp_path)
    store.remove(xorb)
    store.open_file(terms, 0, size)


CALLS = {
    "format": (lambda _: xetway.read_xorb(bytes(8)), errors.FormatError, {"code", "format", "offset"}),
    "truncated": (lambda _: xetway.read_xorb(bytes(3)), errors.TruncatedError, {"code", "format", "offset"}),
    "integrity": (
        lambda _: xetway.read_xorb(xetway.build_xorb([b"x"])[0], Hash.ZERO),
        errors.IntegrityError,
        {"code", "format", "offset", "expected", "actual"},
    ),
    "corrupt": (corrupt, errors.StoreCorruptionError, {"xorb", "chunk", "offset", "expected", "actual"}),
    "missing": (missing, errors.StoreCorruptionError, {"code", "xorb"}),
    "state": (lambda _: XorbStore(_).create(Hash.ZERO).publish(), errors.StateError, set()),
}


@pytest.mark.parametrize("name", CALLS)
def test_fields_and_pickle(name, tmp_path):
    call, kind, fields = CALLS[name]
    with pytest.raises(errors.XetwayError) as caught:
        call(tmp_path)
    error = caught.value
    assert type(error) is kind
    assert set(vars(error)) == fields
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.args, vars(again)) == (kind, error.args, vars(error))
    assert str(tmp_path) not in str(error)
    assert len(error.args) == 1


def test_what_corruption_says(tmp_path):
    with pytest.raises(errors.StoreCorruptionError) as caught:
        corrupt(tmp_path)
    error = caught.value
    assert error.code == "stored_data_corrupt"
    assert error.status == 500
    assert error.chunk == 1
    assert len(error.xorb) == 64
    assert error.xorb in error.message
    assert "chunk 1" in error.message


def test_what_a_missing_xorb_says(tmp_path):
    with pytest.raises(errors.StoreCorruptionError) as caught:
        missing(tmp_path)
    assert caught.value.code == "stored_data_missing"
    assert caught.value.xorb in caught.value.message


def test_no_space_is_the_usual_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises((NotADirectoryError, FileExistsError, FileNotFoundError)) as caught:
        XorbStore(tmp_path / "file")
    assert caught.value.errno
    assert str(tmp_path) not in str(caught.value)
