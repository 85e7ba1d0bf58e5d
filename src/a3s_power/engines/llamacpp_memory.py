"""What llama.cpp takes in memory, by formula: weights, key-value cache, buffers, vocabulary, and the process; pure.

Fitted to what its own dry run says and to what children were seen to take, which `bench/memory.py` compares again:
exact to a few per cent for architectures of the kinds it knows (`is_known`), else a first guess and rather too high.
"""

from typing import Final

from a3s_power.core.limits import MIB
from a3s_power.core.model import Facts
from a3s_power.engines.llamacpp_params import CACHE_TYPES, Machine, Settings, stepped

_PROCESS_BYTES: Final = 41 * MIB
"""A child that has loaded next to nothing: Python, our code, and the pages of the library that are used."""
_ANSWERING_BYTES: Final = 3 * MIB
"""And what its first answer adds, whatever the model is."""
_SLOT_BYTES: Final = MIB // 4
_TOKEN_BYTES: Final = 220
_MERGE_BYTES: Final = 230
"""A token of the vocabulary, and a merge of one that has them, in the engine's tables."""
_FREED_BYTES: Final = 25
"""What reading a merge takes and gives back to the process, whose answers then take it first."""
_TEMPLATE_BYTES: Final = 700
_LONGEST_TEMPLATE: Final = 8 * MIB
"""A letter of the chat template, compiled by the engine and by us."""
_SAMPLED_BYTES: Final = 16
"""For each token of the vocabulary a slot holds a score, and a candidate of three numbers."""
_PROMPT_BYTES: Final = 350
"""A token of context as the prompt it came in, beside its place in the cache."""
_PICTURES_BYTES: Final = 5 * MIB
"""What reads images takes so much, and an image on its way through the projector as much as the projector's weights."""
MOST_CHECKPOINTS: Final = 32
"""Copies of what its windows show that llama.cpp keeps for a slot when nobody says how many."""

_KNOWN: Final = frozenset(
    {
        *("bert", "command-r", "gemma", "gemma2", "gemma3", "glm4", "granite", "internlm2", "llama", "mistral3"),
        *("nomic-bert", "olmo2", "phi3", "qwen2", "qwen3", "smollm3", "stablelm", "starcoder2"),
    }
)
_WINDOWED: Final = {"gemma2": 2, "gemma3": 6}
"""Every so manieth layer sees the whole context, the others as far as their window."""


def is_known(facts: Facts) -> bool:
    """Whether the formula was fitted to models of this kind."""
    return facts.architecture in _KNOWN


def memory_bytes(facts: Facts, chosen: Settings, projector_bytes: int = 0, adapter_bytes: int = 0) -> int:
    """What the child will take when every slot has been full once. The prompt cache is not in it."""
    untouched = untouched_bytes(facts, chosen, projector_bytes=projector_bytes)
    return loaded_bytes(facts, chosen) + projector_bytes + adapter_bytes + untouched


def loaded_bytes(facts: Facts, chosen: Settings) -> int:
    """What it takes when it has loaded the weights and answered nothing."""
    twice = chosen.repack and chosen.load_mode.startswith("MMAP") and not chosen.gives_back
    copied = facts.rearranged_bytes if twice else 0
    tables = _TOKEN_BYTES * facts.vocabulary + _MERGE_BYTES * facts.merges
    template = min(_TEMPLATE_BYTES * len(facts.chat_template), _LONGEST_TEMPLATE)
    return facts.weights_bytes + copied + cache_bytes(facts, chosen) + tables + template + _PROCESS_BYTES


def shared_bytes(facts: Facts, chosen: Settings) -> int:
    """What of that all children share that map the file."""
    if not chosen.load_mode.startswith("MMAP"):
        return 0
    return facts.weights_bytes - (facts.rearranged_bytes if chosen.gives_back else 0)


def untouched_bytes(facts: Facts, chosen: Settings, *, projector_bytes: int = 0, graph: int | None = None) -> int:
    """What only its answers add; `graph` is the engine's own word on its buffers, where it was asked."""
    buffers = compute_bytes(facts, chosen) if graph is None else graph
    slots = (_SLOT_BYTES + checkpoint_bytes(facts, chosen)) * chosen.parallel
    answers = 0 if chosen.embedding else _ANSWERING_BYTES + slots
    prompts = _PROMPT_BYTES * chosen.context * chosen.parallel
    pictures = projector_bytes + _PICTURES_BYTES if projector_bytes else 0
    small = max(0, _scores_bytes(facts, chosen) + prompts + answers - _FREED_BYTES * facts.merges)
    return buffers + _converted_bytes(facts, chosen) + small + pictures


def cache_bytes(facts: Facts, chosen: Settings) -> int:
    """The key-value cache of all slots. Layers with a window hold that, and a micro-batch."""
    whole = facts.causal * _head_bytes(facts, chosen) * _heads(facts)[0] * stepped(chosen.context)
    return chosen.parallel * (int(whole) + checkpoint_bytes(facts, chosen))


def checkpoint_bytes(facts: Facts, chosen: Settings) -> int:
    """What a slot's layers with a window hold; the engine keeps copies, since what has left a window is lost."""
    cells = min(stepped(chosen.context), stepped(facts.sliding_window + chosen.micro_batch))
    return int(facts.causal * _head_bytes(facts, chosen) * _heads(facts)[1] * cells)


def checkpoints(facts: Facts, chosen: Settings) -> int:
    """How many of those copies a slot may keep, within the prompt cache's bytes; one is worth it in any case."""
    each = checkpoint_bytes(facts, chosen) * chosen.parallel
    return max(1, min(MOST_CHECKPOINTS, chosen.prompt_cache_mib * MIB // each)) if each else MOST_CHECKPOINTS


def _heads(facts: Facts) -> tuple[int, int]:
    """Key-value heads of all layers that see everything, and of those that see a window."""
    period = _WINDOWED.get(facts.architecture, 0) if facts.sliding_window else 0
    if not period:
        return sum(facts.kv_heads), 0
    windowed = sum(count for layer, count in enumerate(facts.kv_heads) if layer % period < period - 1)
    return sum(facts.kv_heads) - windowed, windowed


def _head_bytes(facts: Facts, chosen: Settings) -> float:
    return (facts.head_k + facts.head_v) * CACHE_TYPES[chosen.cache_type]


def cache_bytes_a_token(facts: Facts, cache_type: str) -> float:
    """What a token of context takes in the key-value cache of one slot; 0 where the weights do not say their shape."""
    return sum(facts.kv_heads) * (facts.head_k + facts.head_v) * CACHE_TYPES[cache_type]


def compute_bytes(facts: Facts, chosen: Settings) -> int:
    """The graph's buffers: the widest place of a layer, for each token of a micro-batch."""
    # A text to embed goes no further than was asked for, though the engine rounds up.
    context, width = chosen.context if chosen.embedding else stepped(chosen.context), facts.embedding_length
    queries, keys = facts.heads * facts.head_k, max(facts.kv_heads, default=0) * facts.head_k
    feed = 3 * facts.feed_forward + 5 * width if facts.causal else 2 * facts.feed_forward + width
    if chosen.flash_attention == "DISABLED":
        attention = facts.heads * context + 3 * width + 3 * queries + (2 * keys if facts.causal else keys)
        mask = context
    else:
        attention, mask = 3 * width + 3 * queries + keys, context // 2
    outputs = facts.vocabulary + 5 * width if chosen.embedding and facts.causal else 0
    tokens = min(chosen.micro_batch, context * chosen.parallel)
    return 4 * tokens * (max(feed, attention, outputs) + mask)


def gpu_bytes(memory: int, facts: Facts, chosen: Settings, machine: Machine) -> int:
    """About how much of `memory` is on GPUs: by the share of layers, and never more than was free."""
    if not machine.gpu:
        return 0
    layers = facts.block_count + 1
    share = 1.0 if chosen.gpu_layers < 0 else min(chosen.gpu_layers / layers, 1.0)
    return min(int(memory * share), machine.gpu_free_bytes)


def _scores_bytes(facts: Facts, chosen: Settings) -> int:
    """Scores of all tokens of the vocabulary: of every token of a text to embed, else one set for each slot."""
    if chosen.embedding:
        return 4 * facts.vocabulary * min(chosen.micro_batch, chosen.context)
    return _SAMPLED_BYTES * facts.vocabulary * chosen.parallel


def _converted_bytes(facts: Facts, chosen: Settings) -> int:
    """The right side of a product in 16 bits: of the attention's weights without flash attention, which are many."""
    columns = facts.feed_forward
    if facts.causal and chosen.flash_attention == "DISABLED":
        columns = max(columns, facts.heads * stepped(chosen.context))
    return 2 * chosen.micro_batch * columns
