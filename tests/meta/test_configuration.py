"""The example configuration names every setting with its default, and the page about them is true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import settings_page
from toolchain import ROOT

from xetway.settings import load
from xetway.settings.gateway import Gateway, Limit, Model, StaticKey, Upstream
from xetway.settings.tree import SETTINGS

EXAMPLE = ROOT / "docs" / "gateway.toml"
COMMENTED = re.compile(r"^# (\w+ = )", re.MULTILINE)


def test_what_is_set_in_the_example_is_the_default(tmp_path: Path) -> None:
    settings = load({"config": str(EXAMPLE)}, {"HOME": str(tmp_path)})
    gateway = msgspec.structs.replace(settings.gateway, models=(), auth=Gateway().auth)
    assert msgspec.structs.replace(settings, gateway=gateway) == load({}, {"HOME": str(tmp_path)})
    assert msgspec.structs.replace(settings.gateway.auth, keys=()) == Gateway().auth
    [model], [key] = settings.gateway.models, settings.gateway.auth.keys
    assert model == Model(name="m", upstreams=model.upstreams)
    assert key == StaticKey(name="chat", key_env="CHAT_KEY")


def test_example_names_every_setting() -> None:
    document = tomllib.loads(COMMENTED.sub(r"\1", EXAMPLE.read_text(encoding="utf-8")))
    for path in SETTINGS:
        table: Any = document
        for name in path.split("."):
            assert name in table, path
            table = table[name]
    [model], [key] = document["models"], document["auth"]["keys"]
    for row, kind in ((model, Model), (key, StaticKey), (model["upstreams"][0], Upstream), (model["limit"], Limit)):
        assert set(row) == {field.name for field in msgspec.structs.fields(kind)}
    assert set(key["limit"]) == set(model["limit"])


def test_commented_examples_are_valid(tmp_path: Path) -> None:
    text = COMMENTED.sub(r"\1", EXAMPLE.read_text(encoding="utf-8"))
    for name in ("ca.pem", "server.pem", "server.key", "clients.pem", "chat.key", "upstream.key"):
        (tmp_path / name).touch()
    lines = [line for line in text.splitlines() if not re.match(r'key(_env)? = "[^s]', line)]
    (tmp_path / "all.toml").write_text("\n".join(lines), encoding="utf-8")
    settings = load({"config": str(tmp_path / "all.toml")}, {})
    assert settings.upstream == "https://huggingface.co"
    assert settings.gateway.models[0].limit.burst == 60


def test_page_is_as_the_settings_are() -> None:
    text = settings_page.PAGE.read_text(encoding="utf-8")
    assert settings_page.page(text) == text, "run scripts/settings_page.py"


def test_smallest_example_of_the_page_is_valid(tmp_path: Path) -> None:
    [example] = re.findall(
        r"^```toml\n(.*?)^```", settings_page.PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    (tmp_path / "gateway.toml").write_text(example, encoding="utf-8")
    assert load({"config": str(tmp_path / "gateway.toml")}, {}).gateway.models[0].name == "m"


@pytest.mark.parametrize("word", ["SERVER_ADDRESS", "API_KEYS", "HF_SERVER_ADMIN_API_KEY", "METRICS_PORT", "REDIS_URL"])
def test_page_names_the_other_names(word: str) -> None:
    assert f"`{word}`" in settings_page.PAGE.read_text(encoding="utf-8")
