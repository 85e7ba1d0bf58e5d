"""Fixed: the models whose load options are the operator's and the Modelfile's alone, so that no request reloads any."""

from collections.abc import Iterable, Mapping
from typing import Final, Self

import msgspec

from a3s_power.core.errors import BadConfig
from a3s_power.core.names import ModelName
from a3s_power.core.options import LOAD
from a3s_power.scheduler.need import Claim, Need

_WORDS: Final = {"fixed": True, "request": False}
_UNSAID: Final = frozenset({("num_gpu", -1), ("num_thread", 0), ("num_thread_batch", 0), ("num_batch", 0)})
"""Options with the value that stands for automatic."""


class Fixed(msgspec.Struct, frozen=True):
    """Whether the load options of models are fixed: those of `models` by name, of all others as `everywhere` says."""

    everywhere: bool = False
    models: Mapping[ModelName, bool] = {}

    @classmethod
    def parse(cls, words: Iterable[str]) -> Self:
        """Read `fixed` or `request`, and `MODEL=fixed` or `MODEL=request`. Raises BadConfig."""
        everywhere, models = False, {}
        for word in words:
            name, _, said = word.rpartition("=")
            if said not in _WORDS:
                raise BadConfig(f'load_options: {word!r} is not "fixed" or "request", alone or as MODEL=fixed')
            if name:
                models[ModelName.parse(name)] = _WORDS[said]
            else:
                everywhere = _WORDS[said]
        return cls(everywhere, models)

    def __bool__(self) -> bool:
        return self.everywhere or any(self.models.values())

    def of(self, name: ModelName) -> bool:
        """Whether those of this model are."""
        return self.models.get(name, self.everywhere)


def settled(need: Need) -> Need:
    """The need with the load options that the model has without its request; a shorter context is still held to."""
    own = need.model.asked.checked()
    options = msgspec.structs.replace(need.options, **{name: getattr(own, name) for name in LOAD})
    return msgspec.structs.replace(need, options=options, context=need.options.num_ctx or 0)


def ignored(need: Need, claim: Claim) -> dict[str, str]:
    """What a need asks of the load and does not get, where the settled one comes to this claim: `8192 -> 4096`."""
    own, wants, options = need.model.asked.checked(), need.options, claim.options
    given = {name: getattr(own, name) for name in LOAD} | {
        "num_batch": options.batch,
        "num_ctx": options.context_length,
    }
    asked = {name: value for name in LOAD if not _automatic(name, value := getattr(wants, name))}
    if not need.embedding and asked.get("num_ctx", 0) <= options.context_length:
        asked.pop("num_ctx", None)
    return {name: f"{_text(value)} -> {_text(given[name])}" for name, value in asked.items() if value != given[name]}


def _automatic(name: str, value: object) -> bool:
    """Whether this value of an option says nothing."""
    return value is None or (name, value) in _UNSAID


def _text(value: object) -> str:
    return "automatic" if value is None else str(value).lower()
