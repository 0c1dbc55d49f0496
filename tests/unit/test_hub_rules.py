"""How files are to be uploaded: by size, by content, by the rules of a repository."""

from __future__ import annotations

import base64
import time

import pytest

from tests.unit.hub_driver import HubDriver, put, put_lfs
from xetway.errors import RequestError
from xetway.hub.objects import MAX_INLINE_BYTES
from xetway.hub.rules import IgnoreRules, LfsRules, Pattern, Steps

API = "/api/models/org/m"


def plan(hub: HubDriver, path: str, size: int, sample: bytes = b"text", revision: str = "main") -> dict[str, object]:
    body = {"files": [{"path": path, "size": size, "sample": base64.b64encode(sample).decode()}]}
    answer: dict[str, object] = hub.send("POST", f"{API}/preupload/{revision}", body).json["files"][0]
    assert answer["path"] == path
    assert answer["shouldIgnore"] is False
    return answer


@pytest.mark.parametrize(
    ("path", "size", "sample", "mode"),
    [
        ("a.txt", 10, b"text", "regular"),
        ("a.txt", MAX_INLINE_BYTES, b"text", "regular"),
        ("a.txt", MAX_INLINE_BYTES + 1, b"text", "lfs"),
        ("a.safetensors", 10, b"text", "lfs"),
        ("d/e/a.gguf", 10, b"text", "lfs"),
        ("a.dat", 10, b"te\0xt", "lfs"),
        ("a.dat", 0, b"", "regular"),
        ("a.bin", 0, b"", "regular"),
        ("a.bin.txt", 5, b"x", "regular"),
        ("saved_model/x/y", 5, b"x", "lfs"),
        ("events.out.tfevents.1", 5, b"x", "lfs"),
        ("caf\u00e9.bin", 5, b"x", "lfs"),
        ("a.json", 5, "\u00e9".encode(), "regular"),
    ],
)
def test_upload_modes(hub: HubDriver, path: str, size: int, sample: bytes, mode: str) -> None:
    assert plan(hub, path, size, sample)["uploadMode"] == mode


def test_attributes_of_the_revision_decide(hub: HubDriver) -> None:
    hub.send("POST", f"{API}/branch/dev", {})
    rules = b"*.txt filter=lfs\nsmall/*.txt -filter\n# *.md filter=lfs\n\n"
    hub.commit(put(".gitattributes", rules), revision="dev")
    assert plan(hub, "a.txt", 5)["uploadMode"] == "regular"
    assert plan(hub, "a.txt", 5, revision="dev")["uploadMode"] == "lfs"
    assert plan(hub, "small/a.txt", 5, revision="dev")["uploadMode"] == "regular"
    assert plan(hub, "a.safetensors", 5, revision="dev")["uploadMode"] == "regular"
    assert plan(hub, "a.md", 5, revision="dev")["uploadMode"] == "regular"


def test_what_is_there_is_named(hub: HubDriver) -> None:
    sha256 = hub.upload(b"weights")
    hub.commit(put("d/a.txt", b"1"), put_lfs("w.bin", sha256))
    assert plan(hub, "d/a.txt", 1)["oid"] == "56a6051ca2b02b04ef92d5150c9ef600403cb1de"
    assert plan(hub, "w.bin", 7)["oid"] == sha256
    for path in ("d", "none", "d/a.txt/x"):
        assert plan(hub, path, 1)["oid"] is None


@pytest.mark.parametrize(
    ("pattern", "path", "matched"),
    [
        ("*.bin", "a/b.bin", True),
        ("*.bin", "a/b.binx", False),
        ("a/*.bin", "a/b.bin", True),
        ("a/*.bin", "x/a/b.bin", False),
        ("/a.bin", "a.bin", True),
        ("/a.bin", "x/a.bin", False),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("**/z", "z", True),
        ("**/z", "a/z", True),
        ("a/**", "a/b/c", True),
        ("a/**", "b/a", False),
        ("a/**/*", "a/b", True),
        ("a?c", "x/abc", True),
        ("[ab].txt", "b.txt", True),
        ("*a*a*a*a*a*a*a*a*a*b", "a" * 250, False),
        ("**/" * 60 + "x", "a/" * 400 + "b", False),
        ("**", "a/b", True),
        ("/**", "a/b", True),
        ("a/**", "a", False),
        ("a/**/b/**/c", "a/b/x/b/y/c", True),
        ("a/**/b/**/c", "a/x/c", False),
        ("a/*x*/c", "a/oxo/c", True),
        ("a*c", "a/c", False),
        ("a/*/c", "a/b/b/c", False),
        ("x[!a-c]z", "xdz", True),
        ("x[^a-c]z", "xbz", False),
        ("[]]x", "]x", True),
        ("x[b-a]", "xb", True),
        ("a/x[!b]c", "a/x/c", False),
        ("x[y", "x[y", True),
        ("x[]", "x[]", True),
        ("x\\*y", "x*y", True),
        ("x\\*y", "xzy", False),
        ("x\\", "x\\", True),
        (".{2}|a+", ".{2}|a+", True),
        ("[&&--||~~]", "|", True),
    ],
)
def test_attribute_patterns(pattern: str, path: str, matched: bool) -> None:
    assert Pattern(pattern).matches(path, Steps()) is matched


def test_unusual_attributes() -> None:
    rules = LfsRules(
        '\n\r\n*\n* filter=lfs\n*.x filter\n*.y !filter\n*.z -filter\n"q" filter=lfs\n[attr]a filter=lfs\n',
        Steps(),
    )
    assert [rules.matches(f"f.{end}") for end in "wxyz"] == [True, False, False, False]


def test_matching_is_bounded() -> None:
    deep = "a/" * 63 + "f"
    rules = [f"**/a/{'a/**/' * 10}{'?' * (number % 3)}*{number:03}*f filter=lfs" for number in range(1_000)]
    began = time.process_time()
    assert not LfsRules("\n".join(rules), Steps()).matches(deep)
    assert time.process_time() - began < 5
    with pytest.raises(RequestError) as caught:
        LfsRules("\n".join(rules), Steps(100_000)).matches(deep)
    assert caught.value.code == "too_many_rules"
    ignored = IgnoreRules("*x\n" * 10, Steps(1_500))
    assert not ignored.matches("d/a")
    # The folder is decided already.
    assert not ignored.matches("d/b")
    with pytest.raises(RequestError):
        ignored.matches("e/a")


@pytest.mark.parametrize(
    "path", ["a//b", "a/.git/b", "a/" * 64 + "f", "a/" * 1_000_000 + "f", "a" + "\u0301\u0323" * 100_000]
)
def test_preupload_refuses_what_no_commit_takes(hub: HubDriver, path: str) -> None:
    began = time.process_time()
    body = {"files": [{"path": path, "size": 1}]}
    assert hub.send("POST", f"{API}/preupload/main", body, status=400).json["code"] == "bad_path"
    asked = {"paths": [path]}
    found = hub.send("POST", f"{API}/paths-info/main", asked, headers={"content-type": "application/json"}, status=None)
    assert found.json == []
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("text", "ignored", "kept"),
    [
        ("*.log", ["a.log", "d/a.log", "a.log/x"], ["a.logx", "log"]),
        ("/build\n", ["build", "build/a/b"], ["d/build"]),
        ("build/", ["build/a", "d/build/a"], ["build", "d/build"]),
        ("docs/*.txt", ["docs/a.txt"], ["docs/d/a.txt", "x/docs/a.txt"]),
        ("**/cache", ["cache", "a/b/cache", "cache/x"], ["cached"]),
        ("*.log\n!keep.log", ["a.log"], ["keep.log", "d/keep.log"]),
        ("d/\n!d/a", ["d/a"], ["a"]),
        ("# comment\n\n\\#real\n\\!mark  \r\n", ["#real", "!mark"], ["# comment", "real"]),
        ("", [], ["a"]),
    ],
)
def test_ignored_paths(text: str, ignored: list[str], kept: list[str]) -> None:
    rules = IgnoreRules(text, Steps())
    assert [path for path in ignored + kept if rules.matches(path)] == ignored


def test_ignored_files_are_named(hub: HubDriver) -> None:
    def asked(**more: str) -> list[str]:
        body = {"files": [{"path": path, "size": 1} for path in ("a.log", "b.tmp")], **more}
        plans = hub.send("POST", f"{API}/preupload/main", body).json["files"]
        return [item["path"] for item in plans if item["shouldIgnore"]]

    assert asked() == []
    assert asked(gitIgnore="*.log") == ["a.log"]
    hub.commit(put(".gitignore", b"*.tmp\n"))
    assert asked() == ["b.tmp"]
    assert asked(gitIgnore="") == []
