"""Runs a command of `xetway` in this process."""

from __future__ import annotations

from xetway.cli import run


def xetway(*words: str) -> int:
    """Run it and return its exit code."""
    return run(list(words))
