"""What each of several workers may do of what all together may: its share of slots and of places in the line.

The queue is each worker's own. So that all together never exceed what is configured, it is divided.
"""

from __future__ import annotations

from msgspec.structs import replace

from xetway.errors import ConfigError
from xetway.settings.gateway import Gateway, Model


def of_worker(options: Gateway, number: int, count: int) -> Gateway:
    """Return the settings with the shares of worker `number` of `count`.

    Raises:
        ConfigError: There are fewer slots than workers.
    """
    if count == 1:
        return options

    def slots(limit: int | None, path: str) -> int | None:
        if limit is not None and limit < count:
            raise ConfigError(f"{path} is {limit}; it must be at least {count}, as each of the workers needs a slot")
        return limit and share(limit)

    def share(whole: int) -> int:
        return whole // count + (number < whole % count)

    def model(of: Model) -> Model:
        return replace(of, concurrency=slots(of.concurrency, f"concurrency of the model {of.name}"))

    queue = replace(
        options.queue,
        max_size=share(options.queue.max_size),
        concurrency=slots(options.queue.concurrency, "queue.concurrency"),
        model_concurrency=slots(options.queue.model_concurrency, "queue.model_concurrency"),
    )
    return replace(options, queue=queue, models=tuple(map(model, options.models)))
