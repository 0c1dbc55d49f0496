"""Many readers of one file at once, in one process: some by plain HTTP, some as Xet clients read.

Every byte is compared with the original as it comes; nothing is kept. A program: it reads its task as JSON from
stdin, and prints what went wrong and how much was read.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit


class WrongError(Exception):
    """The reader got something else than the original."""


async def fetch(url: str, start: int, end: int, original: mmap.mmap, status: int) -> int:
    """GET bytes [start, end) and compare them with `original`; returns how many came."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        lines = [f"GET {target} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
        if status == 206:
            lines.append(f"Range: bytes={start}-{end - 1}")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        if not head.startswith(f"HTTP/1.1 {status} "):
            raise WrongError(f"{head.splitlines()[0]} for {parts.path}")
        at = start
        while piece := await reader.read(1 << 20):
            if original[at : at + len(piece)] != piece:
                raise WrongError(f"other bytes at {at} of {parts.path}")
            at += len(piece)
        if at != end:
            raise WrongError(f"{at - start} of {end - start} bytes of {parts.path}")
        return at - start
    finally:
        writer.close()


def ask(url: str, headers: dict[str, str]) -> dict:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=120) as answer:
        return json.load(answer)


async def plain_reader(task: dict, original: mmap.mmap) -> int:
    url = f"{task['url']}/{task['repo']}/resolve/main/{task['file']}"
    return await fetch(url, 0, len(original), original, 200)


async def xet_reader(task: dict, xorbs: Path) -> int:
    """Plan, then the ranges, four at a time, each compared with the stored xorb."""
    token = await asyncio.to_thread(ask, f"{task['url']}/api/models/{task['repo']}/xet-read-token/main", {})
    headers = {"authorization": f"Bearer {token['accessToken']}", "range": f"bytes=0-{task['size'] - 1}"}
    plan = await asyncio.to_thread(ask, f"{token['casUrl']}/v2/reconstructions/{task['hash']}", headers)
    few = asyncio.Semaphore(4)

    async def one(xorb: str, part: dict) -> int:
        (only,) = part["ranges"]
        async with few:
            with mapped(xorbs / xorb[:2] / f"{xorb}.xorb") as stored:
                return await fetch(part["url"], only["bytes"]["start"], only["bytes"]["end"] + 1, stored, 206)

    parts = [(xorb, part) for xorb, parts in plan["xorbs"].items() for part in parts]
    return sum(await asyncio.gather(*(one(*part) for part in parts)))


def mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


async def crowd(task: dict) -> list:
    with mapped(Path(task["original"])) as original:
        readers = [plain_reader(task, original) for _ in range(task["plain"])]
        readers += [xet_reader(task, Path(task["xorbs"])) for _ in range(task["xet"])]
        return await asyncio.gather(*readers, return_exceptions=True)


def main() -> None:
    results = asyncio.run(crowd(json.load(sys.stdin)))
    wrong = [f"{type(item).__name__}: {item}" for item in results if isinstance(item, BaseException)]
    print(json.dumps({"wrong": wrong, "bytes": sum(item for item in results if isinstance(item, int))}))


if __name__ == "__main__":
    main()
