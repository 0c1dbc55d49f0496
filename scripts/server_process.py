"""A real `xetway serve` in a process of its own, for the demo and the tests.

Starts it on a free port, waits for the line it prints when it accepts connections, collects its
output, measures its memory, and ends it by process id. Standard library only.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

READY = re.compile(r"xetway listening on (https?://\S+)")
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
LOCAL = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "TEMP", "TMP")
MEASURED = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")  # for our own programs, not for clients


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """An environment that holds nothing of the caller's: own home, no tokens, no proxies for loopback."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "HOME": str(home), "USERPROFILE": str(home), "PYTHONUTF8": "1", **LOCAL, **more}


def client_environment(home: Path, url: str, token: str | None = None, **more: str) -> dict[str, str]:
    """For a Hugging Face client: fresh caches under `home`, this server, nothing asked of anyone else."""
    settings = {
        "HF_HOME": str(home / "hf"),
        "HF_ENDPOINT": url,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0",
    }
    if token:
        settings["HF_TOKEN"] = token
    return clean_environment(home, **settings, **more)


def own_environment(home: Path) -> dict[str, str]:
    """For xetway's own commands: clean, but measured when the tests are."""
    return clean_environment(home, **{name: os.environ[name] for name in MEASURED if name in os.environ})


def program(name: str) -> str:
    """Path of a program of the environment this Python belongs to."""
    suffix = ".exe" if os.name == "nt" else ""
    return str(Path(sys.executable).with_name(name + suffix))


class ServerError(Exception):
    """The server did not start or did not stop; the message holds its log."""


class ServerProcess:
    """One server; a context manager. `url` is known once it is constructed.

    `launcher` is a command that starts the one it is given; `pass_fds` are open in the server too.
    """

    def __init__(
        self,
        data: Path,
        *options: str,
        home: Path | None = None,
        port: int = 0,
        env: Mapping[str, str] | None = None,
        launcher: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.data = data
        self.lines: list[str] = []
        self._ready = threading.Event()
        self._url = ""
        home = home or data.parent
        command = [
            *launcher,
            program("xetway"),
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--data",
            str(data),
            *options,
        ]
        self.process = subprocess.Popen(
            command,
            env={**own_environment(home), **(env or {})},
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            pass_fds=pass_fds,
        )
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()
        if not self._ready.wait(START_TIMEOUT_S) or not self._url:
            self.kill()
            raise ServerError(f"xetway serve did not start:\n{self.log}")
        self.url = self._url

    def _collect(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            match = READY.search(line)
            if match:
                self._url = match[1].rstrip("/")
                self._ready.set()
        self._ready.set()

    @property
    def log(self) -> str:
        """All that the server has written so far."""
        return "\n".join(self.lines)

    def wait_for_log(self, *words: str, timeout_s: float = 10.0) -> str:
        """The first log line with all `words` in it, waited for. Raises AssertionError when it does not come."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if all(word in line for word in words):
                    return line
            self._reader.join(0.02)
        raise AssertionError(f"no log line with {words}:\n{self.log}")

    def pids(self) -> list[int]:
        """The server's process and its children (Linux; elsewhere only the process itself)."""
        parents: dict[int, int] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def peak_rss_bytes(self) -> int | None:
        """Highest resident memory so far, of all its processes summed; None where /proc is not to be had."""
        return self._status_sum("VmHWM:")

    def rss_bytes(self) -> int | None:
        """Resident memory now, of all its processes summed."""
        return self._status_sum("VmRSS:")

    def _status_sum(self, field: str) -> int | None:
        total = None
        for pid in self.pids():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            for line in status.splitlines():
                if line.startswith(field):
                    total = (total or 0) + int(line.split()[1]) * 1024
        return total

    def stop(self) -> int:
        """End it as an administrator would (SIGTERM); returns its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise ServerError(f"the server did not stop in {STOP_TIMEOUT_S:.0f} s:\n{self.log}") from None
        self._close()
        return self.process.returncode

    def kill(self) -> None:
        """End all its processes at once, with no chance to clean up (SIGKILL)."""
        for pid in self.pids():
            try:
                os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
            except ProcessLookupError:
                continue
        self.process.wait()
        self._close()

    def _close(self) -> None:
        self._reader.join(5)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None and error is None:
            self.stop()
        elif self.process.poll() is None:
            self.kill()
        else:
            self._close()


def run_xetway(data: Path, *arguments: str, expect: Sequence[int] = (0,)) -> subprocess.CompletedProcess[str]:
    """Run another xetway command on a data folder, e.g. `run_xetway(data, "fsck")`."""
    command = [program("xetway"), *arguments, "--data", str(data)]
    answer = subprocess.run(command, env=own_environment(data.parent), capture_output=True, text=True, check=False)
    if answer.returncode not in expect:
        raise AssertionError(f"{' '.join(arguments)} exited with {answer.returncode}\n{answer.stdout}\n{answer.stderr}")
    return answer


def create_token(data: Path, scope: str = "write", pattern: str = "*", name: str = "test") -> str:
    """A new Hub token, made by the command line as an administrator makes it."""
    made = run_xetway(data, "token", "create", "--name", name, "--scope", scope, "--repo", pattern)
    return made.stdout.split()[-1]


def stored_bytes(data: Path) -> int:
    """Bytes of all files in the data folder's xorb store: what deduplication left to keep."""
    return sum(path.stat().st_size for path in (data / "xorbs").rglob("*") if path.is_file())
