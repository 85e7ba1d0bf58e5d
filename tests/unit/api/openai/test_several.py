"""Several generations in one stream: who is begun when, who waits for a slow reader, and how all of them end."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from a3s_power.api.openai.several import Said, several
from a3s_power.core.errors import BadRequest, RunnerDied
from a3s_power.core.events import Done, Event, Progress, Text
from a3s_power.core.usage import Usage
from a3s_power.service.ports import Events

_DONE = Done("stop", Usage())


class _Played:
    """Generations whose pieces are let out one by one, and which tell who was begun and who has ended."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.said = 0

    @asynccontextmanager
    async def one(self, name: str, *script: Event | Exception) -> AsyncIterator[AsyncIterator[Event]]:
        """A generation of this name."""
        self.begun.append(name)
        try:
            yield self._played(script)
        finally:
            self.ended.append(name)

    async def _played(self, script: tuple[Event | Exception, ...]) -> AsyncIterator[Event]:
        for each in script:
            await asyncio.sleep(0)
            if isinstance(each, Exception):
                raise each
            self.said += 1
            yield each


async def test_others_begin_when_the_first_has_its_first_event() -> None:
    played = _Played()
    first = played.one("a0", Progress("loading"), Text("x"), _DONE)
    prompts = [[first, played.one("a1", _DONE), played.one("a2", _DONE)], [played.one("b0", _DONE)]]
    begun_at: dict[str, list[str]] = {}
    async with several(prompts) as events:
        async for said in events:
            begun_at.setdefault(f"{said.choice} {type(said.event).__name__}", list(played.begun))
    assert begun_at["0 Progress"] == ["a0", "b0"]
    assert sorted(begun_at["1 Done"]) == ["a0", "a1", "a2", "b0"]
    assert set(begun_at) == {"0 Progress", "0 Text", "0 Done", "1 Done", "2 Done", "3 Done"}
    assert sorted(played.ended) == ["a0", "a1", "a2", "b0"]


async def test_an_error_of_one_ends_all() -> None:
    played = _Played()
    endless = [Text("x")] * 10_000
    prompts = [[played.one("a", Text("x"), RunnerDied("gone"))], [played.one("b", *endless)]]
    with pytest.raises(RunnerDied, match="gone"):
        await _read(prompts)
    assert sorted(played.ended) == ["a", "b"]


async def _read(prompts: Sequence[Sequence[Events]]) -> None:
    async with several(prompts) as events:
        async for _ in events:
            pass


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3), (3,)])
async def test_errors_at_the_same_moment_come_out_as_one(shape: tuple[int, ...]) -> None:
    """Every prompt of a request finds the same wrong; so may every choice of a prompt, once the first has begun."""
    played = _Played()
    prompts = [
        [played.one("a", *([Text("x")] if count > 1 else []), BadRequest("wrong")) for _ in range(count)]
        for count in shape
    ]

    async def read() -> None:
        async with several(prompts) as events:
            async for _ in events:
                pass

    with pytest.raises(BadRequest, match="wrong"):
        await read()


async def test_an_error_of_the_reader_ends_all_and_comes_out_alone() -> None:
    played = _Played()
    endless = [Text("x")] * 10_000
    with pytest.raises(RunnerDied, match="mine"):
        await _fail(several([[played.one("a", *endless), played.one("b", *endless)], [played.one("c", *endless)]]))
    assert set(played.begun) == set(played.ended)


async def _fail(stream: AbstractAsyncContextManager[AsyncIterator[Said]]) -> None:
    async with stream as events:
        for _ in range(50):
            await anext(events)
        raise RunnerDied("mine")


async def test_leaving_ends_all() -> None:
    played = _Played()
    endless = [Text("x")] * 10_000
    async with several([[played.one("a", *endless), played.one("b", *endless)]]) as events:
        assert await anext(events) == Said(0, Text("x"))
    assert set(played.begun) == set(played.ended) >= {"a"}


async def test_nobody_runs_far_ahead_of_a_reader() -> None:
    played = _Played()
    async with several([[played.one("a", *[Text("x")] * 10_000)]]) as events:
        await anext(events)
        for _ in range(500):
            await asyncio.sleep(0)
        assert played.said < 30
