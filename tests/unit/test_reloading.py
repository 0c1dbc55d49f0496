"""Reading the settings again while the server runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from xetway.errors import ConfigError
from xetway.reloading import Reloading
from xetway.settings import Settings
from xetway.settings.gateway import Gateway, Http, Model, Queue, Upstream
from xetway.settings.reload import changed, reloadable

MODEL = Model(name="m", upstreams=(Upstream(url="http://h/v1"),))


def settings(**more: object) -> Settings:
    return Settings(**{"data": Path("data"), "port": 4711, "gateway": Gateway(models=(MODEL,)), **more})


class Server:
    """A server with these settings, whose file says something else."""

    def __init__(self, found: Settings | ConfigError, refused: str = "") -> None:
        self.applied: list[Settings] = []
        self.told: list[Settings] = []
        self._found = found
        self._refused = refused
        asyncio.run(self._reload())

    async def _reload(self) -> None:
        await Reloading(settings(port=0), settings(), self._reread, self._apply, self.told.append)()

    def _reread(self) -> Settings:
        if isinstance(self._found, ConfigError):
            raise self._found
        return self._found

    def _apply(self, found: Settings) -> None:
        if self._refused:
            raise ConfigError(self._refused)
        self.applied.append(found)


def test_what_can_change_does_everywhere_and_what_cannot_is_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    queue = Queue(max_size=7)
    gateway = Gateway(models=(MODEL,), queue=queue, http=Http(drain=5, timeout=9))
    server = Server(settings(port=0, workers=3, log_level="debug", gateway=gateway))
    (found,) = server.applied
    assert server.told == [found]
    assert (found.port, found.workers, found.log_level, found.gateway.queue) == (4711, 1, "debug", queue)
    assert caplog.messages == [
        "the settings were read again; changed: server.log_level, queue.max_size, http.timeout",
        "these settings change when the server is started again: server.workers, http.drain",
    ]


@pytest.mark.parametrize(
    ("found", "refused"), [(ConfigError("queue.max_size is -1"), ""), (settings(), "queue.max_size is -1")]
)
def test_what_is_wrong_changes_nothing(
    caplog: pytest.LogCaptureFixture, found: Settings | ConfigError, refused: str
) -> None:
    server = Server(found, refused)
    assert (server.applied, server.told) == ([], [])
    assert caplog.messages == ["the settings stay as they were: queue.max_size is -1"]


def test_a_server_without_models_gets_its_first_with_a_restart() -> None:
    plain, serving = settings(gateway=Gateway()), settings()
    assert reloadable(plain, serving) == (plain, ["models"])
    assert changed(serving, plain) == ["models"]
    assert reloadable(serving, plain) == (plain, [])
