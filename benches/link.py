"""A network link of limited speed: a TCP relay that lets so many bytes a second through towards the client.

    python link.py HOST PORT BYTES_PER_SECOND

Prints the port it listens on (loopback). All connections share the speed, as they do on a site's uplink.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time

PIECE_BYTES = 128 * 1024
# What may pass at once after a pause, as a router's queue does: 20 ms.
BURST_S = 0.02


class Speed:
    """Tells how long to wait before a piece may pass."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._free_at = time.monotonic()

    def wait(self, count: int) -> None:
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - BURST_S) + count / self._bytes_per_s
            pause = self._free_at - now
        if pause > 0:
            time.sleep(pause)


def relay(source: socket.socket, target: socket.socket, speed: Speed | None) -> None:
    buffer = memoryview(bytearray(PIECE_BYTES))
    try:
        while count := source.recv_into(buffer):
            if speed is not None:
                speed.wait(count)
            target.sendall(buffer[:count])
    except OSError:
        pass
    finally:
        for end, how in ((target, socket.SHUT_WR), (source, socket.SHUT_RD)):
            with contextlib.suppress(OSError):
                end.shutdown(how)


def connect(client: socket.socket, address: tuple[str, int], speed: Speed) -> None:
    with client, socket.create_connection(address) as server:
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        questions = threading.Thread(target=relay, args=(client, server, None), daemon=True)
        questions.start()
        relay(server, client, speed)
        questions.join()


def main() -> None:
    host, port, bytes_per_s = sys.argv[1:]
    speed = Speed(float(bytes_per_s))
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=connect, args=(client, (host, int(port)), speed), daemon=True).start()


if __name__ == "__main__":
    main()
