"""Sizes and counts as people read them; `settings.options` reads what they write."""

from __future__ import annotations


def size_text(size_bytes: int) -> str:
    """A size for people.

    Example:
        >>> from xetway.cli.sizes import size_text
        >>> size_text(1536)
        '1.5 KiB'
    """
    value, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def count(number: int, noun: str) -> str:
    """A number with its noun: `1 file`, `2 entries`, `1,000 xorbs`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
