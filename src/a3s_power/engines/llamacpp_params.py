"""How llama.cpp is set up for a load, and the memory it will take: pure, and every value that it dies of refused here.

The choices were measured for the engine's CPU build; what changes them are the weights' type and the kind of machine.
"""

from typing import Final, Literal

import msgspec

from a3s_power.core.errors import LoadFailed, OutOfMemory
from a3s_power.core.limits import MIB
from a3s_power.core.model import Facts
from a3s_power.core.sizes import human_bytes
from a3s_power.engines.engine import LoadOptions

_MOST_SLOTS: Final = 256
_MOST_GPUS: Final = 128
_MOST_TOKENS: Final = 2**31 - 1
_CONTEXT_STEP: Final = 256

# A cancelled prompt holds its slot for a whole batch; smaller ones than this read prompts more slowly.
_CPU_BATCH: Final = 128
_GPU_BATCH: Final = 2048
_LARGEST_MICRO_BATCH: Final = 512

# Without flash attention generation is faster on a CPU, and the scores of a micro-batch need this much at most.
_SCORES_BYTES: Final = 128 * MIB
_PROCESS_BYTES: Final = 45 * MIB

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
    """llama.cpp's parameters, by meaning. `context` is in tokens for each slot."""

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
    micro_batch = batch if embedding else min(batch, _LARGEST_MICRO_BATCH)
    repack = facts.file_type in _REPACKED or not machine.x86 or on_gpu
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
        load_mode=_load_mode(options, copied=repack and machine.x86 and not on_gpu),
        repack=repack,
        flash_attention=_flash_attention(options, facts, context * micro_batch, slow=machine.x86 and not on_gpu),
        cache_type=options.kv_cache_type,
        prompt_cache_mib=options.prompt_cache_mib,
        shift=options.shift and not embedding,
        embedding=embedding,
        last_token_pooling=embedding and facts.causal and facts.pooling is None,
        ranks=embedding and facts.ranks,
        fit=on_gpu and options.gpu_layers < 0,
        warm_up=on_gpu,
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
        return _stepped(context)
    return options.batch or (_GPU_BATCH if on_gpu else _CPU_BATCH)


def _load_mode(options: LoadOptions, *, copied: bool) -> LoadMode:
    # With a copy, mapped pages of the file would be in memory a second time.
    mapped = not copied if options.use_mmap is None else options.use_mmap
    if options.use_mlock:
        return "MMAP_MLOCK" if mapped else "MLOCK"
    return "MMAP" if mapped else "NONE"


def _flash_attention(options: LoadOptions, facts: Facts, scores: int, *, slow: bool) -> FlashAttention:
    if options.flash_attention is not None:
        return "ENABLED" if options.flash_attention else "DISABLED"
    affordable = 4 * scores * facts.heads <= _SCORES_BYTES
    return "DISABLED" if slow and affordable and options.kv_cache_type in _UNQUANTISED else "AUTO"


def memory_bytes(facts: Facts, chosen: Settings, projector_bytes: int = 0) -> int:
    """About what the child will take, in bytes; exact to a few percent for models of llama's kind, else too high.

    A projector takes about as much for an image on its way through it as for its weights, of `projector_bytes`.
    """
    cache = _stepped(chosen.context) * chosen.parallel * cache_bytes_a_token(facts, chosen.cache_type)
    output = 4 * facts.vocabulary * chosen.parallel
    twice = chosen.repack and chosen.load_mode.startswith("MMAP") and facts.file_type in _REPACKED
    weights = facts.weights_bytes * (2 if twice else 1)
    compute = compute_bytes(facts, chosen)
    return int(weights + cache + compute + output) + 2 * projector_bytes + _PROCESS_BYTES


def compute_bytes(facts: Facts, chosen: Settings) -> int:
    """The part of that which is not touched before the first request."""
    context = _stepped(chosen.context)
    width = 2 * facts.feed_forward + 8 * facts.embedding_length
    compute = 4 * chosen.micro_batch * width + 2 * chosen.micro_batch * context
    if chosen.flash_attention == "DISABLED":
        compute += 4 * chosen.micro_batch * facts.heads * context
    return compute


def cache_bytes_a_token(facts: Facts, cache_type: str) -> float:
    """What a token of context takes in the key-value cache of one slot; 0 where the weights do not say their shape."""
    return sum(facts.kv_heads) * (facts.head_k + facts.head_v) * CACHE_TYPES[cache_type]


def gpu_bytes(memory: int, facts: Facts, chosen: Settings, machine: Machine) -> int:
    """About how much of `memory` is on GPUs: by the share of layers, and never more than was free."""
    if not machine.gpu:
        return 0
    layers = facts.block_count + 1
    share = 1.0 if chosen.gpu_layers < 0 else min(chosen.gpu_layers / layers, 1.0)
    return min(int(memory * share), machine.gpu_free_bytes)


def _stepped(context: int) -> int:
    return -(-context // _CONTEXT_STEP) * _CONTEXT_STEP
