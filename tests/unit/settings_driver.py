"""Settings of files that are written for a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from xetway.errors import ConfigError
from xetway.settings import Settings, load

SMALLEST = '[[models]]\nname = "m"\nupstreams = [{ url = "http://127.0.0.1:9000/v1" }]\n'

Loader = Callable[..., Settings]


def loader(folder: Path) -> Loader:
    """Load settings of a file with a text, an environment, and what `--set` was given."""

    def load_text(text: str = SMALLEST, environment: Mapping[str, str] | None = None, *sets: str) -> Settings:
        file = folder / "gateway.toml"
        file.write_text(text)
        return load({"config": str(file), "set": sets}, environment or {})

    return load_text


def refused(loaded: Loader, *arguments: Any) -> str:
    """What loading is refused with."""
    with pytest.raises(ConfigError) as caught:
        loaded(*arguments)
    assert caught.value.code == "bad_config"
    return caught.value.message
