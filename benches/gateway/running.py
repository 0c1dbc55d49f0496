"""A side that runs, and the load on it: each on its own core."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from record import ROOT

from gateway.machine import LOAD_CPUS, SERVER_CPUS, Neighbours, cpu_s, memory_kib, pinned, tree
from gateway.sides import KEY, Side, environment

START_LIMIT_S = 120.0
BUILD = ("cargo", "build", "--locked", "--quiet", "--release", "-p", "xetway-load")
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "Which river is longer?"}]}


class StartError(Exception):
    """A side does not start; the message holds its log."""


def built() -> Path:
    """The program that makes the load, and stands for the model server."""
    answer = subprocess.run([*BUILD, "--message-format=json"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    made = [json.loads(line) for line in answer.stdout.splitlines() if "xetway-load" in line]
    return Path(next(one["executable"] for one in made if one.get("executable")))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Upstream:
    """The model server, on the core of the load or, to be measured itself, on the other."""

    def __init__(self, program: Path, cpus: set[int] = LOAD_CPUS) -> None:
        with pinned(cpus):
            self.process = subprocess.Popen([str(program), "upstream"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def pids(self) -> list[int]:
        return [self.process.pid]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Server:
    """One of the sides, started and ready; a context manager."""

    def __init__(self, side: Side, upstream: int, folder: Path, cpus: set[int] = SERVER_CPUS) -> None:
        self.side, self.port = side, free_port()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        words = {
            "port": self.port,
            "upstream": upstream,
            "metrics": free_port(),
            "folder": folder,
            "key": KEY,
            "workers": side.workers,
        }
        (folder / "config.toml").write_text(side.config.format(**words))
        self._log = folder / "log"
        command = [part.format(**words) for part in side.command]
        with pinned(cpus), self._log.open("wb") as log:
            began = time.monotonic()
            self.process = subprocess.Popen(
                command, env=environment(side, folder), cwd=folder, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise
        self.start_s = time.monotonic() - began

    def _wait(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", self.side.ready)
                with connection.getresponse() as answer:
                    if answer.status == 200:
                        return
            time.sleep(0.005)
        raise StartError(f"{self.side.name} did not start:\n{self._log.read_text(errors='replace')[-2000:]}")

    def pids(self) -> list[int]:
        return tree(self.process.pid)

    def rss_mib(self) -> float:
        return memory_kib(self.pids(), "Rss") / 1024

    def answer(self) -> Any:
        """What it makes of one question: compared with the others' before anything is timed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        head = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(QUESTION), head)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == 200, (self.side.name, answer.status, body)
        return json.loads(body)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                for pid in self.pids():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, 9)
                self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Load:
    """Runs the load program against a server, and says what it, the server and others cost."""

    def __init__(self, program: Path, upstream: Upstream, most_foreign: float, tries: int) -> None:
        self._program, self._upstream = program, upstream
        self._most_foreign, self._tries = most_foreign, tries

    def run(self, port: int, server: list[int], *arguments: str) -> dict[str, Any]:
        """The figures of one run, of the quietest of a few where others are busy."""
        found: dict[str, Any] = {}
        for number in range(self._tries):
            one = self._once(port, server, arguments)
            one["tries"] = number + 1
            if not found or one["foreign_cores"] < found["foreign_cores"]:
                found = one
            if one["foreign_cores"] <= self._most_foreign:
                break
        return found

    def _once(self, port: int, server: list[int], arguments: tuple[str, ...]) -> dict[str, Any]:
        command = [str(self._program), *arguments[:1], "--to", f"127.0.0.1:{port}", "--key", KEY, *arguments[1:]]
        others = Neighbours([*server, *self._upstream.pids()])
        others.begin()
        before, upstream, ended = cpu_s(server), cpu_s(self._upstream.pids()), _ended_cpu_s()
        with pinned(LOAD_CPUS):
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise SystemExit(f"{' '.join(command)}: {answer.stderr}")
        load = _ended_cpu_s() - ended
        found: dict[str, Any] = json.loads(answer.stdout)
        found["server_cpu_us"] = (cpu_s(server) - before) * 1e6 / max(1, found["all"])
        found["load_cpu_s"] = load + cpu_s(self._upstream.pids()) - upstream
        found["foreign_cores"] = others.cores(load)
        return found

    def hold(self, port: int, *arguments: str) -> subprocess.Popen[str]:
        """Connections that stay until the standard input of the process is closed; returns when they are there."""
        command = [str(self._program), *arguments[:1], "--to", f"127.0.0.1:{port}", "--key", KEY, *arguments[1:]]
        with pinned(LOAD_CPUS):
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert "held" in process.stdout.readline(), command
        return process


def _ended_cpu_s() -> float:
    """Time of our processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
