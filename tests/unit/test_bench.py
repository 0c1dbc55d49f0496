"""`xetway bench`: what it measures, says, refuses, and leaves behind."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from types import SimpleNamespace

import msgspec
import pytest
from server_process import program

import xetway
from xetway.bench import stages, timing
from xetway.bench.corpora import CORPORA, write_corpus
from xetway.bench.machine import describe, usable_cores
from xetway.bench.run import Report
from xetway.bench.source import Crew, Source, open_source, split
from xetway.bench.stages import MEMORY_STAGES, STAGES, InFiles, InMemory
from xetway.bench.timing import Sample, Stopwatch, figures, median_ratio
from xetway.cli import run
from xetway.errors import ConfigError, IntegrityError

SMALL = ("--size", "300kB", "--rounds", "2", "--threads", "1,2")


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "content"
    write_corpus("bf16", path, 2_500_001)
    return open_source(path)


def failure(capsys, *arguments):
    """Exit code and the one line that a wrong command leaves on stderr."""
    code = run(["bench", *arguments])
    said = capsys.readouterr()
    assert not said.out
    assert len(said.err.splitlines()) == 1
    return code, said.err


def test_report_has_every_stage_and_describes_the_machine(tmp_path, capsys):
    kept = tmp_path / "kept.json"
    assert run(["bench", *SMALL, "--json", "--output", str(kept), "--tmp-dir", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert kept.read_text() == said.out
    report = msgspec.json.decode(said.out, type=Report)
    assert (report.version, report.rounds, report.machine) == (1, 2, describe())
    assert [(result.stage, result.threads) for result in report.results] == [
        (stage, threads) for stage in STAGES for threads in (1, 2)
    ]
    for result in report.results:
        assert (result.data, result.data_bytes, len(result.samples)) == ("bf16", 300_000, 2)
        assert {sample.bytes for sample in result.samples} == {300_000}
        assert 0 < result.figures.gb_per_s_low <= result.figures.gb_per_s <= result.figures.gb_per_s_high
        assert (result.stored_ratio is not None) == (result.stage == "compress")
        assert result.stored_ratio is None or 0.8 < result.stored_ratio < 0.95
    assert os.listdir(tmp_path) == ["kept.json"]


def test_table_of_own_files_and_a_corpus(tmp_path, capsys):
    file = tmp_path / "[red]weights.bin"
    file.write_bytes(bytes(100_000))
    assert run(["bench", str(file), "--corpus", "text", *SMALL, "--only", "hash,chunk", "-q"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["data", "stage", "threads", "GB/s", "from", "to", "CPU", "s/GB", "stored"]
    assert lines[1].startswith("[red]weights.bin (97.7 KiB)  chunk ")
    assert [line.split()[-6] for line in lines[1:9] if line.strip()][:4] == ["chunk", "chunk", "hash", "hash"]
    assert any(line.startswith("text (293.0 KiB)") for line in lines)
    assert describe().cpu in "".join(lines)


@pytest.mark.parametrize("name", CORPORA)
def test_corpus_is_the_same_each_time_and_of_the_size_asked_for(tmp_path, name):
    digests = set()
    for _ in range(2):
        write_corpus(name, tmp_path / name, 5_000_001)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).digest())
    assert (tmp_path / name).stat().st_size == 5_000_001
    assert len(digests) == 1


@pytest.mark.parametrize(("name", "low", "high"), [
    ("random", 1, 1), ("zeros", 0, 0.02), ("text", 0.2, 0.7), ("bf16", 0.8, 0.95), ("f32", 0.85, 0.99),
    ("elf", 0.2, 0.9), ("compressed", 0.95, 1),
])  # fmt: skip
def test_corpora_compress_as_their_names_say(tmp_path, name, low, high):
    write_corpus(name, tmp_path / name, 1_000_000)
    measured = InMemory(open_source(tmp_path / name), ["compress"])
    measured.run(Crew(1), check=True)
    assert low <= measured.stored_bytes / 1_000_000 <= high


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_alone(source, tmp_path, stage):
    measured = InMemory(source, [stage]) if stage in MEMORY_STAGES else InFiles(source, [stage], tmp_path)
    for check in (True, False):
        found = measured.run(Crew(3), check=check)
        assert list(found) == [stage]
        assert found[stage].bytes == source.size
        assert found[stage].seconds > 0
    assert os.listdir(tmp_path) == ["content"]


@pytest.mark.parametrize(("stage", "name", "wrong"), [
    ("chunk", "_boundaries_in_pieces", b""),
    ("decompress", "_decompress_all", []),
    ("hash", "_hash_in_pieces", xetway.Hash.ZERO),
    ("publish", "_hash_in_pieces", xetway.Hash.ZERO),
])  # fmt: skip
def test_wrong_answer_is_not_timed(source, tmp_path, monkeypatch, stage, name, wrong):
    monkeypatch.setattr(stages, name, lambda *_: wrong)
    measured = InMemory(source, [stage]) if stage in MEMORY_STAGES else InFiles(source, [stage], tmp_path)
    with pytest.raises(IntegrityError, match=f"{stage} gave another answer") as raised:
        measured.run(Crew(1), check=True)
    assert raised.value.code == "bench_check"
    assert os.listdir(tmp_path) == ["content"]


def test_wrong_bytes_are_not_timed(source, tmp_path, monkeypatch):
    class Wrong(xetway.Store):
        def reconstruct(self, file, path):
            path.write_bytes(bytes(source.size))

    monkeypatch.setattr(stages, "Store", Wrong)
    with pytest.raises(IntegrityError, match="reconstruct gave another answer"):
        InFiles(source, ["reconstruct"], tmp_path).run(Crew(1), check=True)
    assert os.listdir(tmp_path) == ["content"]


def test_large_files_are_read_in_windows(source):
    pieces = [bytes(window) for window in source.windows(1_000_000)]
    assert [len(piece) for piece in pieces] == [1_000_000, 1_000_000, 500_001]
    assert b"".join(pieces) == source.path.read_bytes()


def test_parts_of_a_file_are_files(source, tmp_path):
    assert source.divide(1, tmp_path) == [source]
    parts = source.divide(3, tmp_path)
    assert [part.size for part in parts] == [833_333, 833_334, 833_334]
    assert b"".join(part.path.read_bytes() for part in parts) == source.path.read_bytes()


def test_file_that_shrinks_is_an_error(source):
    os.truncate(source.path, 1000)
    with pytest.raises(ConfigError, match="content became shorter") as raised:
        list(source.windows())
    assert raised.value.code == "file_changed"


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (("--only", "chunk,tidy"), 2, "'tidy'; there are chunk, hash, compress, decompress, publish, reconstruct and all"),
    (("--corpus", "prose"), 2, "'prose'; there are random, zeros, text"),
    (("--threads", "1,0"), 2, "--threads is '1,0'; it must be numbers from 1 to 1024"),
    (("--size", "0"), 2, "--size is 0"),
    (("--size", "much"), 2, "size"),
    (("--size", "900PB"), 1, "has not enough space"),
    (("/nowhere/at/all",), 1, "No such file or directory: /nowhere/at/all"),
    (("/",), 1, "Is a directory"),
    (("--threads", "000011024"), 2, "numbers from 1 to 1024"),
    (("--output", "/nowhere/at.json"), 1, "No such file or directory: /nowhere/at.json"),
    (("--tmp-dir", "/nowhere"), 1, "No such file or directory: /nowhere"),
])  # fmt: skip
def test_what_cannot_be_done_is_said_in_a_line(capsys, arguments, code, said):
    found, line = failure(capsys, *arguments)
    assert found == code
    assert said in line


def test_codes_of_what_is_refused(tmp_path):
    from xetway.bench.run import parse_names, parse_threads

    (tmp_path / "empty").touch()
    for wrong, code in [
        (lambda: open_source(tmp_path / "empty"), "empty_file"),
        (lambda: parse_names("", "only", STAGES), "bad_name"),
        (lambda: parse_threads("x"), "bad_threads"),
    ]:
        with pytest.raises(ConfigError) as raised:
            wrong()
        assert raised.value.code == code


@pytest.mark.skipif(os.name == "nt", reason="interrupts are sent otherwise there")
def test_interrupt_removes_what_was_written(tmp_path):
    command = [program("xetway"), "bench", "--size", "8MiB", "--rounds", "1000", "--tmp-dir", str(tmp_path)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("xetway-bench-*/tmp*/store/xorbs")):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert (running.returncode, out, err.strip()) == (130, "", "")
    assert os.listdir(tmp_path) == []


def test_parts_cover_everything_once():
    for size in (0, 1, 7, 1000):
        for parts in (1, 3, 8):
            found = split(size, parts)
            assert [at for start, end in found for at in range(start, end)] == list(range(size))
            assert len(found) == min(size, parts)


def test_statistics():
    found = figures([Sample(2_000_000_000, seconds, 3.0) for seconds in (4.0, 1.0, 2.0)])
    assert msgspec.structs.astuple(found) == (1.0, 0.5, 2.0, 1.5)
    assert figures([Sample(0, 0.0, 0.0)]).gb_per_s == 0.0
    assert median_ratio([1.0, 9.0, 4.0], [1.0, 3.0, 2.0]) == 2.0
    with pytest.raises(ValueError, match="shorter"):
        median_ratio([1.0], [])


def test_stopwatch_counts_only_what_is_inside(monkeypatch):
    clock, cpu = iter([10.0, 11.0, 50.0, 52.0]), iter([1.0, 1.5, 7.0, 8.0])
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=clock.__next__, process_time=cpu.__next__))
    watch = Stopwatch()
    for _ in range(2):
        with watch:
            pass
        watch.count(5)
    assert watch.sample() == Sample(10, 3.0, 1.5)


def test_machine_is_described():
    machine = describe()
    assert machine.cpu
    assert 1 <= usable_cores() == machine.usable_cores <= machine.cores
    assert json.loads(msgspec.json.encode(machine))["python"].startswith(("CPython", "PyPy"))


def test_source_is_named_without_its_folder(source):
    assert source == Source("content", source.path, 2_500_001)
