"""Write the tables of docs/configuration.md from the settings themselves.

    python scripts/settings_page.py

A test sees to it that the page is as this writes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from toolchain import ROOT

from xetway.settings import Settings
from xetway.settings.aliases import ALIASES, WITHOUT_EFFECT
from xetway.settings.tree import SETTINGS, Setting

PAGE = ROOT / "docs" / "configuration.md"


def begin(name: str) -> str:
    return f"<!-- {name}: written by scripts/settings_page.py -->\n"


END = "<!-- end -->\n"


def default_of(setting: Setting) -> str:
    if setting.is_option:
        defaults = {field.name: field.default for field in msgspec.structs.fields(Settings) if field.name != "data"}
        value: Any = defaults.get(setting.path.rpartition(".")[2])
    else:
        value = setting.default
    if value is None or value == ():
        return ""
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def table(*rows: Iterable[str]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    columns = lines[0].replace("\\|", "").count("|") - 1
    return "\n".join([lines[0], "|---" * columns + "|", *lines[1:]]) + "\n"


def settings() -> str:
    other = {path: ", ".join(f"`{alias.name}`" for alias in ALIASES if path in alias.paths) for path in SETTINGS}
    rows = [
        (
            f"`{setting.path}`",
            f"`{setting.variable}`",
            default_of(setting),
            "see `xetway serve --help`" if setting.is_option else setting.valid,
            other[setting.path],
        )
        for setting in SETTINGS.values()
        if setting.path != "models"
    ]
    return table(("Setting", "Variable", "Default", "Valid", "Other names"), *rows)


def notes() -> str:
    rows = [(f"`{alias.name}`", alias.note) for alias in ALIASES if alias.note]
    rows += [(f"`{name}`", f"no effect: {reason}") for name, reason in WITHOUT_EFFECT.items()]
    return table(("Other name", "What to know"), *rows)


def page(text: str) -> str:
    """The page with its tables as they have to be."""
    for name, content in (("settings", settings()), ("notes", notes())):
        before, _, rest = text.partition(begin(name))
        text = before + begin(name) + content + END + rest.partition(END)[2]
    return text


def main(path: Path = PAGE) -> None:
    path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
