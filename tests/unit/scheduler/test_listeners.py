"""Those who hear what they wait for."""

import functools

import anyio

from a3s_power.core.events import Waiting
from a3s_power.scheduler.lease import Tenant
from a3s_power.scheduler.listeners import Listeners


async def test_many_hear_one_after_the_other_and_all_hear_the_last_change() -> None:
    heard: dict[int, list[int]] = {ticket: [] for ticket in range(200)}
    first = 1
    listeners = Listeners(lambda: lambda ticket: Waiting("queued", first + ticket))
    for ticket, places in heard.items():
        listeners.add(ticket, Tenant(0, functools.partial(_note, places)))
    listeners.tell()
    assert 0 < sum(map(len, heard.values())) < len(heard), "some at once, the others later"
    first = 0
    listeners.tell()
    with anyio.fail_after(30):
        while any(places[-1:] != [ticket] for ticket, places in heard.items()):
            await anyio.sleep(0.01)
    assert all(len(places) <= 2 for places in heard.values())


async def test_who_has_an_answer_hears_no_more() -> None:
    heard: list[Waiting] = []
    waiting, dropped = Tenant(0, heard.append), Tenant(0, heard.append)
    listeners = Listeners(lambda: lambda _ticket: Waiting("queued"))
    listeners.add(1, waiting)
    listeners.add(2, dropped)
    listeners.drop(2)
    listeners.tell()
    listeners.tell()
    waiting.answer.cancel()
    listeners.tell()
    assert heard == [Waiting("queued")]


def _note(places: list[int], waiting: Waiting) -> None:
    places.append(waiting.position)
