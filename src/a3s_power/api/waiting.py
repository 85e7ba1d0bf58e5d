"""What a request waits for, as streams show it that were asked to tell."""

import msgspec

from a3s_power.core.events import Waiting


class Waits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Its turn, behind so many others (`queued`), or its model, of which this fraction is there (`loading`)."""

    phase: str
    position: int | None = None
    fraction: float | None = None


def waits(event: Waiting) -> Waits:
    """What is waited for, and no more of it than its phase has."""
    if event.phase == "queued":
        return Waits(phase="queued", position=event.position)
    return Waits(phase="loading", fraction=event.fraction)
