"""The choice among measured settings: by the time of a typical request, and by memory where that is about equal."""

from typing import Any

import msgspec
import pytest

from a3s_power.core.model import Facts
from a3s_power.engines.engine import LoadOptions
from a3s_power.engines.llamacpp_params import Machine, Settings, settings
from a3s_power.engines.tuning import Prefer, Rates, best, faster, whole

FACTS = Facts(architecture="llama", file_type="Q4_K_M", context_length=32_768, heads=32)
CPU = Machine(x86=True)

# What was seen of 1.1B parameters in Q4_K_M, with two threads, on a processor of 2020 and on one with AVX-512.
OLDER = (
    Rates(repack=False, flash_attention=False, prompt=70.0, first=24.0, behind=21.9),
    Rates(repack=False, flash_attention=True, prompt=72.0, first=24.3, behind=18.3),
    Rates(repack=True, flash_attention=False, prompt=50.0, first=24.2, behind=21.6),
    Rates(repack=True, flash_attention=True, prompt=52.7, first=24.3, behind=18.0),
)
NEWER = (
    Rates(repack=False, flash_attention=False, prompt=120.0, first=40.0, behind=37.0),
    Rates(repack=False, flash_attention=True, prompt=140.0, first=38.0, behind=32.0),
    Rates(repack=True, flash_attention=False, prompt=118.0, first=50.0, behind=44.0),
    Rates(repack=True, flash_attention=True, prompt=109.0, first=44.0, behind=36.0),
)


def chosen(tuning: tuple[Rates, ...], *, facts: Facts = FACTS, machine: Machine = CPU, **options: Any) -> Settings:
    said = {"context_length": 4096} | options | {"tuning": tuning}
    return settings(msgspec.convert(said, LoadOptions), facts, machine)


def test_a_request_is_slower_the_more_lies_before_each_token() -> None:
    even = Rates(repack=False, flash_attention=False, prompt=100.0, first=50.0, behind=50.0)
    assert even.seconds(200, 100) == pytest.approx(2 + 2)
    # Behind 512 tokens it takes a hundredth of a second more, and so behind 1024 two.
    deep = msgspec.structs.replace(even, behind=1 / 0.03)
    assert deep.seconds(1024, 1) == pytest.approx(10.24 + 0.04, rel=1e-3)


def test_more_speed_behind_a_prompt_than_before_it_is_noise() -> None:
    odd = Rates(repack=False, flash_attention=False, prompt=100.0, first=50.0, behind=60.0)
    assert odd.seconds(200, 100) == pytest.approx(4)


@pytest.mark.parametrize(
    ("tuning", "prefer", "repack", "flash_attention"),
    [
        (OLDER, "speed", False, False),
        (NEWER, "speed", True, False),
        # Rearranged weights are a twelfth faster there, and that is not worth a copy of them to everybody.
        (NEWER, "memory", False, False),
        (OLDER[2:], "speed", True, False),
    ],
)
def test_the_fastest_setting_is_taken(
    tuning: tuple[Rates, ...], prefer: Prefer, repack: bool, flash_attention: bool
) -> None:
    found = best(tuning, prefer=prefer)
    assert found is not None
    assert (found.repack, found.flash_attention) == (repack, flash_attention)


@pytest.mark.parametrize(("prefer", "flash_attention"), [("speed", False), ("memory", True)])
def test_of_equal_ones_one_without_a_copy_of_the_weights_is_taken(prefer: Prefer, flash_attention: bool) -> None:
    equal = [msgspec.structs.replace(rates, prompt=100.0, first=40.0, behind=38.5) for rates in OLDER]
    equal[0] = msgspec.structs.replace(equal[0], behind=39.0)
    slightly_faster = [*equal[:3], msgspec.structs.replace(equal[3], prompt=102.0)]
    for tuning in (equal, slightly_faster, slightly_faster[::-1]):
        found = best(tuning, prefer=prefer)
        assert found is not None
        assert (found.repack, found.flash_attention) == (False, flash_attention)


def test_nothing_is_chosen_where_nothing_was_measured() -> None:
    assert best(()) is None
    assert best(OLDER[:2], repack=True) is None


@pytest.mark.parametrize(
    ("said", "repack", "flash_attention", "load_mode"),
    [
        ({}, True, "DISABLED", "MMAP"),
        ({"prefer": "memory"}, False, "DISABLED", "MMAP"),
        # What somebody said is settled, and so is what the cache or the memory leave no choice of.
        ({"flash_attention": True}, False, "ENABLED", "MMAP"),
        ({"repack": False}, False, "DISABLED", "MMAP"),
        ({"kv_cache_type": "q8_0"}, False, "AUTO", "MMAP"),
        ({"context_length": 32_768}, False, "AUTO", "MMAP"),
        # Vectors are not answers.
        ({"embedding": True, "context_length": 512}, False, "DISABLED", "MMAP"),
        ({"context_length": 32_768, "batch": 32}, True, "DISABLED", "MMAP"),
        ({"use_mmap": True}, True, "DISABLED", "MMAP"),
        ({"use_mmap": False}, True, "DISABLED", "NONE"),
    ],
)
def test_a_load_goes_by_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], repack: bool, flash_attention: str, load_mode: str
) -> None:
    monkeypatch.setattr("a3s_power.engines.llamacpp_params._GIVES_BACK", True)
    found = chosen(NEWER, **said)
    assert (found.repack, found.flash_attention, found.load_mode) == (repack, flash_attention, load_mode)


@pytest.mark.parametrize("machine", [Machine(x86=False), Machine(x86=True, gpu_free_bytes=2**33)])
def test_other_machines_have_the_engine_s_way(machine: Machine) -> None:
    found = chosen(NEWER[:1], machine=machine)
    assert (found.repack, found.flash_attention) == (True, "AUTO")


@pytest.mark.parametrize("file_type", ["Q4_K_M", "Q4_0"])
def test_without_a_measurement_the_type_of_the_weights_decides(file_type: str) -> None:
    facts = msgspec.structs.replace(FACTS, file_type=file_type)
    assert chosen((), facts=facts).repack == (file_type == "Q4_0")
    assert chosen((), facts=facts, repack=True).repack
    assert chosen((), facts=facts).flash_attention == "DISABLED"


def test_the_speed_of_a_slice_becomes_that_of_the_model() -> None:
    # A quarter of the layers took 2 ms of the 3 ms of a token, and 1 ms more behind a prompt.
    part = Rates(repack=False, flash_attention=True, prompt=400.0, first=1 / 0.003, behind=1 / 0.004)
    found = whole(part, 0.25, 2 / 3)
    assert found.prompt == pytest.approx(100.0)
    assert 1 / found.first == pytest.approx(4 * 0.002 + 0.001)
    assert 1 / found.behind == pytest.approx(4 * 0.002 + 0.001 + 4 * 0.001)


def test_of_two_measurements_the_faster_counts_in_each_of_its_parts() -> None:
    one = Rates(repack=False, flash_attention=True, prompt=100, first=50, behind=30)
    other = msgspec.structs.replace(one, prompt=90, first=55, behind=31)
    assert faster(one, other) == faster(other, one) == msgspec.structs.replace(other, prompt=100)
