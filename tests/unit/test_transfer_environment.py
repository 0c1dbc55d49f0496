"""Endpoint, token and folders as the environment names them, by the Hub clients' rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from xetway.errors import ConfigError
from xetway.transfer.environment import cache_folder, endpoint, home, token


def test_endpoint() -> None:
    assert endpoint(None, {}) == "https://huggingface.co"
    assert endpoint(None, {"HF_ENDPOINT": "http://127.0.0.1:8080/"}) == "http://127.0.0.1:8080"
    assert endpoint("https://hub.test/base", {"HF_ENDPOINT": "http://x"}) == "https://hub.test/base"


@pytest.mark.parametrize(
    "value", ["hub.test", "ftp://hub.test", "http://", "http://h:99999", "http://h/?a=b", "http://h h"]
)
def test_no_endpoint(value: str) -> None:
    for call in (lambda: endpoint(value, {}), lambda: endpoint(None, {"HF_ENDPOINT": value})):
        with pytest.raises(ConfigError) as refused:
            call()
        assert refused.value.code == "bad_endpoint"


def test_a_password_in_the_endpoint_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as refused:
        endpoint(None, {"HF_ENDPOINT": "https://me:hunter2@hub.test"})
    assert "hunter2" not in str(refused.value)
    assert "HF_ENDPOINT" in str(refused.value)


def test_folders(tmp_path: Path) -> None:
    user = {"HOME": str(tmp_path)}
    assert home(user) == tmp_path / ".cache" / "huggingface"
    assert cache_folder(user) == tmp_path / ".cache" / "huggingface" / "hub"
    assert cache_folder(user | {"XDG_CACHE_HOME": "/x"}) == Path("/x/huggingface/hub")
    assert cache_folder(user | {"HF_HOME": "~/hf"}) == tmp_path / "hf" / "hub"
    assert cache_folder(user | {"HF_HOME": "/hf", "HUGGINGFACE_HUB_CACHE": "/old"}) == Path("/old")
    assert cache_folder(user | {"HUGGINGFACE_HUB_CACHE": "/old", "HF_HUB_CACHE": "/new"}) == Path("/new")


def test_token(tmp_path: Path) -> None:
    user = {"HOME": str(tmp_path)}
    assert token(user) is None
    stored = tmp_path / ".cache" / "huggingface" / "token"
    stored.parent.mkdir(parents=True)
    stored.write_text("hf_stored\n")
    assert token(user) == "hf_stored"
    assert token(user | {"HF_TOKEN": " hf_given "}) == "hf_given"
    assert token(user | {"HF_TOKEN_PATH": str(tmp_path / "nowhere")}) is None
    assert token(user | {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}) is None


def test_a_token_that_cannot_be_sent_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as refused:
        token({"HF_TOKEN": "hf_abc\r\nx-evil: 1"})
    assert refused.value.code == "bad_token"
    assert "abc" not in str(refused.value)
