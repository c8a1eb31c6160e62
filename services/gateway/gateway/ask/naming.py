"""Aliases in a request, and the models that they stand for."""

import json
from collections.abc import Iterator, Mapping
from typing import Protocol

from ..access.allow_list import AllowList
from ..aliases import Alias
from ..names import full_name
from .edits import Edits
from .fields import Fields
from .route import Route


class Models(Protocol):
    """The models of all model servers."""

    def has(self, model: str) -> bool:
        """Whether the model was present at the last poll."""

    def available(self, model: str) -> bool:
        """Whether a model server that is up has the model."""


class Names:
    """Finds the model that an alias stands for: the first of its targets that is available, else the first
    that exists, else the first. A caller that may use the alias may use all of them.
    """

    def __init__(self, aliases: Mapping[str, Alias], models: Models) -> None:
        self._aliases = aliases
        self._models = models

    def target(self, said: str, allowed: AllowList) -> str | None:
        """The model behind a name, None if it is no alias, or one that the caller may not use."""
        alias = self._aliases.get(full_name(said.strip()))
        if not alias:
            return None
        targets = alias.targets if allowed.has(alias.name) else tuple(filter(allowed.has, alias.targets))
        for is_usable in (self._models.available, self._models.has):
            for target in targets:
                if is_usable(target):
                    return target
        return targets[0] if targets else None

    def listed(self, allowed: AllowList) -> Iterator[tuple[str, str]]:
        """The aliases that a caller may use, with their models."""
        for alias in self._aliases.values():
            if target := self.target(alias.name, allowed):
                yield alias.name, target

    def targets(self, fields: Fields, named: str | None, route: Route, allowed: AllowList) -> dict[str, str]:
        """The models behind the aliases in a request, which `named` in its path. Whoever manages models names
        the models themselves. Raises InvalidRequest.
        """
        if not self._aliases or route.kind not in ("inference", "read"):
            return {}
        names = [*([named] if named else ()), *fields.models(route.naming)]
        found = {said: self.target(said, allowed) for said in names}
        return {said: target for said, target in found.items() if target}


def with_targets(body: bytes, fields: Fields, route: Route, targets: Mapping[str, str]) -> bytes:
    """A JSON body that names the models behind its aliases."""
    edits = Edits(body, "names an alias")
    for name, span in fields.members:
        if name.casefold() in route.naming:
            said = fields.value(span)
            if isinstance(said, str) and said in targets:
                edits.replace(span, json.dumps(targets[said]).encode())
    return edits.applied()
