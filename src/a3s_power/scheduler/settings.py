"""Settings: the part of the configuration that the scheduler goes by."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from a3s_power.core.errors import BadConfig
from a3s_power.core.names import ModelName
from a3s_power.engines.tuning import Prefer
from a3s_power.scheduler.caches import AUTOMATIC
from a3s_power.scheduler.core import Limits
from a3s_power.scheduler.devices import Gpus
from a3s_power.scheduler.fixed import Fixed

_AUTOMATIC_MAX_LOADED: Final = 3
"""Ollama's three per GPU, and three without one."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of 0 are automatic, except `max_queue`; a `num_parallel` of -1 is what memory allows, 0 is Ollama's one.

    Times are in seconds; of 0 or less, `load_timeout` and `stall_timeout` (how long an answer may make no progress) are
    no limit. `program` and `arguments` are for an engine that is a program of its own. `pins` are the models that stay
    until the server ends.

    What a request or a Modelfile says about a load goes before what stands here. `contexts` are the operator's words on
    single models, in tokens, before the one for all, `context_length`; without any a context grows until the key-value
    cache takes `context_share` of the free memory. `prompt_cache` is in MiB for each model, -1 for as much as memory
    allows; `prompts` is the folder of prompts that outlive their child, which may take `prompts_bytes`. With
    `calibrate` an engine's settings are measured while nobody is answered; of about equal ones `prefer` decides.
    """

    max_loaded: int = 0
    max_queue: int = 512
    num_parallel: int = 0
    keep_alive: float = 300.0
    load_timeout: float = 300.0
    stall_timeout: float = 300.0
    context_length: int = 0
    context_share: float = 0.25
    contexts: Mapping[ModelName, int] = {}
    fixed: Fixed = Fixed()
    pins: frozenset[ModelName] = frozenset()
    num_thread: int = 0
    kv_cache_type: str = "f16"
    flash_attention: bool | None = None
    use_mlock: bool = False
    gpu_layers: int = -1
    main_gpu: int | None = None
    tensor_split: tuple[float, ...] = ()
    gpus: Gpus = Gpus()
    program: str = ""
    arguments: tuple[str, ...] = ()
    prompt_cache: int = AUTOMATIC
    prompts: Path | None = None
    prompts_bytes: int = 0
    calibrate: bool = True
    prefer: Prefer = "speed"

    def limits(self, memory_bytes: int, cards: int = 0) -> Limits:
        """What the core needs of it, on a machine that can give models this many bytes and graphics processors."""
        return Limits(
            max_loaded=self.max_loaded or _AUTOMATIC_MAX_LOADED * max(1, cards),
            max_queue=self.max_queue,
            keep_alive=self.keep_alive,
            memory_bytes=memory_bytes,
        )


def contexts(words: Iterable[str]) -> dict[ModelName, int]:
    """The contexts of models, from texts as `MODEL=TOKENS`. Raises BadConfig."""
    found = {}
    for word in words:
        name, _, tokens = word.rpartition("=")
        if not (name and tokens.isdecimal() and int(tokens)):
            raise BadConfig(f"contexts: {word!r} is not of the form MODEL=TOKENS")
        found[ModelName.parse(name)] = int(tokens)
    return found
