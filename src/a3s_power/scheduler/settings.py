"""Settings: the part of the configuration that the scheduler goes by."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from a3s_power.core.errors import BadConfig
from a3s_power.core.names import ModelName
from a3s_power.scheduler.core import Limits

_AUTOMATIC_MAX_LOADED: Final = 3
"""Ollama's three per GPU, and three without one."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of 0 are automatic, except `max_queue`; a `num_parallel` of -1 is what memory allows, 0 is Ollama's one.

    Times are in seconds; of 0 or less, `load_timeout` and `stall_timeout` (how long an answer may make no progress) are
    no limit.

    What a request or a Modelfile says about a load goes before what stands here. `contexts` are the operator's words on
    single models, in tokens, before the one for all, `context_length`; without any a context grows until the key-value
    cache takes `context_share` of the free memory.
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
    num_thread: int = 0
    kv_cache_type: str = "f16"
    flash_attention: bool | None = None
    use_mlock: bool = False
    gpu_layers: int = -1
    main_gpu: int | None = None
    tensor_split: tuple[float, ...] = ()

    def limits(self, memory_bytes: int) -> Limits:
        """What the core needs of it, on a machine that can give models this many bytes."""
        return Limits(
            max_loaded=self.max_loaded or _AUTOMATIC_MAX_LOADED,
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
