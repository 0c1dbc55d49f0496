"""Text of others (names of files, words of servers) as a terminal may get it."""

from __future__ import annotations

import re

# Controls, with escape sequences of both kinds, and what turns the direction of the text around it.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""The text on one line, with a replacement character for what a terminal would act on.

    Example:
        >>> from xetway.cli.printable import printable
        >>> printable("a\x1b[2Jb")
        'a�[2Jb'
    """
    return _CONTROL.sub("\ufffd", text)
