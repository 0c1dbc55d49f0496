"""`xetway serve` and its sisters as programs: ports, signals, workers, exit codes, one-line errors."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from server_process import ServerProcess, clean_environment, program, run_xetway

from tests.conformance.crafted_repo import craft_repo
from tests.conformance.raw import build, connect

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and shared ports")


def xetway(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("xetway"), *arguments],
        env=clean_environment(home, **environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


def one_line(answer: subprocess.CompletedProcess[str], code: int) -> str:
    """The error, which is one line on stderr and all there is."""
    assert answer.returncode == code, answer.stderr
    assert answer.stdout == ""
    lines = answer.stderr.splitlines()
    assert len(lines) == 1, answer.stderr
    assert lines[0].startswith("xetway: ")
    return lines[0]


def test_it_prints_one_line_and_answers(make_server: Callable[..., ServerProcess]) -> None:
    server = make_server()
    assert [line for line in server.lines if line.startswith("xetway listening on http://127.0.0.1:")] == [
        f"xetway listening on {server.url}"
    ]
    assert httpx.get(server.url + "/health", trust_env=False).json()["status"] == "ok"
    page = httpx.get(server.url + "/", trust_env=False).text
    assert f"HF_ENDPOINT={server.url}" in page


def test_all_addresses_are_named_besides_one_to_use(make_server: Callable[..., ServerProcess]) -> None:
    server = make_server("--host", "0.0.0.0")  # noqa: S104
    (line,) = [line for line in server.lines if line.startswith("xetway listening on http://127.0.0.1:")]
    assert line.endswith("(and all other addresses of this machine: 0.0.0.0)")
    assert httpx.get(server.url + "/health", trust_env=False).status_code == 200


def test_questions_about_health_are_not_logged(make_server: Callable[..., ServerProcess]) -> None:
    server = make_server()
    httpx.get(server.url + "/health", trust_env=False)
    httpx.get(server.url + "/", trust_env=False)
    server.wait_for_log("GET / 200")
    assert "/health" not in server.log


def test_a_taken_port_is_one_line(make_server: Callable[..., ServerProcess], tmp_path: Path) -> None:
    server = make_server()
    port = server.url.rsplit(":", 1)[1]
    other = xetway(tmp_path, "serve", "--port", port, "--data", str(tmp_path / "other"))
    assert f"cannot listen on 127.0.0.1:{port}" in one_line(other, 2)
    assert not (tmp_path / "other").exists()


def test_the_port_is_free_again_after_a_stop(make_server: Callable[..., ServerProcess], tmp_path: Path) -> None:
    server = make_server()
    port = int(server.url.rsplit(":", 1)[1])
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        assert client.get("/health").status_code == 200
        assert server.stop() == 0
    again = ServerProcess(server.data, home=tmp_path, port=port)
    assert again.url == server.url
    assert again.stop() == 0


@pytest.mark.alone
def test_an_interrupt_stops_it_too(make_server: Callable[..., ServerProcess]) -> None:
    server = make_server()
    before = time.monotonic()
    os.kill(server.process.pid, 2)
    assert server.process.wait(10) == server.stop() == 0
    assert time.monotonic() - before < 3


def test_a_dead_upstream_is_told_at_the_start_which_does_not_wait_for_it(
    make_server: Callable[..., ServerProcess],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    server = make_server("--upstream", address)
    assert " WARNING " in server.wait_for_log(f"the upstream {address} cannot be reached", "--upstream")
    assert server.stop() == 0


@pytest.mark.parametrize("stays", [True, False], ids=["clients wait", "clients are gone"])
def test_requests_that_hang_are_cut_off_in_silence(make_server: Callable[..., ServerProcess], *, stays: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream, contextlib.ExitStack() as held:
        upstream.settimeout(10)
        server = make_server("--upstream", f"http://127.0.0.1:{upstream.getsockname()[1]}")
        for number in range(2):
            link = held.enter_context(connect(server.url))
            link.sendall(build("GET", f"/api/models/a/b{number}"))
            asked = b""
            while b"/api/models/a/" not in asked:
                asked = held.enter_context(upstream.accept()[0]).recv(65_536)
            if not stays:
                link.close()
        assert server.stop() == 0
    assert "Traceback" not in server.log
    assert " ERROR " not in server.log
    assert "2 requests still running are cut off" in server.log


def test_workers_share_the_port_and_stop_together(make_server: Callable[..., ServerProcess]) -> None:
    server = make_server("--workers", "3")
    pids = server.pids()
    assert len(pids) == 3
    for pid in pids[1:]:
        variables = Path(f"/proc/{pid}/environ")
        assert not variables.exists() or b"XETWAY" not in variables.read_bytes()
    for _ in range(20):
        assert httpx.get(server.url + "/health", trust_env=False).status_code == 200
    assert server.stop() == 0
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_no_worker_stays_behind_with_clients_that_do_not_read(
    make_server: Callable[..., ServerProcess], make_token: Callable[..., str]
) -> None:
    server = make_server("--workers", "2")
    repo = craft_repo(server, make_token(server.data), chunks=256)
    pids = server.pids()
    with contextlib.ExitStack() as held:
        for _ in range(12):
            link = held.enter_context(connect(server.url))
            link.sendall(build("GET", f"/download/{repo.name}/{repo.files[0].name}"))
            assert link.recv(12) == b"HTTP/1.1 200"
        assert server.stop() == 0
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_workers_end_when_the_first_process_is_killed(make_server: Callable[..., ServerProcess]) -> None:
    server = make_server("--workers", "2")
    child = server.pids()[-1]
    server.process.kill()
    assert server.process.wait(10) == server.stop() == -9
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and "zombie" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["serve", "--port", "70000"], "--port (or XETWAY_PORT) is '70000'; it must be a whole number from 0 to 65535"),
        (["serve", "--host", "example.org"], "--host (or XETWAY_HOST)"),
        (["serve", "--workers", "0"], "--workers (or XETWAY_WORKERS)"),
        (["serve", "--log-level", "loud"], "debug, info, warning or error"),
        (["serve", "--public-url", "nowhere"], "--public-url"),
        (["fsck", "--data", "nowhere"], "no xetway store"),
        (["gc", "--data", "nowhere"], "no xetway store"),
        (["gc", "--grace", "soon"], "--grace"),
        (["token", "create", "--name", "a b"], "user name"),
        (["token", "create", "--name", "a", "--repo", "a/b/c/d"], "pattern"),
        (["token", "create", "--name", "a", "--expires", "never"], "--expires"),
    ],
)
def test_wrong_settings_are_one_line(arguments: list[str], told: str, tmp_path: Path) -> None:
    assert told in one_line(xetway(tmp_path, *arguments), 2)


def test_a_data_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    assert "folder" in one_line(xetway(tmp_path, "serve", "--port", "0", "--data", str(file)), 2)
    (tmp_path / "xetway.db").write_text("this is no database, and longer than a header of one" * 10)
    answer = xetway(tmp_path, "serve", "--port", "0", "--data", str(tmp_path))
    assert "cannot be used" in one_line(answer, 2)


def test_the_environment_sets_what_options_do_not(tmp_path: Path) -> None:
    made = xetway(tmp_path, "token", "create", "--name", "x", XETWAY_DATA=str(tmp_path / "named"))
    assert made.returncode == 0
    assert (tmp_path / "named" / "xetway.db").exists()
    assert "XETWAY_PORT" in one_line(xetway(tmp_path, "serve", XETWAY_PORT="x"), 2)


def test_a_token_is_all_of_stdout(tmp_path: Path) -> None:
    made = run_xetway(tmp_path / "data", "token", "create", "--name", "x", "--scope", "write", "--repo", "a/*")
    token = made.stdout.strip()
    assert made.stdout == token + "\n"
    assert token not in made.stderr
    listed = run_xetway(tmp_path / "data", "token", "list").stdout
    assert token not in listed
    assert "a/*" in listed
    run_xetway(tmp_path / "data", "token", "revoke", "1")
    assert "revoked" in run_xetway(tmp_path / "data", "token", "list").stdout
    run_xetway(tmp_path / "data", "token", "revoke", "1", expect=(1,))
    assert token.encode() not in (tmp_path / "data" / "xetway.db").read_bytes()


@pytest.mark.parametrize(
    "command", ["", "serve", "token", "token create", "token list", "token revoke", "fsck", "gc", "hash", "version"]
)
def test_help(command: str, tmp_path: Path) -> None:
    answer = xetway(tmp_path, *command.split(), "--help")
    assert answer.returncode == 0
    assert answer.stdout.startswith(f"Usage: xetway {command}".rstrip())
    assert "\\b" not in answer.stdout


def test_the_command_line_starts_without_the_server(tmp_path: Path) -> None:
    """Help is quick because nothing heavy is imported for it."""
    code = "import sys, xetway.cli; print(sorted({'numpy', 'granian', 'sqlite3', 'asyncio'} & set(sys.modules)))"
    answer = subprocess.run(
        [program("python"), "-c", code], env=clean_environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_an_address_of_another_machine_blames_the_host(tmp_path: Path) -> None:
    answer = subprocess.run(
        [program("xetway"), "serve", "--host", "192.0.2.1", "--port", "0", "--data", str(tmp_path / "data")],
        env=clean_environment(tmp_path), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 2
    assert "--host" in answer.stderr
    assert "--port" not in answer.stderr
