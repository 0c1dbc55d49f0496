"""Which models there are: found by name, alias or number.

The port of what `engines` knows about models is `Catalog`; this adapter has those of the configuration.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from msgspec import Struct

from xetway.errors import ConfigError, NotFoundError
from xetway.settings.gateway import Model


class ModelObject(Struct, frozen=True, kw_only=True):
    """A model as `GET /v1/models` lists it."""

    id: str
    object: str = "model"
    created: int
    owned_by: str
    aliases: tuple[str, ...] = ()
    description: str = ""
    context_length: int | None = None


class ModelList(Struct, frozen=True):
    """All of them."""

    data: list[ModelObject]
    object: str = "list"


class Catalog:
    """The models of a configuration. Read by all requests, replaced as a whole when it is read again."""

    def __init__(self, models: Iterable[Model], *, created: Mapping[str, int] | None = None) -> None:
        now = int(time.time())
        self.models = tuple(models)
        self._created = {model.name: (created or {}).get(model.name, now) for model in self.models}
        self._by_name: dict[str, Model] = {}
        # An exact name wins over an alias, and that over a number.
        for model in self.models:
            self._add(model.name, model)
        for model in self.models:
            for alias in model.aliases:
                self._add(alias, model)
        for number, model in enumerate(self.models, 1):
            if model.id is not None:
                self._add(str(model.id), model)
            else:
                self._by_name.setdefault(str(number), model)

    def _add(self, name: str, model: Model) -> None:
        if name in self._by_name:
            other = self._by_name[name]
            raise ConfigError(f"models: {name!r} names {other.name!r} and {model.name!r}; a name leads to one model")
        self._by_name[name] = model

    @property
    def created(self) -> Mapping[str, int]:
        """Since when each model is known, unix time; for the catalog that replaces this one."""
        return self._created

    def find(self, name: str) -> Model:
        """Return the model of this name, alias or number.

        Raises:
            NotFoundError: `model_not_found`.
        """
        model = self._by_name.get(name)
        if model is None:
            raise NotFoundError(f"the model {name[:100]!r} does not exist", code="model_not_found")
        return model

    def describe(self, model: Model) -> ModelObject:
        """What is told of a model."""
        return ModelObject(
            id=model.name,
            created=self._created[model.name],
            owned_by=model.owned_by,
            aliases=model.aliases,
            description=model.description,
            context_length=model.context_length,
        )
