"""How a load is set up, and that no value reaches the library that it would abort or hang on."""

import math
from typing import Any

import msgspec
import pytest

from a3s_power.core.errors import LoadFailed
from a3s_power.core.limits import MIB
from a3s_power.core.model import Facts
from a3s_power.engines.engine import LoadOptions
from a3s_power.engines.llamacpp_library import missing_features
from a3s_power.engines.llamacpp_params import (
    CACHE_TYPES,
    Machine,
    Settings,
    settings,
)
from tests.llamas import LLAMA

X86 = Machine(x86=True)
ARM = Machine(x86=False)
GPU = Machine(x86=True, gpu_free_bytes=8 * 1024 * MIB)

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
    ("kind", "machine", "said", "repack", "mode", "gives_back"),
    [
        ("Q4_K_M", X86, {}, False, "MMAP", False),
        ("Q8_0", X86, {}, False, "MMAP", False),
        ("F16", X86, {"use_mmap": False}, False, "NONE", False),
        ("Q4_0", X86, {}, True, "MMAP", True),
        ("IQ4_NL", X86, {}, True, "MMAP", True),
        ("Q4_0", X86, {"use_mmap": True}, True, "MMAP", True),
        ("Q4_0", X86, {"use_mmap": False}, True, "NONE", False),
        # Locked pages stay, and those of another process are not ours to give back.
        ("Q4_0", X86, {"use_mlock": True}, True, "MLOCK", False),
        ("Q4_0", X86, {"program": "/bin/llama-server"}, True, "NONE", False),
        ("Q4_0", ARM, {}, True, "MMAP", False),
        ("Q4_K_M", ARM, {}, True, "MMAP", False),
        ("Q4_K_M", GPU, {}, True, "MMAP", False),
    ],
)
def test_weights_are_rearranged_only_where_that_pays_and_then_not_held_twice(
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    machine: Machine,
    said: dict[str, Any],
    *,
    repack: bool,
    mode: str,
    gives_back: bool,
) -> None:
    monkeypatch.setattr("a3s_power.engines.llamacpp_params._GIVES_BACK", True)
    chosen = _chosen(msgspec.structs.replace(LLAMA, file_type=kind), machine, **said)
    assert (chosen.repack, chosen.load_mode, chosen.gives_back) == (repack, mode, gives_back)


def test_where_no_pages_can_be_given_back_a_file_that_is_rearranged_is_not_mapped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("a3s_power.engines.llamacpp_params._GIVES_BACK", False)
    chosen = _chosen(msgspec.structs.replace(LLAMA, file_type="Q4_0"))
    assert (chosen.repack, chosen.load_mode, chosen.gives_back) == (True, "NONE", False)
    assert _chosen(msgspec.structs.replace(LLAMA, file_type="Q4_0"), use_mmap=True).load_mode == "MMAP"


@pytest.mark.parametrize(("use_mmap", "mode"), [(None, "MMAP_MLOCK"), (False, "MLOCK")])
def test_memory_may_be_locked(use_mmap: bool | None, mode: str) -> None:
    assert _chosen(use_mlock=True, use_mmap=use_mmap).load_mode == mode


@pytest.mark.parametrize(
    ("machine", "options", "expected"),
    [
        (X86, {}, "DISABLED"),
        (X86, {"context_length": 8192}, "DISABLED"),  # 128 MiB of scores, just affordable
        (X86, {"context_length": 8192, "batch": 512}, "AUTO"),
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


@pytest.mark.parametrize(
    ("context", "batch", "micro_batch", "flash_attention"),
    [
        (8192, 128, 128, "DISABLED"),
        (8192, 256, 128, "DISABLED"),
        (2048, 256, 256, "DISABLED"),
        (6000, 448, 160, "DISABLED"),
        # So large a batch may be for images, which are looked at as a whole.
        (8192, 512, 512, "AUTO"),
    ],
)
def test_a_narrower_micro_batch_makes_room_for_scores(
    context: int, batch: int, micro_batch: int, flash_attention: str
) -> None:
    chosen = _chosen(context_length=context, batch=batch)
    assert (chosen.micro_batch, chosen.flash_attention) == (micro_batch, flash_attention)
    assert chosen.batch == batch


def test_a_micro_batch_stays_where_a_narrower_one_would_be_slow() -> None:
    long = msgspec.structs.replace(LLAMA, context_length=32_768)
    chosen = _chosen(long, context_length=32_768, batch=128)
    assert (chosen.micro_batch, chosen.flash_attention) == (128, "AUTO")


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
