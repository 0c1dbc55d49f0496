"""Settings from options and environment, and what they refuse."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from xetway.errors import ConfigError
from xetway.listening import listen_exclusively
from xetway.settings import default_data, load, parse_duration_s


def test_defaults(tmp_path: Path) -> None:
    settings = load({}, {"HOME": str(tmp_path)})
    assert (settings.host, settings.port, settings.open, settings.workers) == ("127.0.0.1", 8080, False, 1)
    assert settings.data == default_data({"HOME": str(tmp_path)})
    assert settings.is_loopback


def test_options_win_over_the_environment(tmp_path: Path) -> None:
    environment = {"XETWAY_PORT": "1", "XETWAY_HOST": "192.0.2.1", "XETWAY_OPEN": "yes", "XETWAY_DATA": str(tmp_path)}
    settings = load({"port": "2", "host": None}, environment)
    assert (settings.port, settings.host, settings.open, settings.data) == (2, "192.0.2.1", True, tmp_path)
    assert not settings.is_loopback
    assert not load({"open": False}, environment).open


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "-1"),
        ("port", "65536"),
        ("port", "x"),
        ("port", "٣"),
        ("port", "9" * 5000),
        ("host", "example.org"),
        ("workers", "0"),
        ("workers", "65"),
        ("open", "maybe"),
        ("log_level", "loud"),
        ("public_url", "hub.example.org"),
        ("public_url", "ftp://hub.example.org"),
        ("public_url", "http://"),
        ("public_url", "http://host:99999"),
        ("public_url", "http://host/?a=b"),
        ("public_url", "http://user:password@host"),
        ("data", __file__),
    ],
)
def test_a_wrong_value_names_its_setting(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({}, {"HOME": "/home/x", "XETWAY_" + name.upper(): value})
    assert f"--{name.replace('_', '-')} (or XETWAY_{name.upper()})" in caught.value.message
    assert "must be" in caught.value.message
    assert caught.value.code == "bad_config"


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("90", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000)]
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration_s(text, "grace") == seconds


@pytest.mark.parametrize("text", ["", "x", "-1s", "1.5h", "1w", "9" * 20])
def test_wrong_durations(text: str) -> None:
    with pytest.raises(ConfigError, match="--grace"):
        parse_duration_s(text, "grace")


def test_a_taken_port_is_refused_also_from_one_that_shares() -> None:
    with socket.socket() as taken:
        if hasattr(socket, "SO_REUSEPORT"):
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1:"):
            listen_exclusively("127.0.0.1", taken.getsockname()[1])


def test_the_port_is_held_and_clients_wait() -> None:
    with listen_exclusively("127.0.0.1", 0) as held:
        port = held.getsockname()[1]
        with pytest.raises(ConfigError):
            listen_exclusively("127.0.0.1", port)
        with socket.create_connection(("127.0.0.1", port), timeout=5), held.accept()[0] as taken:
            assert taken.getsockname() == ("127.0.0.1", port)


def test_an_option_without_a_variable_names_none() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_duration_s("soon", "older")
    assert caught.value.message.startswith("--older is 'soon'; it must be a number with s, m, h or d")
