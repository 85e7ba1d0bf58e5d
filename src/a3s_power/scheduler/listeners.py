"""Listeners: those who want to hear what they wait for; many of them hear it one after the other."""

import asyncio
from collections.abc import Callable
from typing import Final

from a3s_power.core.events import Waiting
from a3s_power.scheduler.lease import Tenant

_AT_ONCE: Final = 32
"""So many are told before anything else may happen, which takes a millisecond or two of the loop."""
_PAUSE: Final = 0.025
"""Seconds until the next ones are."""

Look = Callable[[], Callable[[int], Waiting]]
"""Looks at all who wait, and then tells of a ticket what it waits for."""


class Listeners:
    """Tenants by ticket. `tell` says to all of them what they wait for now, if that is something else than before."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._tenants: dict[int, Tenant] = {}
        self._rest: list[int] = []
        self._again = False
        self._next: asyncio.TimerHandle | None = None

    def add(self, ticket: int, tenant: Tenant) -> None:
        """One more listens."""
        self._tenants[ticket] = tenant

    def drop(self, ticket: int) -> None:
        """This one listens no more, if it did."""
        self._tenants.pop(ticket, None)

    def tell(self) -> None:
        """Something has changed. While some have yet to hear of the last change, this one waits for its turn."""
        if self._next is not None:
            self._again = True
        elif self._tenants:
            self._rest = [*self._tenants]
            self._tell_some()

    def close(self) -> None:
        """Nobody hears anything any more."""
        if self._next is not None:
            self._next.cancel()

    def _tell_some(self) -> None:
        self._next = None
        some, self._rest = self._rest[:_AT_ONCE], self._rest[_AT_ONCE:]
        waits = self._look()
        for ticket in some:
            tenant = self._tenants.get(ticket)
            if tenant is not None and tenant.waits:
                tenant.hear(waits(ticket))
        if self._again and not self._rest:
            self._again, self._rest = False, [*self._tenants]
        if self._rest:
            self._next = asyncio.get_running_loop().call_later(_PAUSE, self._tell_some)
