"""Which handler a path leads to, and which paths are refused."""

from __future__ import annotations

import contextlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xetway.errors import NotFoundError, RequestError
from xetway.http.router import Router, split_path


def nobody(name: str):
    def handler(_request):
        raise AssertionError(name)

    handler.__name__ = name
    return handler


PATTERNS = (
    ("GET", "/", "root"),
    ("GET|HEAD", "/health", "health"),
    ("GET", "/api/models", "models"),
    ("POST", "/api/repos/create", "create"),
    ("GET", "/api/models/{ns}/{name}", "info"),
    ("GET", "/api/{type}/{ns}/{name}/tree/{rev}", "tree_root"),
    ("GET", "/api/{type}/{ns}/{name}/tree/{rev}/{path...}", "tree"),
    ("GET|HEAD", "/{ns}/{name}/resolve/{rev}/{path...}", "resolve"),
    ("GET|HEAD", "/datasets/{ns}/{name}/resolve/{rev}/{path...}", "resolve_dataset"),
    ("POST", "/{ns}/{name}.git/info/lfs/objects/batch", "batch"),
    ("POST", "/v1/xorbs/{prefix}/{hash}", "post_xorb"),
    ("HEAD", "/v1/xorbs/{prefix}/{hash}", "head_xorb"),
    ("POST", "/shards", "shards"),
)


@pytest.fixture(scope="module")
def router() -> Router:
    return Router((methods, pattern, nobody(name)) for methods, pattern, name in PATTERNS)


def found(router: Router, method: str, path: str) -> tuple[str, dict[str, str]]:
    handler, params = router.match(method, path.encode("latin-1"))
    return handler.__name__, params


@pytest.mark.parametrize(
    ("method", "path", "name", "params"),
    [
        ("GET", "/", "root", {}),
        ("HEAD", "/health", "health", {}),
        ("GET", "/api/models/org/m", "info", {"ns": "org", "name": "m"}),
        (
            "GET",
            "/api/models/o/m/tree/dev%2Fx",
            "tree_root",
            {"type": "models", "ns": "o", "name": "m", "rev": "dev/x"},
        ),
        (
            "GET",
            "/api/models/o/m/tree/main/sub%2Fdir",
            "tree",
            {"type": "models", "ns": "o", "name": "m", "rev": "main", "path": "sub/dir"},
        ),
        (
            "GET",
            "/o/m/resolve/dev%2Fx/a%20b/%C3%A9%25.bin",
            "resolve",
            {"ns": "o", "name": "m", "rev": "dev/x", "path": "a b/é%.bin"},
        ),
        (
            "GET",
            "/datasets/o/m/resolve/main/x",
            "resolve_dataset",
            {"ns": "o", "name": "m", "rev": "main", "path": "x"},
        ),
        # A model called resolve, of somebody called datasets, is not there: the longer literal wins.
        ("GET", "/datasets/m/resolve/main/x", "resolve", {"ns": "datasets", "name": "m", "rev": "main", "path": "x"}),
        ("POST", "/o/m.x.git/info/lfs/objects/batch", "batch", {"ns": "o", "name": "m.x"}),
        ("HEAD", "/v1/xorbs/default/00", "head_xorb", {"prefix": "default", "hash": "00"}),
        (
            "GET",
            "/o/m/resolve/main/back\\slash",
            "resolve",
            {"ns": "o", "name": "m", "rev": "main", "path": "back\\slash"},
        ),
    ],
)
def test_match(router: Router, method: str, path: str, name: str, params: dict[str, str]) -> None:
    assert found(router, method, path) == (name, params)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("GET", "/v1/xorbs/default/00"),
        ("PUT", "/shards"),
        ("POST", "/v2/shards"),
        ("POST", "/v1/xorb-grants/default/00"),
        ("POST", "/o/.git/info/lfs/objects/batch"),
    ],
)
def test_not_found(router: Router, method: str, path: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        found(router, method, path)
    assert (caught.value.code, caught.value.status) == ("route_not_found", 404)


def test_wrong_method_names_the_right_ones(router: Router) -> None:
    with pytest.raises(RequestError) as caught:
        found(router, "DELETE", "/health")
    assert (caught.value.code, caught.value.status) == ("method_not_allowed", 405)
    assert caught.value.headers == (("allow", "GET, HEAD"),)


@pytest.mark.parametrize(
    "path",
    [
        "*",
        "",
        "nothing",
        "//",
        "/a//b",
        "/a/",
        "/a/./b",
        "/a/../b",
        "/a/%2e%2e/b",
        "/a/%2E/b",
        "/a/.%2e",
        "/a/x%2f..%2fy",
        "/a/%2Fetc%2Fpasswd",
        "/a/x%2F",
        "/a/%00",
        "/a/%0d%0aX: y",
        "/a/%7f",
        "/a/%",
        "/a/%2",
        "/a/%zz",
        "/a/%ff",
        "/a/%C3",
        "/a/%ed%a0%80",
        "/" + "x" * 1025,
        "/" + "%41" * 1025,
        "/" + "/".join(["x" * 1000] * 17),
    ],
)
def test_bad_paths(router: Router, path: str) -> None:
    with pytest.raises(RequestError) as caught:
        found(router, "GET", path)
    assert (caught.value.code, caught.value.status) == ("bad_path", 400)


@given(
    st.lists(
        st.text(
            st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/"), min_size=1, max_size=40
        ).filter(lambda text: text not in {".", ".."}),
        min_size=1,
        max_size=6,
    )
)
def test_every_name_survives_quoting(segments: list[str]) -> None:
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    assert split_path(path.encode()) == segments


@given(st.binary(max_size=60))
def test_any_bytes_are_split_or_refused(raw: bytes) -> None:
    segments = []
    with contextlib.suppress(RequestError):
        segments = split_path(b"/" + raw)
    assert not {"", ".", ".."} & {part for segment in segments for part in segment.split("/")}


@pytest.mark.parametrize("pattern", ["x", "/a/{b...}/c", "/a/x{b...}", "/a/{b", "/a//b", "/a/{}"])
def test_malformed_patterns(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Router([("GET", pattern, nobody("x"))])


def test_one_handler_per_method_and_pattern() -> None:
    with pytest.raises(ValueError, match="already"):
        Router([("GET", "/{a}", nobody("x")), ("GET|POST", "/{b}", nobody("y"))])
