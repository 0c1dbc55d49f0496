"""The stand-in by hand: `python scripts/upstream --behind http://127.0.0.1:PORT --data FOLDER`.

Reads orders from stdin, a line each: `{"fault": "CUT", "kind": "xorb_bytes", ...}` adds a rule, `clear`, `down`, `up`
do what they say, `count` prints what went through.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from upstream import Fault, FaultUpstream, Manners, Rule

KINDS = ("hub_api", "cas_json", "xorb_bytes", "plain_bytes")


def obey(upstream: FaultUpstream, line: str) -> None:
    if line.startswith("{"):
        fields = json.loads(line)
        upstream.add(Rule(Fault[fields.pop("fault")], **fields))
    elif line in {"clear", "down", "up"}:
        getattr(upstream, line)()
    elif line == "count":
        print(json.dumps({kind: vars(upstream.count(kind)) for kind in KINDS}), flush=True)
    elif line:
        print("orders: {rule}, clear, down, up, count", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description="A stand-in for the real Hub, in front of a hosted xetway.")
    parser.add_argument("--behind", required=True, metavar="URL", help="the hosted server")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="its data folder")
    parser.add_argument("--page", type=int, default=1000, help="entries of a page of a listing (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with FaultUpstream(chosen.behind, chosen.data, Manners(page_entries=chosen.page), seed=chosen.seed) as upstream:
        print(f"upstream: {upstream.url} (CAS {upstream.cas_url}, CDN {upstream.cdn_url})", flush=True)
        try:
            for line in sys.stdin:
                obey(upstream, line.strip())
        except KeyboardInterrupt:
            pass
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
