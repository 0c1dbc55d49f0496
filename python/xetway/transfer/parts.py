"""A part of a file, written to a file."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

from xetway.errors import ConfigError
from xetway.transfer.downloads import ROOM_REMEDY, Chosen
from xetway.transfer.hub import HubClient
from xetway.transfer.present import disk_full, is_disk_full, need_room
from xetway.transfer.results import Downloaded, OnProgress, Progress
from xetway.transfer.streams import clip, pieces


async def download_part(
    hub: HubClient, chosen: Chosen, to: Path | None, start: int, end: int | None, progress: OnProgress | None = None
) -> Downloaded:
    """Write bytes [start, end) of the one file chosen to `to`, which they replace when all are there.

    Raises:
        ConfigError: `bad_range`, or there is no `to`.
    """
    if to is None:
        raise ConfigError("a part of a file needs a file to be written to", code="bad_range")
    file = chosen.files[0]
    start, end = clip(file.size, start, end)
    landing = to.with_name(f".{to.name}.{file.etag[:16]}-{start}-{end}.xetway")
    to.parent.mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(need_room, to.parent, end - start, ROOM_REMEDY)
    resumed = 0

    def tell(written: int, received: int) -> None:
        if progress is not None:
            progress(Progress(path=file.path, written_bytes=written, received_bytes=received, total_bytes=end - start))

    try:
        if file.xet_hash is not None and start < end:
            _, received, resumed = await hub.wire.download_file(
                file.xet_hash,
                landing,
                hub.read_tokens(chosen.repo, chosen.commit),
                size=file.size,
                start=start,
                end=end,
                progress=lambda written, received, _total: tell(written, received),
            )
        else:
            received = 0
            try:
                with landing.open("wb") as out:
                    async with aclosing(pieces(hub, chosen.repo, chosen.commit, file, start, end)) as parts:
                        async for piece in parts:
                            await asyncio.to_thread(out.write, piece)
                            received += len(piece)
                            tell(received, received)
            except BaseException:
                landing.unlink(missing_ok=True)
                raise
        landing.replace(to)
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(to.parent, ROOM_REMEDY) from error
        raise
    return Downloaded(
        path=to,
        size=end - start,
        hash=file.xet_hash,
        state="downloaded",
        received_bytes=received,
        resumed_bytes=resumed,
        commit=chosen.commit,
    )
