"""A real browser with a page of another origin: the page says by a POST to its own server what it found."""

from __future__ import annotations

import contextlib
import http.server
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from server_process import clean_environment
from toolchain import find_browser

PAGE = Path(__file__).with_name("browser_page.html")
OPTIONS = (
    "--headless",
    "--no-sandbox",  # which root, as in containers, has not; the page is ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
)


class PageServer:
    """Serves PAGE at `url`, and calls `on_post` with what the page tells: a path and a body."""

    def __init__(self, on_post: Callable[[str, bytes], None]) -> None:
        self._page = PAGE.read_text(encoding="utf-8")
        pages = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(pages._page.encode() if self.path == "/" else b"")

            def do_POST(self) -> None:
                on_post(self.path, self.rfile.read(int(self.headers["content-length"])))
                self._answer(b"")

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        # A name, so that it is of another site than servers named by their address.
        self.url = f"http://localhost:{self._server.server_address[1]}"

    def fill(self, **values: str) -> None:
        """Put values where the page has their names between percent signs."""
        for name, value in values.items():
            self._page = self._page.replace(f"%{name}%", value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def browsing(url: str, home: Path):
    """Show a page in a browser of its own."""
    program = find_browser()
    if program is None:
        # Where all is to be tested, scripts/peers.py has installed one.
        assert not os.environ.get("CI"), "no browser: install chromium"
        pytest.skip("needs a browser: install chromium")
    log = home / "browser.log"
    with log.open("wb") as told:
        browser = subprocess.Popen(
            [program, *OPTIONS, f"--user-data-dir={home / 'profile'}", url],
            env=clean_environment(home), stdout=told, stderr=told, start_new_session=True,
        )  # fmt: skip
        try:
            yield log
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()


def results_of(told: queue.Queue[bytes], log: Path) -> bytes:
    """What the page told in the end."""
    try:
        return told.get(timeout=60)
    except queue.Empty:
        raise AssertionError(f"the page told nothing:\n{log.read_text(errors='replace')}") from None
