"""The servers that are measured: ours with all its policy on, its peers, and what bounds it.

Peers are packages of PyPI at the versions the goals were set with, each in an environment of its own in .venvs,
without authentication (LiteLLM has one key: it needs it to start as a proxy). nginx takes part where it is installed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from peers import make
from record import ROOT
from toolchain import VENVS, venv_program

KEY = "sk-bench-0123456789abcdef0123456789abcdef"
PACKAGES = {
    "vllm-router": "vllm-router==0.1.17",
    "sglang-router": "sglang-router==0.3.2",
    "litellm": "litellm[proxy]==1.106.2",
}
HERE = Path(__file__).resolve().parent

XETWAY = """
[server]
host = "127.0.0.1"
port = {port}
data = "{folder}/data"
workers = {workers}
log_level = "warning"
[[auth.keys]]
name = "bench"
key = "{key}"
[limits]
enabled = true
[limits.key]
requests_per_minute = 1_000_000_000
tokens_per_minute = 100_000_000_000
burst = 1_000_000
concurrency = 4096
[[models]]
name = "m"
upstreams = [{{ url = "http://127.0.0.1:{upstream}/v1" }}]
"""
LITELLM = """
model_list:
  - model_name: m
    litellm_params: {{ model: openai/m, api_base: "http://127.0.0.1:{upstream}/v1", api_key: none }}
general_settings: {{ master_key: {key} }}
"""
NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  keepalive_requests 1000000000;
  upstream model {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Side:
    """A server: the program and its arguments, where {port}, {upstream}, {metrics} and {folder} are filled in."""

    name: str
    command: tuple[str, ...]
    # Written to {folder}/config before the start.
    config: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    ready: str = "/health"
    workers: int = 1
    # Whether it only answers, by itself.
    floor: bool = False


def xetway(name: str = "xetway", workers: int = 1) -> Side:
    command = (str(Path(sys.executable).with_name("xetway")), "serve", "--config", "{folder}/config.toml")
    return Side(name, command, XETWAY, workers=workers)


def router(name: str) -> Side:
    """vllm-router, or sglang-router which it comes from: they are started alike."""
    module = f"{name.replace('-', '_')}.launch_router"
    command = (
        *(str(venv_program("python", VENVS / name)), "-m", module, "--host", "127.0.0.1", "--port", "{port}"),
        *("--worker-urls", "http://127.0.0.1:{upstream}", "--policy", "round_robin"),
        *("--prometheus-port", "{metrics}", "--log-level", "error"),
    )
    return Side(name, command)


def litellm() -> Side:
    command = (str(venv_program("litellm", VENVS / "litellm")), "--config", "{folder}/config.toml")
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "NO_PROXY": "127.0.0.1"}
    more = ("--host", "127.0.0.1", "--port", "{port}", "--telemetry", "False")
    return Side("litellm", (*command, *more), LITELLM, env, ready="/health/liveliness")


def nginx() -> Side:
    return Side("nginx", (shutil.which("nginx") or "nginx", "-p", "{folder}", "-c", "{folder}/config.toml"), NGINX)


def floor() -> Side:
    """Granian, which carries our server, with an application that reads the question and answers by itself."""
    return Side("granian alone", (sys.executable, str(HERE / "floor.py"), "{port}"), floor=True)


def all_sides(wanted: Collection[str] | None = None) -> dict[str, Side]:
    """By name, those that are wanted. Makes the environments of peers that are not there."""
    sides = [xetway(), *map(router, ("vllm-router", "sglang-router")), litellm(), floor()]
    if shutil.which("nginx"):
        sides.append(nginx())
    found = {side.name: side for side in sides if wanted is None or side.name in wanted}
    for name, package in PACKAGES.items():
        if name in found:
            make(name, (package,))
    return found


def environment(side: Side, folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "HOME": str(folder), "PYTHONPATH": str(ROOT / "python"), **side.env}


def versions() -> dict[str, str]:
    """Of the peers, as they are pinned."""
    return dict(package.replace("[proxy]", "").split("==") for package in PACKAGES.values())
