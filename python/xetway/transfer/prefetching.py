"""Asking a mirror to fetch a repository, and following its account of that, line by line.

The answer lasts as long as the fetching. It is read with Python's own HTTP client, the only one here that hands over
lines as they come; proxies are those of the environment. Redirects are refused: they could take the token elsewhere.
"""

from __future__ import annotations

import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import msgspec

from xetway.errors import ConfigError, RemoteError, TransportError
from xetway.transfer.refusals import refusal
from xetway.transfer.results import Observer, Progress
from xetway.transfer.wire import Answer

PATH = "/api/xetway/prefetch"
# A mirror is silent while its upstream is, and tries that for minutes.
SILENCE_S = 900.0
_MAX_LINE_BYTES = 64 * 1024


class Prefetch(msgspec.Struct, frozen=True, kw_only=True):
    """What to fetch: the request's body."""

    repo: str
    type: str
    revision: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Prefetched(msgspec.Struct, frozen=True, kw_only=True):
    """What the mirror has now: files and their bytes, and how many bytes it fetched for that."""

    files: int = 0
    bytes: int = 0
    fetched: int = 0


class _Line(msgspec.Struct):
    type: str
    path: str = ""
    held: int = 0
    total: int = 0
    files: int = 0
    bytes: int = 0
    fetched: int = 0
    code: str = "prefetch_failed"
    error: str = ""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        return None


def run_prefetch(
    endpoint: str, token: str | None, wanted: Prefetch, observer: Observer, *, ca_bundle: str | None = None
) -> Prefetched:
    """Ask the mirror, and wait until it has everything. Blocking.

    Raises:
        RemoteError: `prefetch_failed`, or the mirror's own code; `no_prefetch`: the endpoint is not a mirror.
        TransportError: `connect_failed`, `connection_cut`.
    """
    host = urlsplit(endpoint).hostname or endpoint
    request = urllib.request.Request(  # noqa: S310  (the endpoint was checked: http or https)
        endpoint + PATH, data=msgspec.json.encode(wanted), headers={"content-type": "application/json"}
    )
    if token is not None:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(_NoRedirects, urllib.request.HTTPSHandler(context=_trust(ca_bundle)))
    try:
        with opener.open(request, timeout=SILENCE_S) as answer:
            return _follow(_lines(answer), observer, endpoint)
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(error, endpoint, with_token=token is not None) from None
    except urllib.error.URLError as error:
        raise _unreached(error.reason, host) from None
    except (OSError, HTTPException) as error:
        raise TransportError(
            f"the connection to {host} broke ({error}); the mirror keeps what it has, run this again",
            code="connection_cut",
            host=host,
        ) from None


def _unreached(reason: str | BaseException, host: str) -> TransportError:
    if isinstance(reason, ssl.SSLError) and reason.reason == "WRONG_VERSION_NUMBER":
        message = f"{host} does not speak TLS: should its address begin with http://?"
        return TransportError(message, code="tls_untrusted", host=host, retryable=False)
    message = f"cannot reach {host}: {reason}; is the mirror running, and is --endpoint (or HF_ENDPOINT) its address?"
    return TransportError(message, code="connect_failed", host=host)


def _trust(ca_bundle: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for path in (ca_bundle, os.environ.get("REQUESTS_CA_BUNDLE")):
        if path:
            try:
                context.load_verify_locations(path)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(f"the certificates in {path} cannot be used: {error}", code="bad_ca_bundle") from None
    return context


def _lines(answer: Any) -> Iterable[bytes]:
    while line := answer.readline(_MAX_LINE_BYTES):
        if line.strip():
            yield line


def _follow(lines: Iterable[bytes], observer: Observer, endpoint: str) -> Prefetched:
    sizes: dict[str, int] = {}
    for text in lines:
        try:
            line = msgspec.json.decode(text, type=_Line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise RemoteError(f"{endpoint} sent a line that a mirror does not send", code="bad_hub_answer") from None
        if line.type == "error":
            raise RemoteError(f"the mirror could not fetch it: {line.error}", code=line.code)
        if line.type == "result":
            return Prefetched(files=line.files, bytes=line.bytes, fetched=line.fetched)
        if line.type == "file":
            if line.path not in sizes:
                observer.started(line.path)
            sizes[line.path] = line.total
            observer.progressed(
                Progress(path=line.path, written_bytes=line.held, received_bytes=line.held, total_bytes=line.total)
            )
            if line.held >= line.total:
                observer.finished(line.path, line.total)
    raise TransportError(
        f"{urlsplit(endpoint).hostname} ended its account before its result; run this again",
        code="connection_cut",
        host=urlsplit(endpoint).hostname,
    )


def _refused(error: urllib.error.HTTPError, endpoint: str, *, with_token: bool) -> Exception:
    headers = [(name.lower(), value) for name, value in error.headers.items()]
    answer = Answer(error.code, headers, error.read(64 * 1024), endpoint + PATH)
    if error.code in {404, 405} and answer.header("x-error-code") is None:
        return RemoteError(
            f"{endpoint} is not a mirror that can prefetch; it must be `xetway serve --upstream URL`",
            code="no_prefetch",
            remote_status=error.code,
        )
    return refusal(answer, endpoint, with_token=with_token)
