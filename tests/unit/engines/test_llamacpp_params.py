"""How a load is set up, and that no value reaches the library that it would abort or hang on."""

import math
from typing import Any

import msgspec
import pytest

from a3s_power.core.errors import LoadFailed, OutOfMemory
from a3s_power.core.limits import MIB
from a3s_power.core.model import Facts
from a3s_power.engines.engine import LoadOptions
from a3s_power.engines.llamacpp_library import missing_features
from a3s_power.engines.llamacpp_params import (
    CACHE_TYPES,
    Machine,
    Settings,
    gpu_bytes,
    memory_bytes,
    refuse_too_large,
    settings,
)

X86 = Machine(x86=True)
ARM = Machine(x86=False)
GPU = Machine(x86=True, gpu_free_bytes=8 * 1024 * MIB)

# The 1.1B llama of the fact sheet's table, in Q4_K_M.
LLAMA = Facts(
    architecture="llama",
    file_type="Q4_K_M",
    context_length=8192,
    embedding_length=2048,
    block_count=22,
    feed_forward=5632,
    heads=32,
    kv_heads=(4,) * 22,
    head_k=64,
    head_v=64,
    vocabulary=32000,
    weights_bytes=636 * MIB,
)
BERT = msgspec.structs.replace(LLAMA, architecture="bert", causal=False, pooling=1, context_length=512)


def _chosen(facts: Facts = LLAMA, machine: Machine = X86, **options: Any) -> Settings:
    return settings(LoadOptions(**{"context_length": 2048} | options), facts, machine)


@pytest.mark.parametrize(
    "wrong",
    [
        {"context_length": 0},
        {"context_length": -1},
        {"context_length": 2**31},
        {"context_length": 2**24, "parallel": 200},
        {"parallel": 0},
        {"parallel": -1},
        {"parallel": 257},
        {"batch": 0},
        {"batch": -5},
        {"threads": 0},
        {"threads": -1},
        {"threads_batch": 0},
        {"gpu_layers": -2},
        {"main_gpu": -1},
        {"tensor_split": (1.0,) * 129},
        {"tensor_split": (1.0, -1.0)},
        {"tensor_split": (math.nan,)},
        {"prompt_cache_mib": -1},
        {"kv_cache_type": "q3_k"},
        {"kv_cache_type": ""},
        {"kv_cache_type": "q8_0", "flash_attention": False},
    ],
    ids=str,
)
def test_values_that_abort_or_hang_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(LoadFailed, match=r"cannot be started with this|requires flash_attn"):
        _chosen(**wrong)


def test_the_refusal_names_all_that_is_wrong() -> None:
    with pytest.raises(LoadFailed, match=r"with this batch and this number of threads$"):
        _chosen(batch=0, threads=0)


@pytest.mark.parametrize("kind", sorted(CACHE_TYPES))
def test_every_cache_type_is_taken(kind: str) -> None:
    assert _chosen(kv_cache_type=kind).cache_type == kind


def test_a_context_is_never_longer_than_the_trained_one() -> None:
    assert _chosen(context_length=10**6).context == 8192
    assert _chosen(msgspec.structs.replace(LLAMA, context_length=0), context_length=10**6).context == 10**6


def test_the_prompt_cache_is_what_the_plan_says_and_none_otherwise() -> None:
    assert _chosen().prompt_cache_mib == 0
    assert _chosen(prompt_cache_mib=100).prompt_cache_mib == 100


@pytest.mark.parametrize(
    ("machine", "batch", "expected"),
    [(X86, None, (128, 128)), (X86, 32, (32, 32)), (X86, 2048, (2048, 512)), (GPU, None, (2048, 512))],
)
def test_batches_are_small_where_a_cancel_has_to_wait_for_them(
    machine: Machine, batch: int | None, expected: tuple[int, int]
) -> None:
    chosen = _chosen(machine=machine, batch=batch)
    assert (chosen.batch, chosen.micro_batch) == expected


@pytest.mark.parametrize(
    ("kind", "machine", "use_mmap", "repack", "mode"),
    [
        ("Q4_K_M", X86, None, False, "MMAP"),
        ("Q8_0", X86, None, False, "MMAP"),
        ("F16", X86, False, False, "NONE"),
        ("Q4_0", X86, None, True, "NONE"),
        ("IQ4_NL", X86, None, True, "NONE"),
        ("Q4_0", X86, True, True, "MMAP"),
        ("Q4_0", ARM, None, True, "MMAP"),
        ("Q4_K_M", ARM, None, True, "MMAP"),
        ("Q4_K_M", GPU, None, True, "MMAP"),
    ],
)
def test_weights_are_rearranged_only_where_that_pays_and_then_not_held_twice(
    kind: str, machine: Machine, use_mmap: bool | None, repack: bool, mode: str
) -> None:
    chosen = _chosen(msgspec.structs.replace(LLAMA, file_type=kind), machine, use_mmap=use_mmap)
    assert (chosen.repack, chosen.load_mode) == (repack, mode)


@pytest.mark.parametrize(("use_mmap", "mode"), [(None, "MMAP_MLOCK"), (False, "MLOCK")])
def test_memory_may_be_locked(use_mmap: bool | None, mode: str) -> None:
    assert _chosen(use_mlock=True, use_mmap=use_mmap).load_mode == mode


@pytest.mark.parametrize(
    ("machine", "options", "expected"),
    [
        (X86, {}, "DISABLED"),
        (X86, {"context_length": 8192}, "DISABLED"),  # 128 MiB of scores, just affordable
        (X86, {"context_length": 8192, "batch": 256}, "AUTO"),
        (X86, {"kv_cache_type": "q8_0"}, "AUTO"),
        (X86, {"flash_attention": True}, "ENABLED"),
        (X86, {"flash_attention": False, "context_length": 8192, "batch": 512}, "DISABLED"),
        (ARM, {}, "AUTO"),
        (GPU, {}, "AUTO"),
        (GPU, {"gpu_layers": 0}, "DISABLED"),
    ],
)
def test_flash_attention_is_off_where_that_is_faster_and_affordable(
    machine: Machine, options: dict[str, Any], expected: str
) -> None:
    assert _chosen(machine=machine, **options).flash_attention == expected


def test_an_encoder_always_embeds_and_takes_a_text_at_once() -> None:
    chosen = _chosen(BERT, context_length=400, batch=32)
    assert (chosen.embedding, chosen.batch, chosen.micro_batch) == (True, 512, 512)
    assert (chosen.last_token_pooling, chosen.shift) == (False, False)


def test_a_chat_model_that_embeds_takes_its_last_token() -> None:
    assert _chosen(embedding=True).last_token_pooling
    assert not _chosen(embedding=True).ranks
    assert _chosen(msgspec.structs.replace(LLAMA, pooling=4), embedding=True).ranks
    assert not _chosen(msgspec.structs.replace(LLAMA, pooling=1), embedding=True).last_token_pooling
    assert not _chosen().embedding


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # The engine's own figures: weights 636.18, cache 176.0 (q8_0: 93.5), compute 61.0 (56 at 2048, 15.25 at 128).
        ({"context_length": 8192, "batch": 512, "flash_attention": True}, 636 + 176 + 61),
        ({"context_length": 2048, "batch": 512, "flash_attention": True}, 636 + 44 + 55),
        ({"context_length": 8192, "batch": 128, "flash_attention": True}, 636 + 176 + 15),
        ({"context_length": 8192, "batch": 512, "flash_attention": False}, 636 + 176 + 553),
        ({"context_length": 8192, "batch": 512, "kv_cache_type": "q8_0"}, 636 + 93.5 + 61),
        ({"context_length": 1024, "parallel": 8, "batch": 512, "flash_attention": True}, 636 + 176 + 53),
    ],
    ids=str,
)
def test_memory_is_what_the_engine_says_it_takes(options: dict[str, Any], expected: float) -> None:
    process, output = 45, 32000 * 4 * options.get("parallel", 1) / MIB
    estimate = memory_bytes(LLAMA, _chosen(**options)) / MIB
    assert estimate == pytest.approx(expected + process + output, rel=0.04)


def test_a_rearranged_copy_beside_the_mapped_file_is_counted() -> None:
    facts = msgspec.structs.replace(LLAMA, file_type="Q4_0")
    once, twice = (memory_bytes(facts, _chosen(facts, use_mmap=mapped)) for mapped in (None, True))
    assert twice - once == facts.weights_bytes


def test_what_no_eviction_makes_room_for_is_refused_with_both_numbers() -> None:
    small = Machine(x86=True, memory_bytes=500 * 10**6)
    with pytest.raises(OutOfMemory, match=r"requires more memory \(8\d\d MB\) than this machine has \(500 MB\)"):
        refuse_too_large(memory_bytes(LLAMA, _chosen()), small)
    refuse_too_large(10**15, Machine(x86=True))  # where nobody can tell


def test_gpu_memory_is_the_share_of_layers_and_no_more_than_there_was() -> None:
    memory = 1000 * MIB
    assert gpu_bytes(memory, LLAMA, _chosen(machine=X86), X86) == 0
    assert gpu_bytes(memory, LLAMA, _chosen(machine=GPU), GPU) == memory
    assert gpu_bytes(memory, LLAMA, _chosen(machine=GPU, gpu_layers=0), GPU) == 0
    assert gpu_bytes(memory, LLAMA, _chosen(machine=GPU, gpu_layers=11), GPU) == pytest.approx(
        memory * 11 / 23, rel=0.01
    )
    assert gpu_bytes(10**12, LLAMA, _chosen(machine=GPU), GPU) == GPU.gpu_free_bytes


@pytest.mark.parametrize(
    ("cpuinfo", "missing"),
    [
        ("processor: 0\nflags\t\t: fpu sse avx2 f16c fma bmi2\n", ()),
        ("flags : fpu avx2 f16c fma3 bmi2\n", ("fma",)),
        ("flags : fpu sse4_2 avx\n", ("avx2", "f16c", "fma", "bmi2")),
        ("Features : fp asimd\n", ()),
        ("", ()),
    ],
)
def test_a_processor_that_lacks_instructions_is_known_before_it_dies(cpuinfo: str, missing: tuple[str, ...]) -> None:
    assert missing_features(cpuinfo) == missing


def test_an_image_encoder_takes_its_weights_and_as_much_again() -> None:
    assert memory_bytes(LLAMA, _chosen(), 10 * MIB) - memory_bytes(LLAMA, _chosen()) == 20 * MIB
