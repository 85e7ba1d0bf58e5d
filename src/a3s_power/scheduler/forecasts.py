"""Forecasts: the engine's own word on what a load would take, asked where the formula alone may be wrong."""

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from a3s_power.core.errors import OutOfMemory, PowerError, revive
from a3s_power.core.sizes import human_bytes
from a3s_power.engines import llamacpp_memory
from a3s_power.engines.engine import Forecast
from a3s_power.log import get_logger
from a3s_power.runner.runner import Runner
from a3s_power.runner.tail import LACK_OF_MEMORY
from a3s_power.scheduler.need import Claim, Need

log = get_logger(__name__)

_TELLS: Final = frozenset({"llamacpp"})
"""The engines that have a dry run."""
_NEAR: Final = 0.9
"""From this share of the free memory on a formula that is a few per cent wrong may say the wrong thing."""
_PATIENCE: Final = 20.0
"""Seconds. It takes a third of one with small vocabularies and up to two with large ones."""


def is_doubtful(need: Need, claim: Claim, free_bytes: int) -> bool:
    """Whether a claim by the formula alone is worth asking the engine: a kind it was not fitted to, or a close fit."""
    known = llamacpp_memory.is_known(need.model.facts)
    return need.engine in _TELLS and (not known or 0 < free_bytes * _NEAR < claim.memory_bytes)


def with_numbers(error: PowerError, claim: Claim, free_bytes: int) -> PowerError:
    """A load's failure, with what was expected and what was free where it failed for lack of memory after all."""
    if not isinstance(error, OutOfMemory) and LACK_OF_MEMORY not in error.message:
        return error
    wanted, free = human_bytes(claim.memory_bytes), human_bytes(free_bytes)
    return revive(error.kind, f"{error.message} (it was expected to take {wanted}, with {free} free)")


async def forecast(need: Need, claim: Claim, spawn: Callable[[], Awaitable[Runner]]) -> Forecast | None:
    """Ask a child of its own, which loads nothing; `None` where it cannot tell, and then the formula has to do."""
    runner = None
    try:
        with anyio.move_on_after(_PATIENCE):
            runner = await spawn()
            return await runner.foretell(need.model.files, claim.options)
    except PowerError as error:
        log.info("engine cannot tell what the model will take", model=need.model.name, reason=error)
    finally:
        if runner is not None:
            with anyio.CancelScope(shield=True):
                runner.kill()
                await runner.stop()
    return None
