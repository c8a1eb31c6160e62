"""Rewrites requests' JSON bodies as the settings demand: aliases, `keep_alive`, options for which a model
is loaded anew, and the length of the answer. All other bytes stay the same.
"""

from collections.abc import Callable, Mapping
from functools import partial

from ..access.caller import Caller
from ..names import requested_name
from ..settings import Settings
from . import keep_alive
from .affinity import RELOADING, LoadOptions, load_options
from .ask import nothing
from .fields import Fields, fields_of
from .json_spans import Steps
from .max_output import limited, max_output
from .naming import Models, Names, with_targets
from .route import Route
from .runner_options import Contexts, context_of, stripped, with_context


class Draft:
    """A request on its way to an Ask. `said` are the fields as they arrived, `fields` those of `body` as it
    is now; for the others see Ask.
    """

    def __init__(self, route: Route, caller: Caller, named: str | None, body: bytes, said: Fields) -> None:
        self.route = route
        self.caller = caller
        self.named = named
        self.body = body
        self.said = self.fields = said
        self.targets: Mapping[str, str] = {}
        self.load_options: LoadOptions = frozenset()
        self.changes: list[str] = []
        self.unloads = False
        self.keep_alive: float | None = None
        self.failed: Callable[[], None] = nothing

    def become(self, body: bytes) -> Steps[None]:
        if body is not self.body:
            self.body, self.fields = body, (yield from fields_of(body))


class Rewriter:
    """Its methods raise InvalidRequest."""

    def __init__(self, settings: Settings, names: Names, models: Models) -> None:
        self._settings = settings
        self._names = names
        self._models = models
        self._contexts = Contexts()

    def find_targets(self, draft: Draft) -> None:
        """Find the models behind the request's aliases."""
        draft.targets = self._names.targets(draft.said, draft.named, draft.route, draft.caller.models)
        draft.changes += [f"model={target}" for target in dict.fromkeys(draft.targets.values())]

    def rewrite(self, draft: Draft) -> Steps[None]:
        """Rewrite a JSON body."""
        route = draft.route
        self.find_targets(draft)
        if draft.targets:
            yield from draft.become(with_targets(draft.body, draft.fields, route, draft.targets))
        if draft.fields and route.has_options:
            yield from self._check_keep_alive(draft)
            yield from self._change_options(draft)
        if most := max_output(self._settings, draft.caller):
            draft.body = yield from limited(draft.body, draft.fields, route, most)

    def _check_keep_alive(self, draft: Draft) -> Steps[None]:
        if not keep_alive.is_set(draft.fields):
            return
        draft.keep_alive = keep_alive.seconds(draft.fields, draft.route)
        draft.unloads = draft.keep_alive == 0 and keep_alive.only_loads(draft.fields, draft.route)
        if not keep_alive.may_set(draft.caller, self._settings):
            yield from draft.become(keep_alive.removed(draft.body, draft.fields))
            draft.keep_alive = None
            draft.changes.append("keep_alive removed")

    def _change_options(self, draft: Draft) -> Steps[None]:
        draft.load_options = yield from load_options(draft.fields)
        if self._settings.runner_options == "strip":
            names = dict(draft.load_options)
            draft.changes += [f"{name} removed" for name in RELOADING if name in names]
            yield from draft.become((yield from stripped(draft.body, draft.fields)))
            draft.load_options = frozenset()
        elif self._settings.runner_options == "largest":
            yield from self._share_context(draft)

    def _share_context(self, draft: Draft) -> Steps[None]:
        """Give a request for a model that exists the largest context, unless its own is larger or invalid."""
        model, size = draft.fields.get("model"), context_of(draft.load_options)
        if not isinstance(model, str) or not self._models.has(requested_name(model)):
            return
        if size is None and "num_ctx" in dict(draft.load_options):
            return
        name = requested_name(model)
        if size and (model in draft.targets.values() or draft.caller.models.has(model)):
            self._contexts.ask(name, size)
        largest = self._contexts.largest(name)
        if largest and largest > (size or 0):
            yield from draft.become((yield from with_context(draft.body, draft.fields, largest)))
            draft.load_options = yield from load_options(draft.fields)
            draft.changes.append(f"num_ctx={largest}")
        if most := max(largest or 0, size or 0):
            # It may not have fitted into memory.
            draft.failed = partial(self._contexts.forget, name, most)
