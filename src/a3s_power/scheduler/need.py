"""Need, Claim and Ask: what a request wants of a model, and whether a loaded one serves it."""

import math
from operator import attrgetter
from typing import Final

import msgspec

from a3s_power.core.digests import Digest
from a3s_power.core.model import Model
from a3s_power.core.options import LOAD, Options
from a3s_power.engines.engine import LoadOptions
from a3s_power.engines.tuning import Rates
from a3s_power.scheduler.devices import NOWHERE, Wish
from a3s_power.scheduler.drafts import NO_DRAFT, Drafting


class RunnerKey(msgspec.Struct, frozen=True):
    """What a runner is shared under: two names with the same weights are one key; embeddings have their own child."""

    weights: Digest
    embedding: bool = False


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """A model as one request needs it.

    `options` is what Modelfile and request say, merged; only the options that belong to a load are looked at, and
    `None` is automatic. `context` is what the request is held to where its own options do not count. `keep_alive` is
    the request's own, in seconds, `None` when it says nothing. `shift` lets a full context drop its oldest half.
    A `pinned` model leaves for no other. `client` is who takes turns, `weight` of them where others take one; `batch`
    work gives way to the rest, and `patience` is how many seconds it may wait. `drafting` is who guesses its text
    ahead, `tuning` what was measured here of the engine's settings for models of this kind.
    """

    model: Model
    engine: str = "llamacpp"
    options: Options = Options()
    embedding: bool = False
    shift: bool = True
    context: int = 0
    keep_alive: float | None = None
    pinned: bool = False
    client: str = ""
    weight: int = 1
    batch: bool = False
    patience: float = math.inf
    drafting: Drafting = NO_DRAFT
    tuning: tuple[Rates, ...] = ()

    @property
    def key(self) -> RunnerKey:
        """Under which a runner for it is found."""
        return RunnerKey(self.model.weights, self.embedding)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a need comes to on this machine: how it would be loaded, and the main memory that takes.

    `options` lacks what only the moment of the load decides: threads and the prompt cache. `asked_context` is larger
    than its context where memory could not hold what was asked for. `shared_bytes` of the memory are the weights in
    the file, which all children that map it share. `wish` is what it wants of graphics processors beside that.
    """

    options: LoadOptions
    asked_context: int
    memory_bytes: int
    shared_bytes: int = 0
    wish: Wish = NOWHERE


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One request at the scheduler: its ticket, what it needs, what that comes to, and until when it may wait."""

    ticket: int
    need: Need
    claim: Claim
    deadline: float = math.inf


_load_options: Final = attrgetter(*LOAD)


def alike(had: Need, wants: Need) -> bool:
    """Whether the two would be loaded in the same way. Both have the same key."""
    return (
        had.model.files is wants.model.files
        and had.engine == wants.engine
        and had.shift == wants.shift
        and had.drafting == wants.drafting
        and _load_options(had.options) == _load_options(wants.options)
    )


_COUNTS: Final = frozenset({"num_thread", "num_thread_batch"})


def difference(loaded: Ask, asked: Ask) -> str | None:
    """Why a model loaded for `loaded` cannot serve `asked`: the first thing that differs, or `None` when it can.

    The rules are Ollama's, but a shorter context is served by a longer one, and one that is not to be shifted by one
    that could be. Other adapters or projectors of the same
    weights are a reload and not a second runner, as there; so is another engine. Both asks have the same key.
    """
    had, wants = loaded.need, asked.need
    if had is wants or (loaded.claim is asked.claim and alike(had, wants)):
        return None
    if had.engine != wants.engine:
        return "engine"
    if had.model.files is not wants.model.files and _extras(had) != _extras(wants):
        return "files"
    if wants.shift and not had.shift and not wants.embedding:
        return "shift"
    return next((name for name in LOAD if _differs(name, loaded, asked)), None)


def _extras(need: Need) -> tuple[object, ...]:
    """The files beside the weights: those are the same by digest, wherever they lie."""
    files = need.model.files
    return (files.projectors, files.adapters, files.draft)


def _differs(name: str, loaded: Ask, asked: Ask) -> bool:
    had, wants = getattr(loaded.need.options, name), getattr(asked.need.options, name)
    match name:
        # Automatic against automatic is the same whatever came of it; all else is compared as it came out.
        case "num_ctx" | "num_batch" if had is None and wants is None:
            return False
        case "num_ctx" if not asked.need.embedding:
            return loaded.claim.options.context_length < asked.claim.options.context_length
        case "num_ctx":
            # A text to embed is cut to its context, so a longer one makes other vectors.
            return loaded.claim.options.context_length != asked.claim.options.context_length
        case "num_batch":
            return loaded.claim.options.batch != asked.claim.options.batch
        case "num_gpu":
            return wants is not None and wants >= 0 and had != wants
        case "draft_num_predict":
            return _draft(loaded.need) != _draft(asked.need)
        case _ if name in _COUNTS:
            return (had or 0) != (wants or 0)
        case _:
            return bool(had != wants)


def _draft(need: Need) -> tuple[str, int]:
    return (need.drafting.kind, need.drafting.tokens)
