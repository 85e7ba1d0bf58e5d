"""How a model is loaded on this machine: context, batch, slots, threads, and the bytes that takes; pure.

The figures behind the rules were measured with llama.cpp on CPUs; each constant says what it is for.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

import msgspec

from a3s_power.core.errors import OutOfMemory
from a3s_power.core.limits import MIB
from a3s_power.core.manifest import ADAPTER, PROJECTOR
from a3s_power.core.sizes import human_bytes
from a3s_power.engines import llamacpp_draft, llamacpp_memory, llamacpp_params
from a3s_power.engines.engine import LoadOptions
from a3s_power.hardware.machine import Machine
from a3s_power.scheduler.caches import prompt_cache_mib
from a3s_power.scheduler.footprints import Seen
from a3s_power.scheduler.need import Claim, Need
from a3s_power.scheduler.settings import Settings

CONTEXT: Final = 4096
"""The least automatic context, where the model and the memory allow it: Ollama's on machines without a large GPU."""
LEAST_CONTEXT: Final = 4
LEAST_VISION_CONTEXT: Final = 2048
_TRIAL_BATCH: Final = 2
"""What the engine tries a model with when it is loaded; with a smaller batch it dies of that."""
LEAST_VISION_BATCH: Final = 512
"""Some models look at all tokens of an image at once, and the engine dies of one that is larger than a batch."""
_SMALL_CACHE: Final = "q8_0"
"""What the key-value cache becomes where memory is short: half the bytes, for a tenth of the speed."""
LEAST_LOWERED_CONTEXT: Final = 2048
"""Where memory is short, a context is lowered to here and no further: a conversation has to fit."""
_CONTEXT_STEP: Final = 256

FIRST_BATCH: Final = 128
"""Tokens a batch while the model's prompt speed is unknown: hardly slower than more, and soon cancelled."""
_LEAST_BATCH: Final = 32
_MOST_BATCH: Final = 2048
_BATCH_SECONDS: Final = 0.25
"""How long a batch may take, because a cancelled prompt keeps its slot for that long."""
_FAIR_BATCHES: Final = (256, 128, 64)
_FAIR_SECONDS: Final = 0.9
"""But such a batch may take so long: with 32 tokens prompts are read at 0.91 of the speed of 128, with 64 at 0.97; by
an engine built for a wider processor with 64 at 0.75 of that of 256, with 128 at 0.93."""

SMALL_MODEL: Final = 100_000_000
"""Below so many parameters a second thread costs more at the barriers than it computes, when generating."""
TINY_MODEL: Final = 10_000_000
"""And below so many when reading prompts: with two threads instead of one, 3 million ran at a third of the speed and
15 million at twice."""
_SPARE_CORE_FROM: Final = 4
"""From so many cores on, one is left to the server itself."""
_CHILDREN_AT_FULL: Final = 2
"""So many children may each use all cores; more of them share, or their threads wait for one another."""

_BINDABLE: Final = "llamacpp"
"""The engine whose own threads alone are bound, and let go again while others compute (`engines/barriers.py`)."""
_BOUND: Final = {"OMP_PROC_BIND": "true", "GOMP_SPINCOUNT": "10000"}
"""With 2,000, 10,000, 50,000 and 300,000 spins at a barrier 1.1B in Q4_0 gave 35, 39, 38 and 41 tokens/s, and a
gigabyte loaded beside an answer took 2.8, 3.8, 5.3 (with 30,000) and 10.8 seconds."""

_MOST_THREADS_A_CORE: Final = 2
"""Whatever is asked for: some hundred threads that spin at barriers take the machine from everybody on it."""

SPARE_BYTES: Final = 256 * MIB
"""Memory that models never get: the server and the system live there."""

EMBEDDING_SLOTS: Final = 4
"""Of a model that makes vectors and has no cache: texts of all slots share a batch. Measured: a sixth more short texts
a second than with one slot; eight are no faster."""
MOST_SLOTS: Final = 8
"""Up to so many requests at once a CPU generates more in all; whoever wants more says how many."""

_ONE_SLOT: Final = frozenset({"mllama", "qwen3next"})
_ONE_SLOT_FAMILIES: Final = ("qwen3vl", "qwen35", "lfm2", "nemotron_h")
"""With those above: the architectures that Ollama gives one slot, whatever the setting says."""


def _unseen(_options: LoadOptions, _chosen: llamacpp_params.Settings) -> int:
    return 0


def claim(
    need: Need, settings: Settings, machine: Machine, prompt_rate: float | None = None, seen: Seen = _unseen
) -> Claim:
    """What a need comes to where prompts of the model are read at so many tokens a second, `None` for unknown.

    A context that memory cannot hold is lowered, and `asked_context` tells: of an automatic one, up to `CONTEXT`.

    Raises:
        OutOfMemory: the model does not fit even so. The message holds both numbers.
        LoadFailed: an option that the engine dies of.
    """
    said, limit = _said_context(need, settings), most_bytes(usable_bytes(machine), machine)
    if settings.num_parallel < 0:
        settings = msgspec.structs.replace(settings, num_parallel=_slots(need, settings, machine, said or CONTEXT))
    most = _context(need, said or _automatic_context(need, settings, machine))
    asked = most if said else min(most, CONTEXT)

    def claimed(context: int) -> Claim:
        options = _options(need, settings, context, prompt_rate)
        return weighed(need, options, asked, machine, seen)

    whole = claimed(most)
    if not limit or whole.memory_bytes <= limit:
        return whole
    least = claimed(min(most, LEAST_LOWERED_CONTEXT))
    if least.memory_bytes > limit:
        raise _too_large(least, limit)
    steps = range(LEAST_LOWERED_CONTEXT, most, _CONTEXT_STEP)
    return claimed(steps[bisect_right(steps, limit, key=lambda context: claimed(context).memory_bytes) - 1])


def most_bytes(there: int, machine: Machine) -> int:
    """What one model may take where so many bytes are there for it; 0 where nobody can tell."""
    return min(there or machine.process_bytes, machine.process_bytes or there)


def usable_bytes(machine: Machine) -> int:
    """What all models together may take; 0 where nobody can tell."""
    return max(1, machine.memory_bytes - SPARE_BYTES) if machine.memory_bytes else 0


def room(machine: Machine, held: int) -> int:
    """What all models together may take now, where the loaded ones hold so many bytes; 0 where nobody can tell."""
    usable = usable_bytes(machine)
    return max(1, min(usable, machine.free_bytes + held - SPARE_BYTES)) if machine.free_bytes else usable


def fitted(need: Need, claim: Claim, machine: Machine, seen: Seen = _unseen) -> Claim:
    """The claim as the memory that is free now can hold it: fewer slots, a smaller type of cache, less context.

    In this order, and of each no more than is needed. Layers on GPUs free no main memory.

    Raises:
        OutOfMemory: it is too large even so. The message holds both numbers.
    """
    smaller, there = claim, most_bytes(machine.free_bytes, machine)
    if not there or claim.memory_bytes <= there:
        return claim
    for options in shrunk(claim.options):
        smaller = weighed(need, options, claim.asked_context, machine, seen)
        if smaller.memory_bytes <= there:
            return smaller
    raise _too_large(smaller, there)


def shrunk(options: LoadOptions) -> Iterator[LoadOptions]:
    """The options with less and less of what takes memory; nothing is guessed ahead then."""
    if options.draft:
        options = msgspec.structs.replace(options, draft="", draft_tokens=0)
        yield options
    while options.parallel > 1:
        options = msgspec.structs.replace(options, parallel=options.parallel // 2)
        yield options
    quantised = llamacpp_params.CACHE_TYPES[options.kv_cache_type] <= llamacpp_params.CACHE_TYPES[_SMALL_CACHE]
    if not quantised and options.flash_attention is not False:
        options = msgspec.structs.replace(options, kv_cache_type=_SMALL_CACHE)
        yield options
    while options.context_length > LEAST_LOWERED_CONTEXT:
        shorter = max(LEAST_LOWERED_CONTEXT, options.context_length * 7 // 8 // _CONTEXT_STEP * _CONTEXT_STEP)
        batch = shorter if options.embedding else options.batch
        options = msgspec.structs.replace(options, context_length=shorter, batch=batch)
        yield options


def _too_large(claim: Claim, there: int) -> OutOfMemory:
    wanted, available = human_bytes(claim.memory_bytes), human_bytes(there)
    return OutOfMemory(f"model requires more system memory ({wanted}) than is available ({available})")


def plan(need: Need, claim: Claim, machine: Machine, settings: Settings, children: int) -> LoadOptions:
    """How to load it now, as one of `children` that share the machine."""
    said, most = need.options, machine.cores * _MOST_THREADS_A_CORE
    threads = said.num_thread or settings.num_thread
    cache = prompt_cache_mib(settings.prompt_cache, machine.free_bytes, claim.memory_bytes)
    return msgspec.structs.replace(
        claim.options,
        threads=max(1, min(most, threads or _threads(need, machine, children))),
        threads_batch=max(1, min(most, said.num_thread_batch or threads or _prompt_threads(need, machine))),
        prompt_cache_mib=0 if need.embedding else cache,
    )


def binding(engine: str, threads: int, machine: Machine) -> dict[str, str]:
    """The variables by which OpenMP keeps each thread to a processor of its own, where an engine takes all of them.

    `threads` are those that it has at least, for prompts and for answers.
    Beside one busy processor an engine on two was measured 1.33 times as fast so: its threads do not come to lie on the
    same one. An engine that leaves some free is not bound: its threads go to those by themselves. Bound threads wait
    longer for one another before they sleep, since waking one takes longer than what it waits for.
    """
    takes_all = engine == _BINDABLE and not machine.gpus and threads == machine.processors > 1
    return dict(_BOUND) if takes_all else {}


def overruled(need: Need, claim: Claim, options: LoadOptions) -> dict[str, str]:
    """The options that were asked for and not given as asked, for the log."""
    said = need.options
    pairs = {
        "num_parallel": (claim.options.parallel, options.parallel),
        "kv_cache_type": (claim.options.kv_cache_type, options.kv_cache_type),
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
        program=settings.program,
        arguments=settings.arguments,
        draft=need.drafting.kind,
        draft_tokens=need.drafting.tokens,
        tuning=need.tuning,
        prefer=settings.prefer,
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
    each = llamacpp_memory.cache_bytes_a_token(need.model.facts, settings.kv_cache_type) * _parallel(need, settings)
    if need.embedding or not each or not need.model.facts.context_length:
        return CONTEXT
    affordable = int(machine.free_bytes * settings.context_share / each)
    return max(CONTEXT, affordable // _CONTEXT_STEP * _CONTEXT_STEP)


def _context(need: Need, asked: int) -> int:
    """Tokens a slot: what an image needs at least, and never more than the model was trained on."""
    trained = need.model.facts.context_length
    context = max(asked, LEAST_VISION_CONTEXT) if need.model.files.projectors else max(asked, LEAST_CONTEXT)
    return min(context, trained) if trained else context


def _slots(need: Need, settings: Settings, machine: Machine, context: int) -> int:
    """As many slots of that context as the cache's share of the free memory has room for."""
    each = llamacpp_memory.cache_bytes_a_token(need.model.facts, settings.kv_cache_type) * _context(need, context)
    affordable = int(machine.free_bytes * settings.context_share / each) if each else MOST_SLOTS
    return max(1, min(MOST_SLOTS, affordable))


def _parallel(need: Need, settings: Settings) -> int:
    architecture = need.model.facts.architecture
    if need.embedding:
        return 1 if need.model.facts.causal or need.model.facts.ranks else EMBEDDING_SLOTS
    single = architecture in _ONE_SLOT or architecture.startswith(_ONE_SLOT_FAMILIES)
    return 1 if single else max(1, settings.num_parallel)


def _batch(need: Need, context: int, prompt_rate: float | None) -> int:
    """Tokens a batch. A text to embed must fit into one, whatever is asked for."""
    if need.embedding:
        return context
    least = LEAST_VISION_BATCH if need.model.files.projectors else _TRIAL_BATCH
    said = need.options.num_batch or 0
    if said > 0:
        return max(least, said)
    if prompt_rate is None:
        return max(least, FIRST_BATCH)
    steps = round(_BATCH_SECONDS * prompt_rate / _LEAST_BATCH)
    fair = next((batch for batch in _FAIR_BATCHES if batch <= _FAIR_SECONDS * prompt_rate), _LEAST_BATCH)
    return max(least, fair, min(_MOST_BATCH, steps * _LEAST_BATCH))


def _threads(need: Need, machine: Machine, children: int) -> int:
    if 0 < need.model.facts.parameters < SMALL_MODEL:
        return 1
    cores = machine.cores - 1 if machine.cores >= _SPARE_CORE_FROM else machine.cores
    return cores if children <= _CHILDREN_AT_FULL else cores // children


def _prompt_threads(need: Need, machine: Machine) -> int:
    return 1 if 0 < need.model.facts.parameters < TINY_MODEL else machine.cores


def beside_bytes(need: Need) -> tuple[int, int]:
    """The sizes of projectors and of adapters that are loaded beside the weights."""
    manifest = need.model.manifest
    projectors = () if need.embedding else manifest.of_type(PROJECTOR)
    return sum(layer.size for layer in projectors), sum(layer.size for layer in manifest.of_type(ADAPTER))


def chosen_settings(need: Need, options: LoadOptions, machine: Machine) -> llamacpp_params.Settings:
    """What the engine makes of the options on a processor. Raises LoadFailed for what it would die of."""
    return llamacpp_params.settings(options, need.model.facts, llamacpp_params.Machine(x86=machine.x86))


def weighed(need: Need, options: LoadOptions, asked_context: int, machine: Machine, seen: Seen) -> Claim:
    """The options with the main memory of the child: as it was seen, else by the formula of the engine.

    The prompt cache is left out of both: it is a share of what is free at the moment of the load, and fills slowly.
    What the formula lets in is not refused for what it was seen to take, since it did run.
    """
    facts, chosen = need.model.facts, chosen_settings(need, options, machine)
    memory = llamacpp_memory.memory_bytes(facts, chosen, *beside_bytes(need))
    memory += llamacpp_draft.memory_bytes(need.drafting.facts, chosen, facts.vocabulary)
    if taken := seen(options, chosen):
        memory = min(taken, max(memory, usable_bytes(machine))) if machine.memory_bytes else taken
    shared = min(llamacpp_memory.shared_bytes(facts, chosen), memory)
    return Claim(options=options, asked_context=asked_context, memory_bytes=memory, shared_bytes=shared)
