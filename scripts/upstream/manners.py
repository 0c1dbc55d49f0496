"""What the stand-in does of the things that only the real Hub does. All of it can be changed while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Manners:
    """How the real Hub behaves where a hosted xetway behaves otherwise.

    Repositories are named `namespace/name`, with `datasets/` or `spaces/` in front where they are of that type.
    """

    tokens: Mapping[str, str] = field(default_factory=dict)  # the Hub's tokens, and what the server behind knows
    gated: Mapping[str, frozenset[str]] = field(default_factory=dict)  # repository: the Hub tokens with access
    renamed: Mapping[str, str] = field(default_factory=dict)  # old name: new name
    plain: frozenset[str] = frozenset()  # repositories whose large files are in LFS without Xet
    page_entries: int = 2  # of a tree listing
    address_life_s: float = 3600.0  # of addresses of data
    token_life_s: float = 3600.0  # of xet tokens
    exact_ranges: bool = False  # an address of a xorb range is good for just this range, not for parts of it
    several_ranges: str = "parts"  # the CDN's answer to more than one range: "parts", "whole", "first" or a status
    offers_v2: bool = True  # reconstructions in the second form
    small_files_redirect: bool = True  # small files come by a relative redirect
    revalidates: bool = True  # API answers have an ETag
