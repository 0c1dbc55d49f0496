"""What the environment says: which Hub, whose token, where the cache is. The same variables as the Hub's own clients.

Nothing is written here, and a token is never part of an error's text.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from xetway.errors import ConfigError

DEFAULT_ENDPOINT = "https://huggingface.co"
_YES = frozenset({"1", "on", "yes", "true"})


def endpoint(given: str | None = None, environment: Mapping[str, str] = os.environ) -> str:
    """The Hub's address without a slash at its end: as given, or HF_ENDPOINT, or huggingface.co.

    Raises:
        ConfigError: `bad_endpoint`.
    """
    value = given or environment.get("HF_ENDPOINT") or DEFAULT_ENDPOINT
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
        usable = usable and not (parts.query or parts.fragment or parts.username or parts.password)
    except ValueError:
        usable = False
    if not usable or not value.isascii() or not value.isprintable() or " " in value:
        source = "--endpoint" if given else "HF_ENDPOINT"
        # Whoever put a password there should not find it in a log.
        shown = repr(value) if "@" not in value else "not shown here, it has a user name"
        raise ConfigError(
            f"{source} is {shown}; it must be an http:// or https:// address, such as {DEFAULT_ENDPOINT}",
            code="bad_endpoint",
        )
    return value.rstrip("/")


def home(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of everything that Hub clients keep: HF_HOME, or ~/.cache/huggingface."""
    named = environment.get("HF_HOME")
    if named:
        return _expanded(named, environment)
    caches = environment.get("XDG_CACHE_HOME")
    return (_expanded(caches, environment) if caches else _user_home(environment) / ".cache") / "huggingface"


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The cache that Hub clients share: HF_HUB_CACHE, or `hub` in `home`."""
    named = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE")
    return _expanded(named, environment) if named else home(environment) / "hub"


def token(environment: Mapping[str, str] = os.environ) -> str | None:
    """The user's Hub token: HF_TOKEN, or what `hf auth login` stored; None if there is none. Reads a file.

    Raises:
        ConfigError: `bad_token`: what is there cannot be sent.
    """
    if environment.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").lower() in _YES:
        return None
    value, source = environment.get("HF_TOKEN") or environment.get("HUGGING_FACE_HUB_TOKEN"), "HF_TOKEN"
    if not value:
        named = environment.get("HF_TOKEN_PATH")
        path = _expanded(named, environment) if named else home(environment) / "token"
        source = str(path)
        try:
            value = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
    value = value.strip()
    if value and not (value.isascii() and value.isprintable() and " " not in value):
        raise ConfigError(f"the token in {source} has characters that no token has", code="bad_token")
    return value or None


def _user_home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or environment.get("USERPROFILE") or Path.home())


def _expanded(text: str, environment: Mapping[str, str]) -> Path:
    if text == "~" or text.startswith("~/"):
        return _user_home(environment) / text[2:]
    return Path(os.path.expandvars(text)).expanduser().absolute()
