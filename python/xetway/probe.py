"""Finding out that a server answers: by asking it, over its own port."""

from __future__ import annotations

import http.client
import logging
import os
import ssl
import threading
import time
from collections.abc import Callable

from xetway.listening import reachable
from xetway.settings import Settings

logger = logging.getLogger("xetway")

_READY_LIMIT_S = 30.0
_TIMEOUT_S = 5.0
_INTERVAL_S = 0.005


class Probe(threading.Thread):
    """Asks /health until it is answered, then calls `ready`; ends the process if it never is."""

    def __init__(self, settings: Settings, ready: Callable[[], None]) -> None:
        super().__init__(name="probe", daemon=True)
        self.given_up = threading.Event()
        self._ready = ready
        self._address = (reachable(settings.host), settings.port)
        self._tls = _trusting() if settings.gateway.tls is not None else None

    def run(self) -> None:
        """Do so; what a thread does."""
        deadline = time.monotonic() + _READY_LIMIT_S
        while not self._answers():
            if self.given_up.wait(_INTERVAL_S):
                return
            if time.monotonic() > deadline:
                logger.error("the server does not answer on its own port")
                os._exit(1)
        self._ready()

    def _answers(self) -> bool:
        connection = self._connection()
        try:
            connection.request("GET", "/health")
            # Settings may ask for a key even there.
            return connection.getresponse().status in {200, 401}
        except ssl.SSLError as error:
            # Who asks for a certificate is there; this has none to show.
            return "CERTIFICATE_REQUIRED" in (error.reason or "")
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(*self._address, timeout=_TIMEOUT_S)
        return http.client.HTTPSConnection(*self._address, timeout=_TIMEOUT_S, context=self._tls)


def _trusting() -> ssl.SSLContext:
    """For this server itself, which may have a certificate for any name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
