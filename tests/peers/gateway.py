"""What the gateway's peer tests start: llama.cpp's server behind it, and OpenAI's SDK before it."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from server_process import clean_environment
from toolchain import VENVS

from tests.peers.clients import Pair

LLAMA = Pair("llama", VENVS / "llama")
OPENAI = Pair("openai", VENVS / "openai")
ALL = 1_000_000


class Program:
    """A program of ours in an environment of its own: a line is said to it, a line comes back."""

    def __init__(self, environment: Pair, script: str, home: Path, *arguments: str) -> None:
        self._errors = (home / f"{Path(script).stem}-{'-'.join(arguments[1:])}.log").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [environment.program("python"), str(Path(__file__).with_name(script)), *arguments],
            env=clean_environment(home, GGML_NO_BACKTRACE="1"),
            cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
        )  # fmt: skip

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise AssertionError(f"{self._process.args} ended:\n{self._errors.read()}")
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()
        self._errors.close()


class LlamaServer(Program):
    """llama.cpp's server with one model; `url` is known once it is constructed."""

    def __init__(self, model: Path, home: Path) -> None:
        super().__init__(LLAMA, "llama_server.py", home, str(model), model.stem)
        self.url = self.hear().split()[-1]

    def slot(self) -> dict[str, Any]:
        """How its only slot is."""
        with urllib.request.urlopen(f"{self.url}/slots") as answer:
            slots: list[dict[str, Any]] = json.load(answer)
        (slot,) = slots
        return slot


class CallError(Exception):
    """A call that the SDK says failed: its class of the exception, and what it knows of it."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(told["text"])
        self.name, self.status, self.code = told["error"], told["status"], told["code"]
        self.type, self.param = told["type"], told["param"]


class Sdk(Program):
    """OpenAI's Python library. A call's result is its JSON, a stream's the list of its chunks."""

    def __init__(self, url: str, home: Path) -> None:
        super().__init__(OPENAI, "openai_driver.py", home)
        self._url = url

    def call(
        self,
        do: str,
        key: str,
        *,
        asynchronous: bool = False,
        leave_after: int = ALL,
        retries: int = 0,
        **arguments: Any,
    ) -> Any:
        """Call `do` of a new client. Raises CallError."""
        client = {"base_url": f"{self._url}/v1", "api_key": key, "max_retries": retries}
        job = {
            "do": do, "with": arguments, "client": client, "asynchronous": asynchronous, "leave_after": leave_after,
        }  # fmt: skip
        self.say(json.dumps(job))
        told = json.loads(self.hear())
        if "error" in told:
            raise CallError(told)
        return told["ok"]


def make_models(folder: Path) -> None:
    """Write the models that llama_models.py knows."""
    script = Path(__file__).with_name("llama_models.py")
    subprocess.run(
        [LLAMA.program("python"), str(script), str(folder)], env=clean_environment(folder), check=True, timeout=60
    )


def text_of(chunks: Sequence[dict[str, Any]]) -> str:
    """What the chunks of a stream say together."""
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)
