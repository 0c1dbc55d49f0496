"""Settings of the mirror, whose token it uses, and what it counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.mirror_driver import MirrorDriver, UpstreamHub
from xetway.errors import ConfigError
from xetway.http.metrics import exposition
from xetway.mirror.callers import Callers, fallback_token
from xetway.mirror.metrics import samples
from xetway.settings import check_upstream, load, parse_size_bytes

UPSTREAM = {"upstream": "https://huggingface.co/"}


def test_without_an_upstream_there_is_no_mirror() -> None:
    assert load({}, {}).upstream is None


def test_values() -> None:
    options = {"cache_size": "500GB", "min_free": "2 GiB", "max_stale": "12h", "upstream_rate": "1.5MB"}
    settings = load(options | UPSTREAM, {"XETWAY_OFFLINE": "1"})
    assert settings.upstream == "https://huggingface.co"
    assert (settings.cache_size, settings.min_free, settings.max_stale) == (500 * 10**9, 2 << 30, 43_200)
    assert (settings.upstream_rate, settings.offline) == (1_500_000, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("upstream", "huggingface.co"),
        ("upstream", "ftp://huggingface.co"),
        ("upstream", "https://huggingface.co/?a=b"),
        ("upstream", "https://user:secret@huggingface.co"),
        ("upstream", "https://:@huggingface.co"),
        ("cache_size", "lots"),
        ("cache_size", "1KB"),
        ("min_free", "-1"),
        ("max_stale", "soon"),
        ("upstream_concurrency", "0"),
        ("upstream_rate", "12QB"),
        ("ca_bundle", "/nonexistent/file.pem"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(UPSTREAM | {name: value}, {})
    assert f"--{name.replace('_', '-')}" in caught.value.message
    assert "secret" not in caught.value.message


def test_offline_needs_an_upstream_and_a_mirror_one_process() -> None:
    with pytest.raises(ConfigError, match="--offline"):
        load({"offline": True}, {})
    with pytest.raises(ConfigError, match="--workers"):
        load(UPSTREAM | {"workers": "2"}, {})


@pytest.mark.parametrize("address", ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"])
def test_an_upstream_that_is_this_server_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="this server itself"):
        load({"upstream": address}, {})
    check_upstream(load({"upstream": address, "port": "9"}, {}))


def test_the_public_address_is_this_server_too() -> None:
    with pytest.raises(ConfigError, match="this server itself"):
        load({"upstream": "https://hub.test", "public_url": "https://hub.test/"}, {})


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("12", 12), ("1kb", 1000), ("1KiB", 1024), ("1.5 TiB", 3 << 39), ("2G", 2 * 10**9), ("7B", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size_bytes(text, "cache_size") == size


def test_the_fallback_token_is_only_from_the_environment() -> None:
    assert fallback_token({"HF_TOKEN": "hf_x"}, use_hf_token=False) is None
    assert fallback_token({"HF_TOKEN": "hf_x"}, use_hf_token=True) == "hf_x"
    assert fallback_token({"HF_TOKEN": "hf_x", "XETWAY_UPSTREAM_TOKEN": "hf_y"}, use_hf_token=True) == "hf_y"
    with pytest.raises(ConfigError, match="HF_TOKEN"):
        fallback_token({}, use_hf_token=True)


@pytest.mark.parametrize("token", ["hf_secret\nhf_other", "hf_secret hf_other", "hf_sécret", "hf_secret\x00"])
@pytest.mark.parametrize("name", ["XETWAY_UPSTREAM_TOKEN", "HF_TOKEN"])
def test_a_fallback_token_that_cannot_be_sent_is_refused_and_not_shown(name: str, token: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is no token") as refused:
        fallback_token({name: token}, use_hf_token=True)
    assert "cret" not in str(refused.value)


def test_a_caller_does_not_show_its_token() -> None:
    from tests.unit.http_driver import request

    caller = Callers(bytes(32)).of(request(headers=[("authorization", "Bearer hf_secret")]))
    assert caller.token == "hf_secret"
    assert "hf_secret" not in f"{caller} {caller!r} {caller.audience}"
    other = Callers(bytes(31) + b"1").of(request(headers=[("authorization", "Bearer hf_secret")]))
    assert other.audience != caller.audience


def test_numbers(tmp_path: Path) -> None:
    upstream = UpstreamHub(tmp_path / "upstream")
    upstream.driver.create("org/m")
    mirror = MirrorDriver(tmp_path / "mirror", upstream)
    mirror.get("/api/models/org/m")
    text = exposition(samples(mirror.mirror))
    assert 'xetway_mirror_answers_total{cache="miss"} 1\n' in text
    assert 'xetway_mirror_upstream_requests_total{method="GET"} 1\n' in text
    assert "xetway_mirror_offline 0\n" in text
