"""Several generations told as one stream, each event with the number of the choice that it belongs to."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from a3s_power.aio import task_group
from a3s_power.core.errors import PowerError
from a3s_power.core.events import Event, Progress, Waiting
from a3s_power.service.ports import Events

_AHEAD: Final = 16
"""Events that may wait for the client; a generation whose client is slow waits with it."""


class Said(NamedTuple):
    """What one of the generations said."""

    choice: int
    event: Event


@asynccontextmanager
async def several(prompts: Sequence[Sequence[Events]]) -> AsyncIterator[AsyncIterator[Said]]:
    """The events of all generations as they come; leaving ends all of them, and the first error ends the stream.

    Those of one prompt are one sequence: the first is begun alone, and the others when it has its first event, so that
    they find the prompt read. Choices are numbered through.
    """
    sender, receiver = anyio.create_memory_object_stream[Said](_AHEAD)
    async with receiver, task_group() as group:
        group.start_soon(_all, prompts, sender)
        yield aiter(receiver)
        group.cancel_scope.cancel()


async def _all(prompts: Sequence[Sequence[Events]], sender: MemoryObjectSendStream[Said]) -> None:
    try:
        async with sender, task_group() as group:
            number = 0
            for generations in prompts:
                group.start_soon(_prompt, generations, number, sender)
                number += len(generations)
    except ExceptionGroup as errors:
        # What is wrong with a request is so for all of its prompts, and they may find it at the same moment.
        if errors.split(PowerError)[1] is None:
            raise _first(errors) from None
        raise


def _first(error: Exception) -> Exception:
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


async def _prompt(generations: Sequence[Events], number: int, sender: MemoryObjectSendStream[Said]) -> None:
    """The generations of one prompt, the first of them being choice `number`."""
    async with task_group() as group, generations[0] as events:
        waiting = generations[1:]
        async for event in events:
            if waiting and not isinstance(event, Progress | Waiting):
                for choice, other in enumerate(waiting, number + 1):
                    group.start_soon(_one, other, choice, sender)
                waiting = ()
            await sender.send(Said(number, event))


async def _one(generation: Events, choice: int, sender: MemoryObjectSendStream[Said]) -> None:
    async with generation as events:
        async for event in events:
            await sender.send(Said(choice, event))
