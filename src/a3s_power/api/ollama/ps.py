"""`GET /api/ps`: the models in memory."""

import msgspec
from starlette.responses import Response

from a3s_power.api.endpoint import Call
from a3s_power.api.ollama.goform import after_nanoseconds, answer, local_time
from a3s_power.api.ollama.models import Details
from a3s_power.core.model import Resident

_FOREVER_NS = 2**63 - 1
"""Ollama's longest duration, 292 years: what a model that stays has left."""


async def ps(call: Call) -> Response:
    """The models in memory, the one that stays longest first."""
    return answer({"models": [Process.of(resident) for resident in call.service.status.loaded()]})


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the list; every key is always there, but the last two for what was not loaded as asked only."""

    name: str
    model: str
    size: int
    digest: str
    details: Details
    expires_at: str
    size_vram: int
    context_length: int
    placement: str | msgspec.UnsetType = msgspec.UNSET
    reason: str | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def of(cls, resident: Resident) -> "Process":
        """The entry of a model."""
        model = resident.model
        return cls(
            name=model.name.short,
            model=model.name.short,
            size=resident.memory_bytes,
            digest=model.digest.hex,
            details=Details.of(model.config),
            expires_at=local_time(resident.expires or after_nanoseconds(_FOREVER_NS)),
            size_vram=resident.gpu_bytes,
            context_length=resident.context_length,
            placement=resident.placement if resident.reason else msgspec.UNSET,
            reason=resident.reason or msgspec.UNSET,
        )
