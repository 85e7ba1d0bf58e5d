"""How llama.cpp is set up for a load: pure, and every value that it dies of refused here.

The choices were measured for the engine's CPU build; what changes them are the weights' type and the kind of machine.
"""

import sys
from typing import Final, Literal

import msgspec

from a3s_power.core.errors import LoadFailed, OutOfMemory
from a3s_power.core.limits import MIB
from a3s_power.core.model import Facts
from a3s_power.core.sizes import human_bytes
from a3s_power.engines import tuning
from a3s_power.engines.engine import Draft, LoadOptions

_MOST_SLOTS: Final = 256
_MOST_GPUS: Final = 128
_MOST_TOKENS: Final = 2**31 - 1
_CONTEXT_STEP: Final = 256
MOST_GUESSED: Final = 64
"""Tokens guessed ahead at a time: so many are a batch of their own, and hardly ever all right."""

# A cancelled prompt holds its slot for a whole batch; smaller ones than this read prompts more slowly.
_CPU_BATCH: Final = 128
_GPU_BATCH: Final = 2048
_LARGEST_MICRO_BATCH: Final = 512
"""Images are looked at as a whole: where the micro-batch is so large, it may have to be."""
_LEAST_NARROW: Final = 64

# Without flash attention generation is faster on a CPU, and the scores of a micro-batch need this much at most.
_SCORES_BYTES: Final = 128 * MIB

_GIVES_BACK: Final = sys.platform == "linux"
"""Whether mapped pages can be given back: elsewhere nobody tells where a file lies."""

# On x86 these gain from a second, rearranged copy of the weights; all others only pay for it.
_REPACKED: Final = frozenset({"Q4_0", "IQ4_NL"})

CACHE_TYPES: Final = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
}
"""Types of the key-value cache: bytes for each of its elements."""
_UNQUANTISED: Final = frozenset({"f32", "f16", "bf16"})

LoadMode = Literal["NONE", "MMAP", "MLOCK", "MMAP_MLOCK"]
FlashAttention = Literal["AUTO", "DISABLED", "ENABLED"]


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine runs on: all its memory, GPUs included, and what is free on all GPUs; 0 without or unknown."""

    x86: bool
    memory_bytes: int = 0
    gpu_free_bytes: int = 0

    @property
    def gpu(self) -> bool:
        return self.gpu_free_bytes > 0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """llama.cpp's parameters, by meaning. `context` is in tokens for each slot.

    `gives_back` is whether the file's pages leave memory again where a rearranged copy of them was made.
    """

    context: int
    parallel: int
    batch: int
    micro_batch: int
    threads: int
    threads_batch: int
    gpu_layers: int
    main_gpu: int | None
    tensor_split: tuple[float, ...]
    load_mode: LoadMode
    gives_back: bool
    repack: bool
    flash_attention: FlashAttention
    cache_type: str
    prompt_cache_mib: int
    shift: bool
    embedding: bool
    last_token_pooling: bool
    ranks: bool
    fit: bool
    warm_up: bool
    draft: Draft = ""
    draft_tokens: int = 0
    gpu_reserve: int | None = None


def refuse_too_large(memory: int, machine: Machine) -> None:
    """Raise OutOfMemory for what no eviction makes room for: llama.cpp would take minutes to fail, or be killed."""
    if 0 < machine.memory_bytes < memory:
        wanted, there = human_bytes(memory), human_bytes(machine.memory_bytes)
        raise OutOfMemory(f"model requires more memory ({wanted}) than this machine has ({there})")


def settings(options: LoadOptions, facts: Facts, machine: Machine) -> Settings:
    """The parameters of a load.

    Raises:
        LoadFailed: a value that llama.cpp would abort or hang on.
    """
    _check(options)
    embedding = options.embedding or not facts.causal
    on_gpu = machine.gpu and options.gpu_layers != 0
    context = min(options.context_length, facts.context_length or options.context_length)
    batch = _batch(options, context, embedding=embedding, on_gpu=on_gpu)
    draft: Draft = "" if embedding else options.draft
    # The engine dies of a batch that is too small for the next token of all slots, and their guesses.
    batch = max(batch, options.parallel * (1 + (options.draft_tokens if draft else 0)))
    micro_batch = batch if embedding else min(batch, _LARGEST_MICRO_BATCH)
    slow = machine.x86 and not on_gpu
    narrow = _narrow(facts, context, micro_batch) if slow and not embedding else micro_batch
    tuned = _tuned(options, facts, context * narrow) if slow and not embedding else None
    repack, flash_attention = tuned or _untuned(options, facts, context * narrow, slow=slow)
    if flash_attention == "DISABLED" and options.flash_attention is None:
        micro_batch = narrow
    load_mode, gives_back = _load_mode(options, copied=repack and slow)
    return Settings(
        context=context,
        parallel=options.parallel,
        batch=batch,
        micro_batch=micro_batch,
        threads=options.threads,
        threads_batch=options.threads_batch,
        gpu_layers=options.gpu_layers,
        main_gpu=options.main_gpu,
        tensor_split=options.tensor_split,
        load_mode=load_mode,
        gives_back=gives_back,
        repack=repack,
        flash_attention=flash_attention,
        cache_type=options.kv_cache_type,
        prompt_cache_mib=options.prompt_cache_mib,
        shift=options.shift and not embedding,
        embedding=embedding,
        last_token_pooling=embedding and facts.causal and facts.pooling is None,
        ranks=embedding and facts.ranks,
        fit=on_gpu and options.gpu_layers < 0,
        warm_up=on_gpu,
        draft=draft,
        draft_tokens=options.draft_tokens if draft else 0,
        gpu_reserve=options.gpu_reserve,
    )


def _check(options: LoadOptions) -> None:
    wrong = {
        "context length": not 1 <= options.context_length <= _MOST_TOKENS // max(options.parallel, 1),
        "number of slots": not 1 <= options.parallel <= _MOST_SLOTS,
        "batch": options.batch is not None and not 1 <= options.batch <= _MOST_TOKENS,
        "number of threads": options.threads < 1 or options.threads_batch < 1,
        "number of layers on GPUs": options.gpu_layers < -1,
        "main GPU": options.main_gpu is not None and options.main_gpu < 0,
        "split over GPUs": len(options.tensor_split) > _MOST_GPUS
        or any(not part >= 0 for part in options.tensor_split),
        "prompt cache": options.prompt_cache_mib < 0,
        "number of guessed tokens": bool(options.draft) and not 1 <= options.draft_tokens <= MOST_GUESSED,
        "type of the key-value cache": options.kv_cache_type not in CACHE_TYPES,
    }
    refused = [name for name, is_wrong in wrong.items() if is_wrong]
    if refused:
        raise LoadFailed(f"llama.cpp cannot be started with this {' and this '.join(refused)}")
    if options.flash_attention is False and options.kv_cache_type not in _UNQUANTISED:
        raise LoadFailed("quantized V cache requires flash_attn to be enabled")


def _batch(options: LoadOptions, context: int, *, embedding: bool, on_gpu: bool) -> int:
    if embedding:
        # A text must fit into one micro-batch.
        return stepped(context)
    return options.batch or (_GPU_BATCH if on_gpu else _CPU_BATCH)


def _load_mode(options: LoadOptions, *, copied: bool) -> tuple[LoadMode, bool]:
    """How the file is read, and whether its pages are given back: with a copy they are in memory a second time."""
    gives_back = copied and _GIVES_BACK and not options.use_mlock and not options.program
    mapped = gives_back or not copied if options.use_mmap is None else options.use_mmap
    if options.use_mlock:
        return "MMAP_MLOCK" if mapped else "MLOCK", False
    return "MMAP" if mapped else "NONE", mapped and gives_back


def _tuned(options: LoadOptions, facts: Facts, scores: int) -> tuple[bool, FlashAttention] | None:
    """Whether to rearrange the weights, and flash attention, by what was measured here; `None` where nothing was."""
    needed = True if not _can_do_without(options, facts, scores) else None
    said = options.flash_attention if options.flash_attention is not None else needed
    best = tuning.best(options.tuning, repack=options.repack, flash_attention=said, prefer=options.prefer)
    if best is None:
        return None
    # What was measured of one architecture may not exist for another: only a word of somebody's makes it an error.
    on: FlashAttention = "ENABLED" if options.flash_attention else "AUTO"
    return best.repack, on if best.flash_attention else "DISABLED"


def _untuned(options: LoadOptions, facts: Facts, scores: int, *, slow: bool) -> tuple[bool, FlashAttention]:
    """The same by what was seen on most machines."""
    by_type = facts.file_type in _REPACKED or not slow
    repack = by_type if options.repack is None else options.repack
    if options.flash_attention is not None:
        return repack, "ENABLED" if options.flash_attention else "DISABLED"
    return repack, "DISABLED" if slow and _can_do_without(options, facts, scores) else "AUTO"


def _narrow(facts: Facts, context: int, micro_batch: int) -> int:
    """The micro-batch whose scores there is room for, where that is not so small that it would be slow."""
    room = _SCORES_BYTES // (4 * max(1, facts.heads * context)) // 32 * 32
    return room if _LEAST_NARROW <= room < micro_batch < _LARGEST_MICRO_BATCH else micro_batch


def _can_do_without(options: LoadOptions, facts: Facts, scores: int) -> bool:
    """Whether there is room for the scores that flash attention does not keep, and the cache is read without it."""
    return 4 * scores * facts.heads <= _SCORES_BYTES and options.kv_cache_type in _UNQUANTISED


def stepped(context: int) -> int:
    """The context of a slot as the engine rounds it."""
    return -(-context // _CONTEXT_STEP) * _CONTEXT_STEP
