"""The scheduler with children that do as they are told: who waits, who is told what, and what is given back."""

import asyncio
import contextvars
import functools
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from a3s_power.aio import task_group
from a3s_power.core.durations import NEVER
from a3s_power.core.errors import (
    Busy,
    EngineFailed,
    EngineMissing,
    LoadFailed,
    LoadStalled,
    OutOfMemory,
    Overdue,
    PowerError,
    QueueFull,
)
from a3s_power.core.events import Waiting
from a3s_power.hardware.machine import Machine
from a3s_power.runner.runner import Runner
from a3s_power.scheduler import placement
from a3s_power.scheduler.fixed import Fixed
from a3s_power.scheduler.footprints import Footprints
from a3s_power.scheduler.lease import Lease
from a3s_power.scheduler.loop import Scheduler
from a3s_power.scheduler.need import Need
from a3s_power.scheduler.settings import Settings
from a3s_power.scheduler.speeds import Speeds
from a3s_power.telemetry.metrics import MODEL_RELOADS, QUEUE_WAIT, Counters
from tests.scheduling import GIB, MACHINE, FakeChildren, a_model, a_need


@asynccontextmanager
async def a_scheduler(
    children: FakeChildren,
    *,
    machine: Machine = MACHINE,
    speeds: Speeds | None = None,
    footprints: Footprints | None = None,
    taken: int = 0,
    counters: Counters | None = None,
    **settings: Any,
) -> AsyncIterator[Scheduler]:
    """A scheduler over fake children; whatever hangs in it fails the test."""
    with anyio.fail_after(20):
        async with Scheduler(
            Settings(**settings),
            children.spawn,
            look=lambda: machine,
            weigh=lambda _pid: taken,
            speeds=speeds,
            footprints=footprints,
            counters=counters,
        ) as scheduler:
            yield scheduler


class Client:
    """Somebody who asks, in a task: `granted` once served, leaves when told, keeps what went wrong."""

    def __init__(self, scheduler: Scheduler, need: Need) -> None:
        self._scheduler = scheduler
        self._need = need
        self.lease: Lease | None = None
        self.error: PowerError | None = None
        self.granted = anyio.Event()
        self.leave = anyio.Event()
        self.left = anyio.Event()
        self.scope = anyio.CancelScope()

    async def __call__(self) -> None:
        try:
            with self.scope:
                async with self._scheduler.acquire(self._need) as self.lease:
                    self.granted.set()
                    await self.leave.wait()
        except PowerError as error:
            self.error = error
        self.left.set()

    async def done(self) -> None:
        self.leave.set()
        await self.left.wait()


async def settled() -> None:
    """Let every task that can go on go on."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def used(scheduler: Scheduler, need: Need) -> int:
    """Ask, leave at once, and tell which child it was."""
    async with scheduler.acquire(need) as lease:
        return lease.runner.pid


async def test_a_lease_holds_what_the_caller_needs() -> None:
    async with (
        a_scheduler(FakeChildren(), num_parallel=2) as scheduler,
        scheduler.acquire(a_need(num_ctx=2048)) as lease,
    ):
        assert lease.runner.pid == 1
        assert (lease.options.context_length, lease.options.parallel) == (2048, 2)
        assert lease.loaded.context_length == 2048
        assert lease.load_ns > 0


async def test_a_request_for_less_context_than_is_loaded_is_held_to_it() -> None:
    limits = []
    async with a_scheduler(FakeChildren()) as scheduler:
        for need in (a_need(num_ctx=8192), a_need(num_ctx=2048), a_need(num_ctx=8192)):
            async with scheduler.acquire(need) as lease:
                limits.append((lease.runner.pid, lease.options.context_length, lease.limit))
    assert limits == [(1, 8192, 0), (1, 8192, 2048), (1, 8192, 0)]


async def test_a_request_that_must_not_shift_its_context_is_held_to_what_is_loaded() -> None:
    async with a_scheduler(FakeChildren(), context_length=2048) as scheduler:
        async with scheduler.acquire(a_need()) as lease:
            assert lease.limit == 0
        async with scheduler.acquire(a_need(shift=False)) as lease:
            assert (lease.runner.pid, lease.limit) == (1, 2048)


@pytest.mark.parametrize("asked", [2048, 4096, 8192])
async def test_where_load_options_are_fixed_no_request_reloads_the_model(asked: int) -> None:
    counters = Counters()
    async with a_scheduler(
        FakeChildren(), context_length=4096, fixed=Fixed.parse(["fixed"]), counters=counters
    ) as scheduler:
        assert await used(scheduler, a_need()) == 1
        need, ignored = scheduler.settled(a_need(num_ctx=asked, num_batch=512, num_gpu=0))
        async with scheduler.acquire(need) as lease:
            assert (lease.runner.pid, lease.options.context_length) == (1, 4096)
            assert lease.limit == (2048 if asked == 2048 else 0)
    too_long = {"num_ctx": "8192 -> 4096"} if asked == 8192 else {}
    assert ignored == {**too_long, "num_batch": "512 -> 128", "num_gpu": "0 -> automatic"}
    assert not counters.values(MODEL_RELOADS)


async def test_reloads_are_counted_by_reason_and_waits_by_their_length() -> None:
    counters = Counters()
    async with a_scheduler(FakeChildren(), counters=counters) as scheduler:
        for need in (
            a_need(num_ctx=2048),
            a_need(num_ctx=4096),
            a_need(num_ctx=2048),
            a_need(num_ctx=2048, num_thread=1),
        ):
            await used(scheduler, need)
        assert counters.values(MODEL_RELOADS) == {("num_ctx",): 1, ("num_thread",): 1}
    assert sum(count for (bound,), count in counters.values(QUEUE_WAIT).items() if bound != "sum") == 4


async def test_a_model_is_loaded_once_and_used_again() -> None:
    children = FakeChildren()
    async with a_scheduler(children) as scheduler:
        assert [await used(scheduler, a_need()) for _ in range(5)] == [1] * 5
        assert await used(scheduler, a_need("b", weights="a")) == 1
        assert await used(scheduler, a_need(embedding=True)) == 2
    assert len(children.started) == 2


async def test_who_listens_hears_what_is_waited_for_and_nothing_twice() -> None:
    children, heard = FakeChildren(ready=False), dict[int, list[Waiting]]()
    async with a_scheduler(children, num_parallel=1) as scheduler, task_group() as tasks:
        granted, done = anyio.Event(), anyio.Event()

        async def ask(number: int) -> None:
            async with scheduler.acquire(a_need(), heard.setdefault(number, []).append):
                granted.set()
                await done.wait()

        for number in range(3):
            tasks.start_soon(ask, number)
        runner = await children.child(1)
        for fraction in (0.5, 0.5, 1.0):
            runner.report(fraction)
        runner.finish(parallel=1)
        await granted.wait()
        done.set()
    loading = [Waiting("loading", fraction=fraction) for fraction in (0.0, 0.5, 1.0)]
    assert heard == {
        0: loading,
        1: [*loading, Waiting("queued", 0)],
        2: [*loading, Waiting("queued", 1), Waiting("queued", 0)],
    }


async def test_children_hear_when_others_compute_beside_them_and_when_no_more() -> None:
    children = FakeChildren()
    async with a_scheduler(children) as scheduler:
        async with scheduler.acquire(a_need("a")), scheduler.acquire(a_need("b")):
            first, second = children.started
            assert (first.crowds, second.crowds) == ([True], [True])
        assert (first.crowds, second.crowds) == ([True, False], [True, False])
        async with scheduler.acquire(a_need("a")):
            assert first.crowds == [True, False], "an idle one takes nothing from anybody"


async def test_slots_are_given_in_turn() -> None:
    async with a_scheduler(FakeChildren()) as scheduler, task_group() as tasks:
        clients = [Client(scheduler, a_need()) for _ in range(3)]
        for client in clients:
            tasks.start_soon(client)
        for number, client in enumerate(clients):
            await client.granted.wait()
            await settled()
            assert [one.granted.is_set() for one in clients] == [at <= number for at in range(3)]
            await client.done()


async def test_a_client_that_leaves_the_queue_is_answered_at_once_and_holds_up_nobody() -> None:
    async with a_scheduler(FakeChildren()) as scheduler, task_group() as tasks:
        first, second, third = (Client(scheduler, a_need()) for _ in range(3))
        for client in (first, second, third):
            tasks.start_soon(client)
        await first.granted.wait()
        second.scope.cancel()
        await second.left.wait()
        await first.done()
        await third.granted.wait()
        await third.done()


async def test_a_load_whose_last_client_leaves_is_killed_at_once() -> None:
    children = FakeChildren(ready=False)
    async with a_scheduler(children) as scheduler, task_group() as tasks:
        client = Client(scheduler, a_need())
        tasks.start_soon(client)
        child = await children.child(1)
        client.scope.cancel()
        await client.left.wait()
        await child.stopped.wait()
        assert child.killed
        children.ready = True
        assert await used(scheduler, a_need()) == 2


async def test_a_load_that_somebody_else_waits_for_goes_on() -> None:
    children = FakeChildren(ready=False)
    async with a_scheduler(children) as scheduler, task_group() as tasks:
        leaves, stays = Client(scheduler, a_need()), Client(scheduler, a_need())
        tasks.start_soon(leaves)
        tasks.start_soon(stays)
        child = await children.child(1)
        leaves.scope.cancel()
        await leaves.left.wait()
        child.finish()
        await stays.granted.wait()
        assert not child.killed
        await stays.done()


@pytest.mark.parametrize("steps", range(12))
async def test_a_slot_is_given_back_wherever_its_client_is_cancelled(steps: int) -> None:
    async with a_scheduler(FakeChildren(), max_queue=0) as scheduler, task_group() as tasks:
        client = Client(scheduler, a_need())
        tasks.start_soon(client)
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        client.scope.cancel()
        await client.left.wait()
        await used(scheduler, a_need())
        await used(scheduler, a_need())


async def test_a_load_that_fails_is_told_to_everybody_who_waited_for_it() -> None:
    children = FakeChildren(ready=False)
    async with a_scheduler(children) as scheduler, task_group() as tasks:
        clients = [Client(scheduler, a_need()) for _ in range(3)]
        for client in clients:
            tasks.start_soon(client)
        child = await children.child(1)
        child.finish(LoadFailed("broken file"))
        for client in clients:
            await client.left.wait()
        assert [(type(one.error), str(one.error)) for one in clients] == [(LoadFailed, "broken file")] * 3
        assert len({id(one.error) for one in clients}) == 3
        assert child.stopped.is_set()
        children.ready = True
        assert await used(scheduler, a_need()) == 2


async def test_a_load_that_failed_is_remembered_until_one_succeeds() -> None:
    children = FakeChildren(ready=False)
    async with a_scheduler(children) as scheduler, task_group() as tasks:
        for number, name in enumerate(("a", "b", "a"), 1):
            client = Client(scheduler, a_need(name))
            tasks.start_soon(client)
            (await children.child(number)).finish(LoadFailed(f"broken {number}"))
            await client.left.wait()
        failed = [(one.model.model, str(one.error)) for one in scheduler.failed()]
        assert failed == [("b", "broken 2"), ("a", "broken 3")]
        children.ready = True
        await used(scheduler, a_need("b"))
        assert [one.model.model for one in scheduler.failed()] == ["a"]
        assert [one.load_ns > 0 for one in scheduler.resident()] == [True]


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (EngineMissing("no such engine"), EngineMissing),
        (OSError(11, "Resource temporarily unavailable"), LoadFailed),
        (RuntimeError("a bug"), EngineFailed),
    ],
)
async def test_a_child_that_cannot_be_started_ends_nothing_but_its_load(
    raised: Exception, seen: type[PowerError]
) -> None:
    children = FakeChildren()

    async def spawn(engine: str, visible: Mapping[str, str]) -> Runner:
        if engine == "broken":
            raise raised
        return await children.spawn(engine, visible)

    with anyio.fail_after(20):
        async with Scheduler(Settings(), spawn, look=lambda: MACHINE) as scheduler:
            with pytest.raises(seen) as error:
                await used(scheduler, a_need(engine="broken"))
            assert type(error.value) is seen
            assert await used(scheduler, a_need()) == 1


async def test_a_child_that_takes_all_processors_has_a_place_for_each_thread() -> None:
    for processors, bound in {2: True, 4: False}.items():
        children = FakeChildren()
        machine = msgspec.structs.replace(MACHINE, cores=2, processors=processors)
        async with a_scheduler(children, machine=machine) as scheduler:
            await used(scheduler, a_need())
        (environment,) = children.visible
        assert ("OMP_PROC_BIND" in environment) is bound


async def test_what_a_model_in_memory_came_to_is_not_reckoned_again() -> None:
    """Else a machine that has less memory by now would refuse what it is answering already."""
    children, machines = FakeChildren(), [MACHINE, msgspec.structs.replace(MACHINE, memory_bytes=GIB // 2)]
    need = a_need(num_ctx=4096)
    with anyio.fail_after(20):
        async with Scheduler(Settings(), children.spawn, look=lambda: machines[len(children.started)]) as scheduler:
            assert [await used(scheduler, need), await used(scheduler, need)] == [1, 1]
            with pytest.raises(OutOfMemory):
                await used(scheduler, a_need("b", num_ctx=4096))


async def test_a_load_without_progress_is_given_up() -> None:
    children = FakeChildren(ready=False)
    async with a_scheduler(children, load_timeout=0.05) as scheduler:
        with pytest.raises(LoadStalled, match=r"^timed out waiting for llama-server to start - "):
            await used(scheduler, a_need())
    assert children.started[0].killed


async def test_a_load_that_goes_on_is_waited_for() -> None:
    children = FakeChildren(ready=False)
    async with a_scheduler(children, load_timeout=0.2) as scheduler, task_group() as tasks:
        client = Client(scheduler, a_need())
        tasks.start_soon(client)
        child = await children.child(1)
        began = time.monotonic()
        asyncio.get_running_loop().call_later(0.15, lambda: child.report(0.5))
        asyncio.get_running_loop().call_later(0.3, lambda: child.report(0.5))
        await client.left.wait()
        assert isinstance(client.error, LoadStalled)
        assert time.monotonic() - began >= 0.34, "what went on was waited for"
        assert "at 50%" in str(client.error)


@pytest.mark.parametrize("forever", [0.0, -1.0, math.inf])
async def test_a_load_may_take_for_ever(forever: float) -> None:
    children = FakeChildren(ready=False)
    async with a_scheduler(children, load_timeout=forever) as scheduler, task_group() as tasks:
        client = Client(scheduler, a_need())
        tasks.start_soon(client)
        (await children.child(1)).finish()
        await client.granted.wait()
        await client.done()


async def test_an_idle_model_leaves_when_its_time_is_over() -> None:
    children = FakeChildren()
    async with a_scheduler(children, keep_alive=0.02) as scheduler:
        await used(scheduler, a_need())
        await children.started[0].stopped.wait()
        assert scheduler.resident() == []
        assert await used(scheduler, a_need()) == 2


async def test_a_model_that_is_not_to_stay_is_no_resident_any_more() -> None:
    children = FakeChildren()
    async with a_scheduler(children) as scheduler:
        await used(scheduler, a_need(keep_alive=0.0))
        assert scheduler.resident() == []
        await children.started[0].stopped.wait()


async def test_residents_are_told_with_what_they_take_and_when_they_leave() -> None:
    async with a_scheduler(FakeChildren()) as scheduler:
        await used(scheduler, a_need("a"))
        await used(scheduler, a_need("b", keep_alive=NEVER, num_ctx=64))
        await used(scheduler, a_need("c", weights="a"))
        forever, soon = scheduler.resident()
        assert (forever.model.name.short, forever.expires, forever.context_length) == ("b:latest", None, 64)
        assert soon.model.name.short == "a:latest", "the name that loaded it"
        assert (soon.memory_bytes, soon.gpu_bytes) == (7, 0)
        assert soon.expires is not None
        assert abs(soon.expires - datetime.now(UTC) - timedelta(seconds=300)) < timedelta(seconds=5)
        assert soon.expires.tzinfo is not None


async def test_a_busy_model_stays_its_whole_time_from_now() -> None:
    async with a_scheduler(FakeChildren()) as scheduler, scheduler.acquire(a_need(keep_alive=60.0)):
        [resident] = scheduler.resident()
        assert resident.expires is not None
        assert abs(resident.expires - datetime.now(UTC) - timedelta(seconds=60)) < timedelta(seconds=5)


async def test_a_model_that_is_being_loaded_is_no_resident() -> None:
    children = FakeChildren(ready=False)
    async with a_scheduler(children) as scheduler, task_group() as tasks:
        client = Client(scheduler, a_need())
        tasks.start_soon(client)
        child = await children.child(1)
        assert scheduler.resident() == []
        child.finish()
        await client.granted.wait()
        assert len(scheduler.resident()) == 1
        await client.done()


async def test_unloading_waits_for_running_work_and_does_not_let_its_caller_wait() -> None:
    children = FakeChildren()
    async with a_scheduler(children) as scheduler:
        async with scheduler.acquire(a_need()):
            scheduler.unload(a_model().weights)
            await settled()
            assert not children.started[0].stopped.is_set()
            assert len(scheduler.resident()) == 1
        assert scheduler.resident() == []
        await children.started[0].stopped.wait()
        assert not children.started[0].killed


async def test_the_next_ask_after_a_death_loads_anew() -> None:
    children = FakeChildren()
    async with a_scheduler(children) as scheduler, task_group() as tasks:
        running, waiting = Client(scheduler, a_need()), Client(scheduler, a_need())
        tasks.start_soon(running)
        await running.granted.wait()
        tasks.start_soon(waiting)
        await settled()
        children.started[0].die()
        assert scheduler.resident() == []
        await waiting.granted.wait()
        assert waiting.lease is not None
        assert waiting.lease.runner.pid == 2
        await running.done()
        await waiting.done()
        assert await used(scheduler, a_need()) == 2


async def test_a_death_outside_of_any_task_lets_the_next_model_in() -> None:
    children = FakeChildren()
    async with a_scheduler(children, max_loaded=1) as scheduler, task_group() as tasks:
        running, waiting = Client(scheduler, a_need("a")), Client(scheduler, a_need("b"))
        tasks.start_soon(running)
        await running.granted.wait()
        tasks.start_soon(waiting)
        await settled()
        asyncio.get_running_loop().call_soon(children.started[0].die, context=contextvars.Context())
        await waiting.granted.wait()
        await running.done()
        await waiting.done()


async def test_a_child_with_something_stuck_in_it_is_replaced_when_nobody_uses_it() -> None:
    children = FakeChildren()
    async with a_scheduler(children, num_parallel=2) as scheduler:
        async with scheduler.acquire(a_need()):
            async with scheduler.acquire(a_need()):
                children.started[0].poisoned = True
            await settled()
            assert not children.started[0].stopped.is_set()
        await children.started[0].stopped.wait()
        assert await used(scheduler, a_need()) == 2


async def test_a_child_that_is_stuck_is_replaced() -> None:
    children = FakeChildren()
    async with a_scheduler(children, stall_timeout=0.05) as scheduler, scheduler.acquire(a_need()):
        children.started[0].stuck_seconds = 0.06
        await children.started[0].stopped.wait()
        assert children.started[0].failed == "model runner made no progress for 0.05s and was replaced"
        assert await used(scheduler, a_need()) == 2


async def test_too_many_who_wait_are_turned_away() -> None:
    async with a_scheduler(FakeChildren(), max_queue=1) as scheduler, task_group() as tasks:
        running, waiting = Client(scheduler, a_need()), Client(scheduler, a_need())
        tasks.start_soon(running)
        await running.granted.wait()
        tasks.start_soon(waiting)
        await settled()
        with pytest.raises(QueueFull):
            await used(scheduler, a_need())
        await running.done()
        await waiting.granted.wait()
        await waiting.done()


async def test_who_has_waited_long_enough_is_told_so() -> None:
    async with a_scheduler(FakeChildren()) as scheduler, scheduler.acquire(a_need()):
        with pytest.raises(Overdue):
            await used(scheduler, a_need(patience=0.01))
        with pytest.raises(Overdue):
            await used(scheduler, a_need(patience=0.0))
    async with a_scheduler(FakeChildren()) as scheduler, scheduler.acquire(a_need(patience=60.0)) as lease:
        assert lease.runner.pid == 1


async def test_a_model_too_large_for_the_machine_is_refused_without_a_child() -> None:
    children = FakeChildren()
    small = Machine(x86=True, cores=2, memory_bytes=GIB // 2, free_bytes=GIB // 2)
    async with a_scheduler(children, machine=small) as scheduler:
        with pytest.raises(OutOfMemory):
            await used(scheduler, a_need())
    assert children.started == []


async def test_a_context_that_is_lowered_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    small = Machine(x86=True, cores=2, memory_bytes=2 * GIB, free_bytes=GIB)
    async with (
        a_scheduler(FakeChildren(), machine=small) as scheduler,
        scheduler.acquire(a_need(num_ctx=100_000)) as lease,
    ):
        assert lease.options.context_length < 100_000
    [warning] = [record for record in caplog.records if record.message == "model is not loaded quite as asked for"]
    assert vars(warning)["fields"]["num_ctx"] == f"100000 -> {lease.options.context_length}"


async def test_what_a_load_took_is_remembered_and_foreseen_the_next_time(tmp_path: Path) -> None:
    file, need = tmp_path / "footprints.json", a_need(num_ctx=4096)
    foreseen = placement.claim(need, Settings(), MACHINE).memory_bytes
    async with a_scheduler(FakeChildren(), footprints=Footprints(file), taken=2 * foreseen) as scheduler:
        await used(scheduler, need)
        [resident] = scheduler.resident()
        assert 2 * foreseen < resident.memory_bytes < 2.2 * foreseen, "and a little for the first request"
    again = Footprints(file)
    claim = placement.claim(need, Settings(), MACHINE, seen=functools.partial(again.seen, need))
    assert claim.memory_bytes == resident.memory_bytes
    other = a_need(num_ctx=2048)
    assert placement.claim(other, Settings(), MACHINE, seen=functools.partial(again.seen, other)) == placement.claim(
        other, Settings(), MACHINE
    )


async def test_what_is_loaded_with_less_for_want_of_memory_says_so(caplog: pytest.LogCaptureFixture) -> None:
    tight = Machine(x86=True, cores=2, memory_bytes=16 * GIB, free_bytes=1150 * 1024**2)
    async with (
        a_scheduler(FakeChildren(), machine=tight, num_parallel=4) as scheduler,
        scheduler.acquire(a_need(num_ctx=8192)) as lease,
    ):
        assert (lease.options.parallel, lease.options.kv_cache_type) == (1, "f16")
        [resident] = scheduler.resident()
    assert resident.reason == "num_parallel 4 -> 1"
    assert resident.placement == "CPU, 1 slot of 8192 tokens, f16 cache, 2 threads"
    assert [record.message for record in caplog.records].count("model is not loaded quite as asked for") == 1


async def test_what_does_not_fit_into_the_free_memory_is_refused_with_both_numbers() -> None:
    full = Machine(x86=True, cores=2, memory_bytes=16 * GIB, free_bytes=GIB // 2)
    children = FakeChildren()
    async with a_scheduler(children, machine=full) as scheduler:
        with pytest.raises(OutOfMemory, match=r"requires more system memory \(\d+ MB\) than is available \(536 MB\)"):
            await used(scheduler, a_need())
    assert [child.options for child in children.started] == [None], "it was asked, and has loaded nothing"


async def test_an_idle_model_leaves_for_another_when_others_have_taken_the_memory() -> None:
    children, machine = FakeChildren(), [MACHINE]
    with anyio.fail_after(20):
        async with Scheduler(
            Settings(), children.spawn, look=lambda: machine[0], weigh=lambda _pid: 700 * 1024**2
        ) as scheduler:
            machine[0] = Machine(x86=True, cores=8, memory_bytes=16 * GIB, free_bytes=GIB)
            await used(scheduler, a_need("a", num_ctx=4096, use_mmap=False))
            await used(scheduler, a_need("b", num_ctx=4096, use_mmap=False))
            assert [one.model.name.model for one in scheduler.resident()] == ["b"]


async def test_what_was_measured_counts_at_the_next_load_and_in_the_next_process(tmp_path: Path) -> None:
    file = tmp_path / "speeds.json"
    async with a_scheduler(FakeChildren(), speeds=Speeds(file)) as scheduler:
        async with scheduler.acquire(a_need()) as lease:
            assert lease.options.batch == 128
        scheduler.measured(a_model().weights, 1000, 1.0)
        async with scheduler.acquire(a_need()) as lease:
            assert lease.options.batch == 128, "no reload for that"
        scheduler.unload(a_model().weights)
        async with scheduler.acquire(a_need()) as lease:
            assert lease.options.batch == 256
    async with (
        a_scheduler(FakeChildren(), speeds=Speeds(file)) as scheduler,
        scheduler.acquire(a_need()) as lease,
    ):
        assert lease.options.batch == 256


async def test_children_share_the_cores() -> None:
    children = FakeChildren()
    async with a_scheduler(children, prompt_cache=0) as scheduler:
        for name in "abc":
            await used(scheduler, a_need(name))
    assert [child.options.threads for child in children.started if child.options] == [7, 7, 2]


async def test_the_end_stops_every_child_and_tells_everybody_who_waits() -> None:
    children = FakeChildren()
    async with task_group() as tasks:
        async with a_scheduler(children) as scheduler:
            await used(scheduler, a_need("b"))
            running, waiting = Client(scheduler, a_need()), Client(scheduler, a_need())
            tasks.start_soon(running)
            await running.granted.wait()
            tasks.start_soon(waiting)
            await settled()
        assert [child.stopped.is_set() for child in children.started] == [True, True]
        await waiting.left.wait()
        assert isinstance(waiting.error, Busy)
        with pytest.raises(Busy, match="the server is shutting down"):
            await used(scheduler, a_need())
        await running.done()


async def test_the_end_stops_a_child_that_is_being_loaded() -> None:
    children = FakeChildren(ready=False)
    async with task_group() as tasks:
        async with a_scheduler(children) as scheduler:
            client = Client(scheduler, a_need())
            tasks.start_soon(client)
            child = await children.child(1)
        assert child.killed
        assert child.stopped.is_set()
        await client.left.wait()
        assert isinstance(client.error, Busy)


async def test_children_are_stopped_whatever_ended_the_server() -> None:
    children = FakeChildren()

    async def serve_and_fail() -> None:
        async with a_scheduler(children) as scheduler:
            await used(scheduler, a_need())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await serve_and_fail()
    assert children.started[0].stopped.is_set()
