"""What a model takes: by which settings it is remembered, who is asked when, and what it comes to."""

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from a3s_power.core.errors import LoadFailed, OutOfMemory, PowerError, RunnerDied
from a3s_power.core.limits import MIB
from a3s_power.engines.engine import Forecast, LoadOptions
from a3s_power.hardware.machine import Machine
from a3s_power.runner.tail import LACK_OF_MEMORY
from a3s_power.scheduler import forecasts, placement
from a3s_power.scheduler.footprints import Footprints
from a3s_power.scheduler.loop import Scheduler
from a3s_power.scheduler.need import Claim, Need
from a3s_power.scheduler.settings import Settings
from tests.scheduling import FACTS, GIB, MACHINE, FakeChildren, FakeRunner, a_need

STRANGE = msgspec.structs.replace(FACTS, architecture="nobody-knows")
OPTIONS = LoadOptions(context_length=4096, parallel=2, batch=128)


def seen(footprints: Footprints, need: Need, options: LoadOptions = OPTIONS) -> int:
    return footprints.seen(need, options, placement.chosen_settings(need, options, MACHINE))


def measure(footprints: Footprints, need: Need, taken: int, untouched: int = 0) -> None:
    footprints.measured(need, OPTIONS, placement.chosen_settings(need, OPTIONS, MACHINE), taken, untouched)


@pytest.mark.parametrize(
    "changed",
    [
        {"context_length": 2048},
        {"parallel": 1},
        {"batch": 512},
        {"kv_cache_type": "q8_0"},
        {"flash_attention": True},
        {"use_mmap": False},
        {"use_mlock": True},
        {"embedding": True},
        {"gpu_layers": 3},
        {"draft": "ngram", "draft_tokens": 4},
        {"program": "/opt/llama-server"},
    ],
    ids=str,
)
def test_whatever_takes_memory_is_remembered_by_itself(changed: dict[str, Any]) -> None:
    footprints, need = Footprints(), a_need()
    measure(footprints, need, 500 * MIB)
    assert seen(footprints, need, msgspec.structs.replace(OPTIONS, **changed)) == 0


@pytest.mark.parametrize(
    "changed", [{"threads": 4}, {"threads_batch": 8}, {"prompt_cache_mib": 300}, {"shift": False}], ids=str
)
def test_what_takes_none_is_not(changed: dict[str, Any]) -> None:
    footprints, need = Footprints(), a_need()
    measure(footprints, need, 500 * MIB)
    assert seen(footprints, need, msgspec.structs.replace(OPTIONS, **changed)) == 500 * MIB


def test_files_beside_the_weights_count_by_what_they_are_and_not_by_where_they_lie() -> None:
    footprints = Footprints()
    measure(footprints, a_need(projectors=("/here/sha256-1",), adapters=(("/here/sha256-2", 1.0),)), 500 * MIB)
    assert seen(footprints, a_need(projectors=("/there/sha256-1",), adapters=(("/there/sha256-2", 1.0),)))
    assert not seen(footprints, a_need(projectors=("/here/sha256-3",), adapters=(("/here/sha256-2", 1.0),)))
    assert not seen(footprints, a_need(projectors=("/here/sha256-1",), adapters=(("/here/sha256-4", 1.0),)))
    assert not seen(footprints, a_need(projectors=("/here/sha256-1",)))
    assert not seen(footprints, a_need())


def test_the_last_load_counts_and_stays_on_disk(tmp_path: Path) -> None:
    footprints, need = Footprints(tmp_path / "footprints.json"), a_need()
    for taken in (500 * MIB, 510 * MIB, 505 * MIB):
        measure(footprints, need, taken, 20 * MIB)
        assert seen(footprints, need) == taken + 20 * MIB
    footprints.save()
    assert seen(Footprints(tmp_path / "footprints.json"), need) == 525 * MIB


def test_the_engines_word_on_what_only_answers_touch_goes_before_the_formulas() -> None:
    footprints, need = Footprints(), a_need()
    chosen = placement.chosen_settings(need, OPTIONS, MACHINE)
    footprints.foretold(need, OPTIONS, chosen, Forecast(memory_bytes=700 * MIB, untouched_bytes=80 * MIB))
    assert seen(footprints, need) == 700 * MIB
    measure(footprints, need, 610 * MIB, 30 * MIB)
    assert seen(footprints, need) == 690 * MIB


def test_what_did_run_is_not_refused_for_what_it_took() -> None:
    need, footprints = a_need(num_ctx=4096), Footprints()
    machine = msgspec.structs.replace(MACHINE, memory_bytes=2 * GIB, free_bytes=0)
    claim = placement.claim(need, Settings(), machine)
    chosen = placement.chosen_settings(need, claim.options, machine)
    footprints.measured(need, claim.options, chosen, 3 * GIB, 0)
    again = placement.claim(need, Settings(), machine, seen=functools.partial(footprints.seen, need))
    assert (again.options, again.memory_bytes) == (claim.options, placement.usable_bytes(machine))


@pytest.mark.parametrize(
    ("need", "taken", "free", "doubtful"),
    [
        pytest.param(a_need(), GIB, 12 * GIB, False, id="a known kind, and much room"),
        pytest.param(a_need(), GIB, 0, False, id="nobody knows the room"),
        pytest.param(a_need(), GIB, GIB, True, id="a close fit"),
        pytest.param(a_need(), 2 * GIB, GIB, True, id="too large by the formula"),
        pytest.param(a_need(facts=STRANGE), GIB, 12 * GIB, True, id="another kind"),
        pytest.param(a_need(facts=STRANGE, engine="echo"), GIB, 12 * GIB, False, id="an engine that cannot tell"),
    ],
)
def test_the_engine_is_asked_where_the_formula_may_be_wrong(need: Need, taken: int, free: int, doubtful: bool) -> None:
    assert forecasts.is_doubtful(need, Claim(options=OPTIONS, asked_context=0, memory_bytes=taken), free) is doubtful


@asynccontextmanager
async def a_scheduler(
    children: FakeChildren, footprints: Footprints, look: Callable[[], Machine], taken: int
) -> AsyncIterator[Scheduler]:
    with anyio.fail_after(20):
        weigh = functools.partial(_same, taken)
        async with Scheduler(Settings(), children.spawn, look=look, weigh=weigh, footprints=footprints) as scheduler:
            yield scheduler


def _same(taken: int, _pid: int) -> int:
    return taken


@pytest.mark.anyio
async def test_a_strange_model_is_asked_about_once_and_then_known() -> None:
    children, footprints = FakeChildren(), Footprints()
    children.forecast = Forecast(memory_bytes=900 * MIB, untouched_bytes=50 * MIB)
    need = a_need(facts=STRANGE, num_ctx=4096)
    async with a_scheduler(children, footprints, lambda: MACHINE, 860 * MIB) as scheduler:
        for _ in range(2):
            async with scheduler.acquire(need):
                [resident] = scheduler.resident()
                assert resident.memory_bytes == 910 * MIB
            scheduler.unload(need.model.weights)
    asked, *loads = children.started
    assert asked.asked is not None
    assert asked.options is None, "it has loaded nothing"
    assert asked.stopped.is_set()
    assert [(child.asked, child.options is not None) for child in loads] == [(None, True)] * 2


@pytest.mark.anyio
@pytest.mark.parametrize(("foretold", "parallel"), [(900 * MIB, 1), (500 * MIB, 4), (None, 1)])
async def test_a_close_fit_goes_by_the_engines_word(foretold: int | None, parallel: int) -> None:
    # By the formula, four slots take 1,607 MiB.
    children = FakeChildren()
    children.forecast = None if foretold is None else Forecast(memory_bytes=foretold, untouched_bytes=0)
    machine = msgspec.structs.replace(MACHINE, free_bytes=1150 * MIB if foretold is None else 600 * MIB)
    need = a_need(num_ctx=8192)
    with anyio.fail_after(20):
        async with Scheduler(Settings(num_parallel=4), children.spawn, look=lambda: machine) as scheduler:
            if foretold == 900 * MIB:
                with pytest.raises(OutOfMemory):
                    async with scheduler.acquire(need):
                        pass
            else:
                async with scheduler.acquire(need) as lease:
                    assert lease.options.parallel == parallel


@pytest.mark.anyio
async def test_an_idle_model_leaves_before_another_one_is_loaded_with_less() -> None:
    children, taken = FakeChildren(), [False]

    def look() -> Machine:
        left = 900 * MIB if taken[0] else MACHINE.free_bytes
        return msgspec.structs.replace(MACHINE, free_bytes=left + 700 * MIB * any(map(_has_left, children.started)))

    async with a_scheduler(children, Footprints(), look, 700 * MIB) as scheduler:
        async with scheduler.acquire(a_need("a", num_ctx=8192, use_mmap=False)):
            pass
        # Another program takes memory while nobody here looks: what is left is too little for both.
        taken[0] = True
        async with scheduler.acquire(a_need("b", num_ctx=8192, use_mmap=False)) as lease:
            [resident] = scheduler.resident()
            assert (resident.model.name.model, resident.reason) == ("b", "")
            assert (lease.options.context_length, lease.options.kv_cache_type) == (8192, "f16")


@pytest.mark.anyio
async def test_a_load_gives_way_to_nobody_twice() -> None:
    children, looks = FakeChildren(), [MACHINE]
    async with a_scheduler(children, Footprints(), lambda: looks[-1], 700 * MIB) as scheduler:
        async with scheduler.acquire(a_need("a", num_ctx=8192, use_mmap=False)):
            pass
        looks.append(msgspec.structs.replace(MACHINE, free_bytes=900 * MIB))
        async with scheduler.acquire(a_need("b", num_ctx=8192, use_mmap=False)) as lease:
            assert lease.options.kv_cache_type == "q8_0", "the memory did not come back, and so it takes what is there"


def _has_left(child: FakeRunner) -> bool:
    return child.stopped.is_set() and child.options is not None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LoadFailed("no such tensor"), "no such tensor"),
        (OutOfMemory("no room"), "no room (it was expected to take 1.1 GB, with 2.1 GB free)"),
        (RunnerDied("died: killed by SIGABRT"), "died: killed by SIGABRT"),
        (
            RunnerDied(f"died: killed by SIGKILL: {LACK_OF_MEMORY}"),
            f"died: killed by SIGKILL: {LACK_OF_MEMORY} (it was expected to take 1.1 GB, with 2.1 GB free)",
        ),
    ],
)
def test_a_load_that_fails_for_lack_of_memory_says_both_numbers(error: PowerError, said: str) -> None:
    claim = Claim(options=OPTIONS, asked_context=0, memory_bytes=GIB)
    explained = forecasts.with_numbers(error, claim, 2 * GIB)
    assert (type(explained), str(explained)) == (type(error), said)


@pytest.mark.parametrize(
    ("machine_bytes", "process_bytes", "most"), [(0, 0, 0), (8, 0, 8), (0, 5, 5), (8, 5, 5), (5, 8, 5)]
)
def test_one_model_takes_no_more_than_a_process_may(machine_bytes: int, process_bytes: int, most: int) -> None:
    machine = msgspec.structs.replace(MACHINE, process_bytes=process_bytes)
    assert placement.most_bytes(machine_bytes, machine) == most


def test_a_limit_on_addresses_is_a_limit_of_one_model() -> None:
    machine = msgspec.structs.replace(MACHINE, process_bytes=900 * MIB)
    claim = placement.claim(a_need(num_ctx=100_000), Settings(), machine)
    assert claim.memory_bytes <= 900 * MIB
    assert claim.options.context_length < claim.asked_context
    with pytest.raises(OutOfMemory, match=r"\(825 MB\) than is available \(524 MB\)"):
        placement.claim(a_need(), Settings(), msgspec.structs.replace(MACHINE, process_bytes=500 * MIB))
