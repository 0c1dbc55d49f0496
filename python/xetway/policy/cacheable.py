"""Which requests may be answered with an earlier answer, and what tells two requests apart.

Without `everything` only requests whose answer is a function of the request: embeddings; completions, chats and
responses at temperature 0 or with a fixed seed (the OpenAI reference promises best effort for it; -1 and 2^32-1 mean
"random" to llama.cpp and vLLM), if nothing outside plays a part: no address to fetch, no tool that the upstream runs.
`everything` lifts that, but never for requests that do more than answer: stored, background, part of a conversation.
Responses are stored by default, so they have to say `"store": false`.

The key covers all that is sent: caller, path with query, the upstream's model and the configuration's generation,
headers that the answer may depend on, and every field of the body, so also `stream` and `stream_options`: a streamed
answer is kept as its events, a whole one as its bytes, and each is replayed as it came. Only who the end user is
(`user` and its two successors) is left out where the answer does not repeat it. The order of fields, white space and
escapes do not matter, the JSON types of numbers do. A body is not cached if it could be read in two ways: a name
twice in one object, NaN, a number beyond what a double holds, too deep nesting.

Source: https://platform.openai.com/docs/api-reference (create embeddings, completion, chat completion, response).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, TypeAlias

import msgspec

from xetway.settings.gateway import Model

Kind: TypeAlias = Literal["embeddings", "completions", "chat", "responses"]

_KINDS: dict[bytes, Kind] = {
    b"/embeddings": "embeddings",
    b"/completions": "completions",
    b"/chat/completions": "chat",
    b"/responses": "responses",
}
_END_USER = ("user", "safety_identifier", "prompt_cache_key")
# Fields that make a request more than a question.
_STATEFUL = ("store", "background", "previous_response_id", "conversation", "audio")
# Fields that bring in something from outside, or chance at temperature 0 (the last three are llama.cpp's).
_OUTSIDE = ("web_search_options", "prompt", "dynatemp_range", "xtc_probability", "mirostat")
_RANDOM_SEEDS = (-1, 2**32 - 1)
# What an address looks like in the canonical body: "url", "image_url", "file_url", "server_url".
_ADDRESS = 'url":"http'
_MODEL_DIGEST_BYTES = 16

_SORTED = msgspec.json.Encoder(order="sorted").encode
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False)


class Plan(msgspec.Struct, frozen=True):
    """A request whose answer may be kept. Keys of one model begin alike."""

    key: bytes
    kind: Kind


class Control(msgspec.Struct, frozen=True):
    """What a request's Cache-Control allows: an answer of at most this age, and keeping the new one."""

    max_age_s: float = float("inf")
    store: bool = True


_ANYTHING = Control()


def control(header: str | None) -> Control:
    """Read Cache-Control (RFC 9111, section 5.2.1): no-store, no-cache, max-age. What is not understood is ignored."""
    if header is None:
        return _ANYTHING
    max_age_s, store = float("inf"), True
    for directive in header.lower().split(","):
        name, _, value = directive.strip().partition("=")
        if name == "no-store":
            store = False
        elif name == "no-cache":
            max_age_s = -1.0
        elif name == "max-age" and value.strip('"').isdecimal():
            max_age_s = min(max_age_s, float(value.strip('"')) or -1.0)
    return Control(max_age_s, store)


def model_prefix(model: str) -> bytes:
    """What the keys of a model begin with."""
    return hashlib.sha256(model.encode()).digest()[:_MODEL_DIGEST_BYTES]


def generation(model: Model) -> str:
    """A digest of what is configured of a model and may change its answers: of another, none is to be found."""
    said = (
        [(upstream.url, upstream.model) for upstream in model.upstreams],
        (model.set, model.defaults, sorted(model.remove)),
        (model.set_headers, sorted(model.remove_headers)),
    )
    return hashlib.sha256(_SORTED(said)).hexdigest()


def plan(
    caller: str,
    path: bytes,
    model: str,
    generation: str,
    body: bytes,
    *,
    everything: bool = False,
    vary: tuple[str, ...] = (),
) -> Plan | None:
    """Return how to find the answer again, or None if it must not be kept.

    `path` is what comes after /v1, `model` the name in the configuration, `body` what the upstream is sent, `vary` the
    values of those request headers which are passed on and may change the answer.
    """
    kind = _KINDS.get(path.partition(b"?")[0])
    if kind is None or not (everything or _may_repeat(kind, body)):
        return None
    try:
        fields = json.loads(body.decode(), object_pairs_hook=_unique)
        if not isinstance(fields, dict) or _does_more(kind, fields):
            return None
        if not (everything or _repeats(kind, fields)):
            return None
        if not fields.get("stream"):
            fields.pop("stream", None)
        if kind != "responses":  # which repeats them
            for name in _END_USER:
                fields.pop(name, None)
        text = _CANONICAL.encode([caller, path.decode("latin-1"), model, generation, vary, fields])
    except (ValueError, RecursionError):
        return None
    if _ADDRESS in text and not everything:
        return None
    return Plan(model_prefix(model) + hashlib.sha256(text.encode()).digest(), kind)


def _may_repeat(kind: Kind, body: bytes) -> bool:
    """Tell in a fraction of a microsecond that most requests are not repeatable."""
    return kind == "embeddings" or b'"temperature"' in body or b'"seed"' in body


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _does_more(kind: Kind, fields: dict[str, Any]) -> bool:
    if kind == "responses" and fields.get("store") is not False:
        return True
    return any(fields.get(name) for name in _STATEFUL)


def _repeats(kind: Kind, fields: dict[str, Any]) -> bool:
    if kind == "embeddings":
        return True
    if any(fields.get(name) for name in _OUTSIDE if not (name == "prompt" and kind == "completions")):
        return False
    tools = fields.get("tools") or []
    if not isinstance(tools, list) or not all(map(_is_clients, tools)):
        return False
    temperature, seed = fields.get("temperature"), fields.get("seed")
    if type(seed) is int and seed not in _RANDOM_SEEDS:
        return True
    return type(temperature) in {int, float} and temperature == 0


def _is_clients(tool: Any) -> bool:
    """Whether a tool is run by the client, not by the upstream."""
    return isinstance(tool, dict) and (tool.get("type") == "function" or tool.get("type") == "custom")
