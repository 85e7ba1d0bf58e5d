"""Commands: what the scheduler's core wants done, as values."""

import msgspec

from a3s_power.core.errors import PowerError
from a3s_power.scheduler.need import Ask


class Load(msgspec.Struct, frozen=True):
    """Start a child for `ask` and tell `loaded` or `load_failed`."""

    instance: int
    ask: Ask


class Unload(msgspec.Struct, frozen=True):
    """End this child, loading or idle, and tell `gone` when its memory is free.

    `reload` is why the same model is wanted otherwise, where that is so.
    """

    instance: int
    reload: str = ""


class Grant(msgspec.Struct, frozen=True):
    """The ask with this ticket has a slot of this instance until it has `left`."""

    ticket: int
    instance: int


class Reject(msgspec.Struct, frozen=True):
    """The ask with this ticket is over; it need not leave."""

    ticket: int
    error: PowerError


Command = Load | Unload | Grant | Reject
