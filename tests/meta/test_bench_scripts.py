"""Every bench runs, at a tiny size: what it measures is not looked at, that it measures is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import bench_gateway
import bench_kernels
import compare
import pytest
from gateway import rounds, running
from toolchain import ROOT

from xetway.bench.corpora import write_corpus


def run(*arguments: str) -> str:
    answer = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.mark.alone
@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_codec_kernels_goals_and_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = ("--size-mib", "0.3", "--rounds", "1", "--corpora", "random,bf16,text", "--results", str(tmp_path))
    bench = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
    run(*bench, "benches/bench_codec.py", *size)
    run(*bench, "benches/bench_codec.py::test_publish", *size, "--name", "large")
    # Unoptimized, because `cargo test` has compiled most of that already.
    monkeypatch.setattr(bench_kernels, "CARGO", ("cargo", "test", "--locked", "-q", *bench_kernels.CARGO[-5:]))
    monkeypatch.setattr(sys, "argv", ["bench_kernels.py", *size])
    bench_kernels.main()
    goals = run("benches/goals.py", "--results", str(tmp_path))
    assert "not measured" not in goals
    assert goals.count("| met |") + goals.count("| not met |") == 8
    run("benches/plots.py", "--results", str(tmp_path), "--docs", str(tmp_path / "docs"))
    assert len(list((tmp_path / "docs").iterdir())) == 4
    contests = json.loads((tmp_path / "codec.json").read_text())["contests"]
    sides = {side for contest in contests for side in contest["sides"]}
    assert sides - {"fastcdc"} == {"xetway", "hf_xet", "blake3", "lz4", "memcpy", "len"}
    assert all(len(side["seconds"]) == 1 for contest in contests for side in contest["sides"].values())


@pytest.mark.heavy
@pytest.mark.timeout(300)
@pytest.mark.parametrize("script", ["bench_download.py", "bench_mirror.py"])
def test_transfers(tmp_path: Path, script: str) -> None:
    run(f"benches/{script}", "--size-mib", "8", "--rounds", "1", "--results", str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.alone
@pytest.mark.heavy
@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="counts what processes cost in Linux's /proc")
def test_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Unoptimized, because `cargo test` has compiled most of that already.
    monkeypatch.setattr(running, "BUILD", tuple(word for word in running.BUILD if word != "--release"))
    size = ("--seconds", "0.2", "--rounds", "1", "--starts", "1", "--tries", "1", "--connections", "50")
    monkeypatch.setattr(sys, "argv", ["bench_gateway.py", *size, "--sides", "xetway", "--results", str(tmp_path)])
    bench_gateway.main()
    found = json.loads((tmp_path / "gateway.json").read_text())
    assert set(found["kinds"]) == set(rounds.KINDS)
    assert all(set(runs) == {"xetway", "direct"} for runs in found["kinds"].values())
    assert {run["errors"] for runs in found["kinds"].values() for side in runs.values() for run in side} == {0}
    assert found["figures"]["unread_mib"] < 64


def test_rounds_of_a_comparison(tmp_path: Path) -> None:
    write_corpus("text", tmp_path / "text", 200_000)
    found = compare.measure(ROOT, [str(tmp_path / "text")], "chunk,hash", "1,2")
    assert list(found) == [("text", name, threads) for name in ("chunk", "hash") for threads in (1, 2)]
    assert compare.git("rev-parse", "HEAD")
    with pytest.raises(SystemExit, match="tidy"):
        compare.measure(ROOT, [str(tmp_path / "text")], "tidy", None)


def test_liblz4_is_in_nothing_that_ships() -> None:
    command = ("cargo", "tree", "--locked", "-e", "normal,build", "-p", "xetway-py", "--prefix", "none")
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "lz4_flex" in listed
    assert "lz4-sys" not in listed
