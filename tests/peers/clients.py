"""The real clients, each in its own environment and its own processes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from server_process import ServerProcess, client_environment, own_environment, program
from toolchain import VENVS, venv_program

DRIVER = Path(__file__).with_name("driver.py")
TIMEOUT_S = 150  # below the limit of a test, so that a hang is one failure that tells what it waited for
COMMAND_TIMEOUT_S = 60


class ClientError(Exception):
    """A call that the client itself says failed. `name` is the client's exception class."""

    def __init__(self, name: str, status: int | None, text: str) -> None:
        super().__init__(f"{name} ({status}): {text}")
        self.name = name
        self.status = status
        self.text = text


@dataclass(frozen=True)
class Pair:
    """huggingface_hub and hf_xet in the exact versions of one environment."""

    name: str
    folder: Path | None = None  # None: the environment the tests run in

    def program(self, name: str) -> str:
        if self.folder is None:
            return str(Path(sys.executable).with_name(name))
        path = venv_program(name, self.folder)
        assert path.exists(), f"{path} is missing: run scripts/peers.py (make test does)"
        return str(path)


NEWEST = Pair("hub240")
PAIRS = (NEWEST, Pair("hub150", VENVS / "hub150"), Pair("hub036", VENVS / "hub036"))
TRANSFORMERS = Pair("transformers", VENVS / "transformers")


@dataclass
class Client:
    """One user's machine: a home folder of its own, a server, perhaps a token."""

    pair: Pair
    server: ServerProcess
    home: Path
    token: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        self.home.mkdir(parents=True, exist_ok=True)
        return client_environment(self.home, self.server.url, self.token, **self.settings)

    def command(self, *command: str) -> str:
        """Run a program of the environment; returns its stdout."""
        return self._run([self.pair.program(command[0]), *command[1:]])

    def _run(self, command: Sequence[str], stdin: str | None = None) -> str:
        try:
            answer = subprocess.run(
                command,
                input=stdin,
                env=self.environment(),
                cwd=self.home,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            pytest.fail(f"{command[0]} hangs:\n{error.stdout}\n{error.stderr}\n--\n{self.server.log[-3000:]}")
        assert answer.returncode == 0, (
            f"{command[0]} failed:\n{answer.stdout}\n{answer.stderr}\n--\n{self.server.log[-3000:]}"
        )
        return answer.stdout

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a program of the environment; its output goes nowhere unless it is asked for."""
        return subprocess.Popen(
            [self.pair.program(command[0]), *command[1:]],
            env=self.environment(),
            cwd=self.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def python(self, code: str, *arguments: str) -> Any:
        """Run Python code there; returns the JSON it prints as its last line."""
        return json.loads(self.command("python", "-c", code, *arguments).strip().splitlines()[-1])

    def calls(self, *calls: Sequence[Any]) -> list[dict[str, Any]]:
        """Several HfApi calls in one process; driver.py says what each result looks like."""
        answer = self._run([self.pair.program("python"), str(DRIVER)], json.dumps(calls, default=str))
        results: list[dict[str, Any]] = json.loads(answer.strip().splitlines()[-1])
        return results

    def __getattr__(self, method: str) -> Any:
        """`client.upload_folder(...)` is HfApi().upload_folder(...) in a process of its own. Raises ClientError."""
        if method.startswith("_"):
            raise AttributeError(method)

        def call(**arguments: Any) -> Any:
            result = self.calls((method, arguments))[0]
            if "error" in result:
                raise ClientError(result["error"], result["status"], result["text"])
            return result["ok"]

        return call


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by its path; what the clients keep for themselves is left out."""
    return {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".cache" not in path.relative_to(folder).parts and path.name != ".gitattributes"
    }


class User:
    """Somebody with a home folder who runs xetway's commands."""

    def __init__(self, home: Path, url: str, token: str | None = None, **settings: str) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.cache = home / "hf" / "hub"
        self.environment = {**own_environment(home), **client_environment(home, url, token, **settings)}

    def run(self, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        answer = subprocess.run(
            [program("xetway"), *arguments],
            env=self.environment, cwd=self.home, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False,
        )  # fmt: skip
        assert answer.returncode == expect, (
            f"{arguments} exited with {answer.returncode}:\n{answer.stdout}\n{answer.stderr}"
        )
        assert "Traceback" not in answer.stderr
        return answer

    def json(self, *arguments: str, expect: int = 0) -> Any:
        answer = self.run(*arguments, "--json", expect=expect)
        assert expect or not answer.stderr, answer.stderr
        return json.loads(answer.stdout)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [program("xetway"), *arguments],
            env=self.environment, cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
