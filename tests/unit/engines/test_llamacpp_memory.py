"""What llama.cpp takes by formula, beside what its own dry run said and what children were seen to take."""

from typing import Any

import msgspec
import pytest

from a3s_power.core.errors import OutOfMemory
from a3s_power.core.limits import MIB
from a3s_power.core.model import Facts
from a3s_power.engines import llamacpp_memory
from a3s_power.engines.engine import LoadOptions
from a3s_power.engines.llamacpp_params import Machine, Settings, refuse_too_large, settings
from tests.llamas import LLAMA

X86 = Machine(x86=True)
GPU = Machine(x86=True, gpu_free_bytes=8 * 1024 * MIB)

# Random models of bench/random_model.py: 1.1 billion parameters in Q4_K_M, 20 million, and 5 million in Q8_0.
MADE = msgspec.structs.replace(LLAMA, weights_bytes=667_078_656, rearranged_bytes=477_167_616)
SMALL = msgspec.structs.replace(
    MADE,
    embedding_length=512,
    block_count=6,
    feed_forward=1024,
    heads=8,
    kv_heads=(4,) * 6,
    vocabulary=8192,
    weights_bytes=14_127_104,
    rearranged_bytes=7_225_344,
)
TINY = msgspec.structs.replace(
    SMALL,
    file_type="Q8_0",
    embedding_length=256,
    block_count=4,
    feed_forward=512,
    heads=4,
    kv_heads=(2,) * 4,
    weights_bytes=6_972_416,
    rearranged_bytes=0,
)
# all-MiniLM-L6-v2 in F16.
BERT = Facts(
    architecture="bert",
    file_type="F16",
    context_length=512,
    embedding_length=384,
    block_count=6,
    feed_forward=1536,
    heads=12,
    kv_heads=(12,) * 6,
    head_k=32,
    head_v=32,
    vocabulary=30522,
    weights_bytes=45_587_456,
    pooling=1,
    causal=False,
)
# Zeros in the shape of a gemma3 and of a lfm2, whose every second layer has no cache.
WINDOWED = msgspec.structs.replace(
    MADE,
    architecture="gemma3",
    embedding_length=512,
    block_count=12,
    feed_forward=1024,
    heads=4,
    kv_heads=(2,) * 12,
    head_k=128,
    head_v=128,
    sliding_window=512,
    vocabulary=8192,
)
HYBRID = msgspec.structs.replace(
    MADE, architecture="lfm2", embedding_length=512, block_count=8, feed_forward=1024, heads=8, kv_heads=(0, 4) * 4
)


def chosen(facts: Facts = MADE, machine: Machine = X86, **options: Any) -> Settings:
    return settings(LoadOptions(**{"context_length": 2048, "batch": 128} | options), facts, machine)


@pytest.mark.parametrize(
    ("facts", "options", "cache", "graph"),
    [
        (MADE, {"flash_attention": True}, 44, 13.75),
        (MADE, {"flash_attention": True, "batch": 512}, 44, 55.0),
        (MADE, {"flash_attention": True, "batch": 512, "context_length": 8192}, 176, 61.0),
        (MADE, {"flash_attention": True, "context_length": 8192, "parallel": 2}, 352, 15.25),
        (MADE, {"flash_attention": False}, 44, 39.25),
        (MADE, {"flash_attention": False, "context_length": 512}, 11, 14.5),
        (MADE, {"flash_attention": False, "batch": 512, "context_length": 8192}, 176, 553.0),
        (MADE, {"flash_attention": True, "kv_cache_type": "q8_0", "parallel": 2}, 46.75, 13.75),
        (MADE, {"flash_attention": True, "kv_cache_type": "q4_0", "parallel": 2}, 24.75, 13.75),
        (SMALL, {"flash_attention": False, "parallel": 4}, 48, 10.75),
        (SMALL, {"flash_attention": True, "context_length": 8192}, 48, 4.75),
        (TINY, {"flash_attention": False, "context_length": 8192, "parallel": 2}, 32, 20.88),
        (TINY, {"flash_attention": True, "batch": 512, "context_length": 512}, 1, 6.02),
        (BERT, {"context_length": 512}, 0, 18.26),
        (BERT, {"context_length": 256}, 0, 5.88),
        (BERT, {"context_length": 512, "flash_attention": True}, 0, 7.26),
        (WINDOWED, {"flash_attention": True}, 11.5, 3.44),
        (WINDOWED, {"flash_attention": True, "context_length": 8192, "parallel": 2}, 47, 4.94),
        (WINDOWED, {"flash_attention": False, "parallel": 2}, 23, 7.38),
        (HYBRID, {"flash_attention": False, "parallel": 2}, 16, 10.75),
    ],
    ids=str,
)
def test_cache_and_graph_are_what_the_dry_run_says(
    facts: Facts, options: dict[str, Any], cache: float, graph: float
) -> None:
    setup = chosen(facts, **options)
    assert llamacpp_memory.cache_bytes(facts, setup) / MIB == pytest.approx(cache, rel=0.002)
    assert llamacpp_memory.compute_bytes(facts, setup) / MIB == pytest.approx(graph, rel=0.09, abs=0.1)


@pytest.mark.parametrize(
    ("facts", "options", "taken"),
    [
        (MADE, {"context_length": 512}, 716.3),
        (SMALL, {}, 86.9),
        (SMALL, {"context_length": 512, "parallel": 8}, 90.3),
        (SMALL, {"parallel": 2, "batch": 512}, 141.7),
        (SMALL, {"kv_cache_type": "q8_0"}, 70.7),
        (SMALL, {"kv_cache_type": "q4_0", "parallel": 2}, 71.2),
        (TINY, {"context_length": 256}, 55.2),
        (TINY, {"parallel": 4}, 79.6),
        (TINY, {"context_length": 4096}, 77.5),
        (TINY, {"parallel": 2, "batch": 512}, 92.4),
        (BERT, {"context_length": 128}, 109.7),
        (BERT, {"context_length": 512}, 171.4),
    ],
    ids=str,
)
def test_memory_is_what_children_were_seen_to_take(facts: Facts, options: dict[str, Any], taken: float) -> None:
    assert llamacpp_memory.memory_bytes(facts, chosen(facts, **options)) / MIB == pytest.approx(taken, rel=0.035)


@pytest.mark.parametrize(
    ("vocabulary", "merges", "taken"),
    [
        pytest.param(128_256, 280_147, 141.1, id="Llama 3"),
        pytest.param(151_936, 151_387, 119.2, id="Qwen 2"),
        pytest.param(50_257, 50_000, 73.5, id="GPT-2"),
        pytest.param(32_064, 0, 58.1, id="Phi 3"),
    ],
)
def test_large_vocabularies_count(vocabulary: int, merges: int, taken: float) -> None:
    weights_bytes = (vocabulary * 64 + 50_000) * 34 // 32
    facts = Facts(
        architecture="llama",
        context_length=4096,
        embedding_length=64,
        block_count=2,
        feed_forward=96,
        heads=4,
        kv_heads=(2, 2),
        head_k=16,
        head_v=16,
        vocabulary=vocabulary,
        merges=merges,
        weights_bytes=weights_bytes,
    )
    memory = llamacpp_memory.memory_bytes(facts, chosen(facts, context_length=1024))
    assert memory / MIB == pytest.approx(taken, rel=0.05)


def test_a_rearranged_copy_beside_the_mapped_file_is_counted() -> None:
    facts = msgspec.structs.replace(MADE, file_type="Q4_0")
    read = chosen(facts, use_mmap=False, flash_attention=True)
    kept, given = (msgspec.structs.replace(read, load_mode="MMAP", gives_back=back) for back in (False, True))
    twice, *once = (llamacpp_memory.memory_bytes(facts, each) for each in (kept, given, read))
    assert [twice - each for each in once] == [facts.rearranged_bytes] * 2
    shared = [llamacpp_memory.shared_bytes(facts, each) for each in (kept, given, read)]
    assert shared == [facts.weights_bytes, facts.weights_bytes - facts.rearranged_bytes, 0]


def test_what_no_eviction_makes_room_for_is_refused_with_both_numbers() -> None:
    small = Machine(x86=True, memory_bytes=500 * 10**6)
    with pytest.raises(OutOfMemory, match=r"requires more memory \(8\d\d MB\) than this machine has \(500 MB\)"):
        refuse_too_large(llamacpp_memory.memory_bytes(MADE, chosen()), small)
    refuse_too_large(10**15, Machine(x86=True))  # where nobody can tell


def test_gpu_memory_is_the_share_of_layers_and_no_more_than_there_was() -> None:
    memory, on_gpu = 1000 * MIB, llamacpp_memory.gpu_bytes
    assert on_gpu(memory, MADE, chosen(machine=X86), X86) == 0
    assert on_gpu(memory, MADE, chosen(machine=GPU), GPU) == memory
    assert on_gpu(memory, MADE, chosen(machine=GPU, gpu_layers=0), GPU) == 0
    assert on_gpu(memory, MADE, chosen(machine=GPU, gpu_layers=11), GPU) == pytest.approx(memory * 11 / 23, rel=0.01)
    assert on_gpu(10**12, MADE, chosen(machine=GPU), GPU) == GPU.gpu_free_bytes


def test_an_image_encoder_takes_its_weights_and_as_much_again_and_an_adapter_its_file() -> None:
    alone, setup = llamacpp_memory.memory_bytes(MADE, chosen()), chosen()
    assert llamacpp_memory.memory_bytes(MADE, setup, 10 * MIB) - alone == 25 * MIB, "and what reads images"
    assert llamacpp_memory.memory_bytes(MADE, setup, 0, 10 * MIB) - alone == 10 * MIB


def test_the_engines_own_word_on_its_graph_goes_before_the_formula() -> None:
    setup = chosen()
    graph = llamacpp_memory.compute_bytes(MADE, setup)
    by_formula = llamacpp_memory.untouched_bytes(MADE, setup)
    assert llamacpp_memory.untouched_bytes(MADE, setup, graph=graph + MIB) - by_formula == MIB


@pytest.mark.parametrize(("cache_mib", "kept"), [(0, 1), (20, 1), (60, 4), (10**6, 32)])
def test_copies_of_windows_stay_within_the_prompt_caches_bytes(cache_mib: int, kept: int) -> None:
    # A copy is 7.5 MiB, and there are two slots.
    setup = chosen(WINDOWED, parallel=2, prompt_cache_mib=cache_mib)
    assert llamacpp_memory.checkpoints(WINDOWED, setup) == kept
    assert llamacpp_memory.checkpoints(MADE, setup) == 32


def test_models_of_other_kinds_are_no_known_ones() -> None:
    assert llamacpp_memory.is_known(MADE)
    assert not llamacpp_memory.is_known(HYBRID)
