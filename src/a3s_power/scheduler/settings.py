"""Settings: the part of the configuration that the scheduler goes by."""

from typing import Final

import msgspec

from a3s_power.scheduler.core import Limits

_AUTOMATIC_MAX_LOADED: Final = 3
"""Ollama's three per GPU, and three without one."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of 0 are automatic, except `max_queue`. Times are in seconds, `load_timeout` of 0 or less is no limit.

    What a request or a Modelfile says about a load goes before what stands here.
    """

    max_loaded: int = 0
    max_queue: int = 512
    num_parallel: int = 0
    keep_alive: float = 300.0
    load_timeout: float = 300.0
    context_length: int = 0
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
