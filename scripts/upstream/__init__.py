"""A stand-in for the real Hub that can be told to misbehave, for tests, benches and the soak.

It stands in front of a hosted xetway and does what only the real Hub does: other hosts in its addresses, signed
addresses that end, redirects, pages, gated repositories. On request it also does what networks and servers do on bad
days. It is no Hub: everything it knows comes from the server behind it, and nothing is written through it.
"""

from upstream.faults import Fault, Rule
from upstream.manners import Manners
from upstream.server import Count, FaultUpstream, Seen

__all__ = ["Count", "Fault", "FaultUpstream", "Manners", "Rule", "Seen"]
