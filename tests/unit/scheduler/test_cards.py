"""Models on graphics processors over time: who has to leave, what children see, and cards that vanish."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from a3s_power.aio import in_thread
from a3s_power.core.errors import LoadFailed
from a3s_power.engines.llamacpp_layers import Shape
from a3s_power.hardware.gpus import Gpu
from a3s_power.hardware.machine import Machine
from a3s_power.scheduler.commands import Grant, Load, Unload
from a3s_power.scheduler.core import Core, Limits
from a3s_power.scheduler.devices import Gpus, Wish, Wishes
from a3s_power.scheduler.loop import Scheduler
from a3s_power.scheduler.need import Ask
from a3s_power.scheduler.settings import Settings
from tests.scheduling import GIB, MACHINE, FakeChildren, a_need, an_ask

SHAPE = Shape(layers=11, layer_bytes=5, output_bytes=5, each_bytes=5)
"""Sixty bytes on a card."""


def on_card(ask: Ask, cards: str = "x") -> Ask:
    """The ask, by one who wants to lie wholly on one of these cards."""
    wish = Wish(shape=SHAPE, layers=SHAPE.layers, cards=tuple(cards))
    return msgspec.structs.replace(ask, claim=msgspec.structs.replace(ask.claim, wish=wish))


def a_core(**cards: int) -> Core:
    core = Core(Limits(max_loaded=4, memory_bytes=1000))
    assert core.room(1000, 0, cards) == []
    return core


def idle(core: Core, ask: Ask, instance: int, **lies: int) -> None:
    """Bring a model into memory, where it takes so much of cards."""
    assert core.requested(ask, instance) == [Load(instance, ask)]
    assert core.loaded(instance, 1, instance, lies) == [Grant(ask.ticket, instance)]
    assert core.left(ask.ticket, instance) == []


def test_models_that_fit_a_card_together_share_it() -> None:
    core, second = a_core(x=120), on_card(an_ask(2, "b"))
    idle(core, on_card(an_ask(1, "a")), 1, x=60)
    assert core.requested(second, 5) == [Load(2, second)]


def test_a_card_that_is_full_is_left_by_one_that_lies_on_it_and_by_nobody_else() -> None:
    core, third = a_core(x=119), on_card(an_ask(3, "c"))
    idle(core, an_ask(1, "a"), 1)
    idle(core, on_card(an_ask(2, "b")), 2, x=60)
    assert core.requested(third, 5) == [Unload(2)]
    assert core.gone(2, 6) == [Load(3, third)]


def test_where_another_card_has_room_nobody_leaves() -> None:
    core, second = a_core(x=60, y=60), on_card(an_ask(2, "b"), "xy")
    idle(core, on_card(an_ask(1, "a"), "xy"), 1, x=60)
    assert core.requested(second, 5) == [Load(2, second)]


def test_a_busy_model_on_a_full_card_leaves_after_its_asks() -> None:
    core, first, second = a_core(x=100), on_card(an_ask(1, "a")), on_card(an_ask(2, "b"))
    core.requested(first, 0)
    core.loaded(1, 1, 1, {"x": 60})
    assert core.requested(second, 2) == []
    assert core.left(1, 3) == [Unload(1)]
    assert core.gone(1, 4) == [Load(2, second)]


def test_where_main_memory_is_short_too_anybody_may_have_to_leave() -> None:
    core, third = a_core(x=119), on_card(an_ask(3, "c", memory_bytes=500))
    idle(core, an_ask(1, "a", memory_bytes=900), 1)
    idle(core, on_card(an_ask(2, "b")), 2, x=60)
    assert core.requested(third, 5) == [Unload(1)]


def test_memory_of_a_card_that_others_give_back_is_used() -> None:
    core, second = a_core(x=100), on_card(an_ask(2, "b"))
    first = on_card(an_ask(1, "a"))
    core.requested(first, 0)
    core.loaded(1, 1, 1, {"x": 60})
    assert core.requested(second, 2) == []
    assert core.room(1000, 3, {"x": 120}) == [Load(2, second)]


def a_card(index: int = 0, *, free: float = 24) -> Gpu:
    total = 24 * GIB
    return Gpu(
        kind="cuda",
        index=index,
        uuid=f"GPU-{index}",
        name="Card",
        total_bytes=total,
        free_bytes=int(free * GIB),
    )


class World:
    """What the machine looks like; tests change it."""

    def __init__(self, *cards: Gpu) -> None:
        self.machine = msgspec.structs.replace(MACHINE, gpus=cards)
        self.looks = 0

    def __call__(self) -> Machine:
        self.looks += 1
        return self.machine

    def change(self, **changed: Any) -> None:
        self.machine = msgspec.structs.replace(self.machine, **changed)


@asynccontextmanager
async def a_scheduler(
    children: FakeChildren, world: World, *, wishes: Wishes | None = None, watch: float = 3600.0
) -> AsyncIterator[Scheduler]:
    gpus = Gpus(
        wishes=wishes or Wishes(), kinds={"llamacpp": frozenset({"cuda"})}, watch_seconds=watch, settle_seconds=0.0
    )
    with anyio.fail_after(20):
        async with Scheduler(Settings(gpus=gpus), children.spawn, look=world, weigh=lambda _pid: 0) as scheduler:
            yield scheduler


async def settled() -> None:
    """Let every task that can go on go on, and those that wait for a thread have theirs."""
    for _ in range(10):
        await in_thread(lambda: None)
        await anyio.lowlevel.checkpoint()


async def test_a_child_is_told_its_card_and_how_much_to_put_there() -> None:
    children, world = FakeChildren(), World(a_card(0, free=2), a_card(1))
    async with a_scheduler(children, world) as scheduler, scheduler.acquire(a_need(num_ctx=4096)) as lease:
        assert children.visible == [{"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "GPU-1"}]
        assert (lease.options.gpu_layers, lease.options.gpu_reserve) == (-1, 256 * 1024**2)


@pytest.mark.parametrize(("cards", "said", "most"), [(0, 0, 3), (1, 0, 3), (2, 0, 6), (2, 1, 1)])
def test_three_models_stay_for_each_card(cards: int, said: int, most: int) -> None:
    assert Settings(max_loaded=said).limits(0, cards).max_loaded == most


async def test_without_an_engine_for_cards_a_child_is_told_nothing() -> None:
    children = FakeChildren()
    with anyio.fail_after(20):
        async with (
            Scheduler(Settings(), children.spawn, look=World(a_card()), weigh=lambda _pid: 0) as scheduler,
            scheduler.acquire(a_need()) as lease,
        ):
            assert children.visible == [{}]
            assert (lease.options.gpu_layers, lease.options.gpu_reserve) == (-1, None)


async def test_less_than_asked_for_on_a_card_is_said_to_the_log_and_in_ps(caplog: pytest.LogCaptureFixture) -> None:
    world = World(a_card())
    async with a_scheduler(FakeChildren(), world) as scheduler:
        world.change(gpus=(a_card(free=1),))
        async with scheduler.acquire(a_need(num_ctx=4096)) as lease:
            assert 0 < lease.options.gpu_layers < 23
            (resident,) = scheduler.resident()
            assert resident.reason == f"num_gpu 23 -> {lease.options.gpu_layers}"
    assert "model is not loaded quite as asked for" in caplog.text


async def test_what_must_be_on_a_card_and_is_not_fails_after_the_load_and_leaves() -> None:
    children = FakeChildren()
    async with a_scheduler(children, World(a_card()), wishes=Wishes(require=True)) as scheduler:
        with pytest.raises(LoadFailed, match="the engine has found none"):
            async with scheduler.acquire(a_need()):
                pytest.fail("the fake child lies on no card")
        assert children.started[0].stopped.is_set()
        assert scheduler.resident() == []


async def test_a_vanished_card_ends_its_models_and_the_next_request_loads_anew() -> None:
    children, world = FakeChildren(), World(a_card(0, free=20), a_card(1))
    async with a_scheduler(children, world, watch=0.0) as scheduler:
        async with scheduler.acquire(a_need(num_ctx=4096)) as lease:
            assert lease.runner.pid == 1
        world.change(gpus=(a_card(0, free=20),))
        while not children.started[0].failed:
            await anyio.lowlevel.checkpoint()
        assert children.started[0].failed == "graphics processor Card (GPU-1) is gone"
        assert scheduler.degraded == ("graphics processor Card (GPU-1) is gone",)
        async with scheduler.acquire(a_need(num_ctx=4096)) as lease:
            assert lease.runner.pid == 2
        assert children.visible[1]["CUDA_VISIBLE_DEVICES"] == "GPU-0"
        world.change(gpus=(a_card(0), a_card(1)))
        while scheduler.degraded:
            await anyio.lowlevel.checkpoint()


async def test_models_stay_where_nobody_can_tell_of_cards(caplog: pytest.LogCaptureFixture) -> None:
    children, world = FakeChildren(), World(a_card())
    async with a_scheduler(children, world, watch=0.0) as scheduler:
        async with scheduler.acquire(a_need(num_ctx=4096)):
            pass
        world.change(gpus=(), gpu_troubles=("NVML cannot be used: Driver/library version mismatch",), gpus_blind=True)
        while not scheduler.degraded:
            await anyio.lowlevel.checkpoint()
        assert scheduler.degraded == ("NVML cannot be used: Driver/library version mismatch",)
        assert [one.model.name.model for one in scheduler.resident()] == ["a"]
        assert not children.started[0].failed
    assert caplog.text.count("not all graphics processors can be used") == 1


async def test_cards_that_no_model_lies_on_are_not_looked_at() -> None:
    world = World(a_card())
    async with a_scheduler(FakeChildren(), world, watch=0.0) as scheduler:
        await settled()
        assert world.looks == 1
        async with scheduler.acquire(a_need(num_gpu=0)):
            looks = world.looks
            await settled()
            assert world.looks == looks


async def test_a_card_is_given_time_to_get_its_memory_back() -> None:
    children, world = FakeChildren(), World(a_card(free=4))
    gpus = Gpus(kinds={"llamacpp": frozenset({"cuda"})}, settle_seconds=15.0)
    with anyio.fail_after(20):
        async with Scheduler(Settings(gpus=gpus), children.spawn, look=world, weigh=lambda _pid: 0) as scheduler:
            async with scheduler.acquire(a_need(num_ctx=4096, keep_alive=0.0)):
                pass
            await children.started[0].stopped.wait()
            looks = world.looks
            while world.looks < looks + 2:
                await anyio.lowlevel.checkpoint()
            world.change(gpus=(a_card(free=8),))
            # Leaving waits for the card, which would take long.
