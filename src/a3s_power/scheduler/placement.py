"""How a model is loaded on this machine: context, batch, slots, threads, and the bytes that takes; pure.

The figures behind the rules were measured with llama.cpp on CPUs; each constant says what it is for.
"""

from bisect import bisect_right
from typing import Final

import msgspec

from a3s_power.core.errors import OutOfMemory
from a3s_power.core.limits import MIB
from a3s_power.core.manifest import PROJECTOR
from a3s_power.core.sizes import human_bytes
from a3s_power.engines import llamacpp_params
from a3s_power.engines.engine import LoadOptions
from a3s_power.hardware.machine import Machine
from a3s_power.scheduler.need import Claim, Need
from a3s_power.scheduler.settings import Settings

CONTEXT: Final = 4096
"""The least automatic context, where the model and the memory allow it: Ollama's on machines without a large GPU."""
LEAST_CONTEXT: Final = 4
LEAST_VISION_CONTEXT: Final = 2048
LEAST_VISION_BATCH: Final = 512
"""Some models look at all tokens of an image at once, and the engine dies of one that is larger than a batch."""
LEAST_LOWERED_CONTEXT: Final = 2048
"""Where memory is short, a context is lowered to here and no further: a conversation has to fit."""
_CONTEXT_STEP: Final = 256

FIRST_BATCH: Final = 128
"""Tokens a batch while the model's prompt speed is unknown: hardly slower than more, and soon cancelled."""
_LEAST_BATCH: Final = 32
_MOST_BATCH: Final = 2048
_BATCH_SECONDS: Final = 0.25
"""How long a batch may take, because a cancelled prompt keeps its slot for that long."""

SMALL_MODEL: Final = 100_000_000
"""Below so many parameters a second thread costs more at the barriers than it computes, when generating."""
TINY_MODEL: Final = 10_000_000
"""And below so many when reading prompts: with two threads instead of one, 3 million ran at a third of the speed and
15 million at twice."""
_SPARE_CORE_FROM: Final = 4
"""From so many cores on, one is left to the server itself."""
_CHILDREN_AT_FULL: Final = 2
"""So many children may each use all cores; more of them share, or their threads wait for one another."""

_MOST_THREADS_A_CORE: Final = 2
"""Whatever is asked for: some hundred threads that spin at barriers take the machine from everybody on it."""

SPARE_BYTES: Final = 256 * MIB
"""Memory that models never get: the server and the system live there."""
_PROMPT_CACHE_MIB: Final = 1024

_ONE_SLOT: Final = frozenset({"mllama", "qwen3next"})
_ONE_SLOT_FAMILIES: Final = ("qwen3vl", "qwen35", "lfm2", "nemotron_h")
"""With those above: the architectures that Ollama gives one slot, whatever the setting says."""


def claim(need: Need, settings: Settings, machine: Machine, prompt_rate: float | None = None) -> Claim:
    """What a need comes to where prompts of the model are read at so many tokens a second, `None` for unknown.

    A context that memory cannot hold is lowered, and `asked_context` tells: of an automatic one, up to `CONTEXT`.

    Raises:
        OutOfMemory: the model does not fit even so. The message holds both numbers.
        LoadFailed: an option that the engine dies of.
    """
    said, limit = _said_context(need, settings), usable_bytes(machine)
    most = _context(need, said or _automatic_context(need, settings, machine))
    asked = most if said else min(most, CONTEXT)

    def claimed(context: int) -> Claim:
        options = _options(need, settings, context, prompt_rate)
        return Claim(options=options, asked_context=asked, memory_bytes=_bytes(need, options, machine))

    whole = claimed(most)
    if not limit or whole.memory_bytes <= limit:
        return whole
    least = claimed(min(most, LEAST_LOWERED_CONTEXT))
    if least.memory_bytes > limit:
        wanted, there = human_bytes(least.memory_bytes), human_bytes(limit)
        raise OutOfMemory(f"model requires more system memory ({wanted}) than is available ({there})")
    steps = range(LEAST_LOWERED_CONTEXT, most, _CONTEXT_STEP)
    return claimed(steps[bisect_right(steps, limit, key=lambda context: claimed(context).memory_bytes) - 1])


def usable_bytes(machine: Machine) -> int:
    """What all models together may take; 0 where nobody can tell."""
    return max(1, machine.memory_bytes - SPARE_BYTES) if machine.memory_bytes else 0


def plan(need: Need, claim: Claim, machine: Machine, settings: Settings, children: int) -> LoadOptions:
    """How to load it now, as one of `children` that share the machine."""
    said, most = need.options, machine.cores * _MOST_THREADS_A_CORE
    threads = said.num_thread or settings.num_thread
    cache = min(_PROMPT_CACHE_MIB, machine.free_bytes // 10 // MIB)
    return msgspec.structs.replace(
        claim.options,
        threads=max(1, min(most, threads or _threads(need, machine, children))),
        threads_batch=max(1, min(most, said.num_thread_batch or threads or _prompt_threads(need, machine))),
        prompt_cache_mib=0 if need.embedding else cache,
    )


def overruled(need: Need, claim: Claim, options: LoadOptions) -> dict[str, str]:
    """The options that were asked for and not given as asked, for the log."""
    said = need.options
    pairs = {
        "num_ctx": (max(claim.asked_context, options.context_length), options.context_length),
        "num_batch": (said.num_batch, options.batch),
        "num_thread": (said.num_thread, options.threads),
        "num_thread_batch": (said.num_thread_batch, options.threads_batch),
    }
    return {name: f"{asked} -> {given}" for name, (asked, given) in pairs.items() if asked and asked != given}


def _options(need: Need, settings: Settings, context: int, prompt_rate: float | None) -> LoadOptions:
    """All that does not depend on the moment of the load."""
    said = need.options
    return LoadOptions(
        context_length=context,
        parallel=_parallel(need, settings),
        batch=_batch(need, context, prompt_rate),
        gpu_layers=settings.gpu_layers if said.num_gpu is None or said.num_gpu < 0 else said.num_gpu,
        main_gpu=settings.main_gpu if said.main_gpu is None else said.main_gpu,
        tensor_split=settings.tensor_split,
        use_mmap=said.use_mmap,
        use_mlock=settings.use_mlock if said.use_mlock is None else said.use_mlock,
        flash_attention=settings.flash_attention if said.flash_attention is None else said.flash_attention,
        kv_cache_type=settings.kv_cache_type,
        shift=need.shift,
        embedding=need.embedding,
    )


def _said_context(need: Need, settings: Settings) -> int:
    """The strongest word on the context: request, Modelfile, the operator on this model, or on all; 0 for none."""
    said = need.options.num_ctx
    if said is not None:
        return max(LEAST_CONTEXT, said)
    return settings.contexts.get(need.model.name, settings.context_length)


def _automatic_context(need: Need, settings: Settings, machine: Machine) -> int:
    """As long as the key-value cache of all slots stays within its share of the free memory.

    A text to embed is one batch, whose memory grows with the square of it, so those stay at the least.
    """
    each = llamacpp_params.cache_bytes_a_token(need.model.facts, settings.kv_cache_type) * _parallel(need, settings)
    if need.embedding or not each or not need.model.facts.context_length:
        return CONTEXT
    affordable = int(machine.free_bytes * settings.context_share / each)
    return max(CONTEXT, affordable // _CONTEXT_STEP * _CONTEXT_STEP)


def _context(need: Need, asked: int) -> int:
    """Tokens a slot: what an image needs at least, and never more than the model was trained on."""
    trained = need.model.facts.context_length
    context = max(asked, LEAST_VISION_CONTEXT) if need.model.files.projectors else max(asked, LEAST_CONTEXT)
    return min(context, trained) if trained else context


def _parallel(need: Need, settings: Settings) -> int:
    architecture = need.model.facts.architecture
    single = need.embedding or architecture in _ONE_SLOT or architecture.startswith(_ONE_SLOT_FAMILIES)
    return 1 if single else max(1, settings.num_parallel)


def _batch(need: Need, context: int, prompt_rate: float | None) -> int:
    """Tokens a batch. A text to embed must fit into one, whatever is asked for."""
    if need.embedding:
        return context
    least = LEAST_VISION_BATCH if need.model.files.projectors else 1
    if need.options.num_batch is not None:
        return max(least, need.options.num_batch)
    if prompt_rate is None:
        return max(least, FIRST_BATCH)
    steps = round(_BATCH_SECONDS * prompt_rate / _LEAST_BATCH)
    return max(least, _LEAST_BATCH, min(_MOST_BATCH, steps * _LEAST_BATCH))


def _threads(need: Need, machine: Machine, children: int) -> int:
    if 0 < need.model.facts.parameters < SMALL_MODEL:
        return 1
    cores = machine.cores - 1 if machine.cores >= _SPARE_CORE_FROM else machine.cores
    return cores if children <= _CHILDREN_AT_FULL else cores // children


def _prompt_threads(need: Need, machine: Machine) -> int:
    return 1 if 0 < need.model.facts.parameters < TINY_MODEL else machine.cores


def _bytes(need: Need, options: LoadOptions, machine: Machine) -> int:
    """Main memory of the child, by the formula of the engine whose needs are known.

    The prompt cache is left out: it is a share of what is free at the moment of the load, and fills slowly.
    """
    facts = need.model.facts
    chosen = llamacpp_params.settings(options, facts, llamacpp_params.Machine(x86=machine.x86))
    projectors = () if need.embedding else need.model.manifest.of_type(PROJECTOR)
    return llamacpp_params.memory_bytes(facts, chosen, sum(layer.size for layer in projectors))
