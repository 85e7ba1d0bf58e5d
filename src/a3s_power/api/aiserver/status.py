"""`GET /status`: the engines, what is in memory, what could not be and until when, and the settings in force."""

from typing import Any

from starlette.responses import Response

from a3s_power.api.aiserver.answers import answer, moment
from a3s_power.api.aiserver.chat import seconds_left
from a3s_power.api.aiserver.models import backend
from a3s_power.api.endpoint import Call
from a3s_power.core.model import EngineState, FailedLoad, Resident


async def status(call: Call) -> Response:
    """How the server is."""
    told = call.service.status
    cooldown = call.settings.load_cooldown
    return answer(
        {
            "status": "ok",
            "version": call.settings.version,
            "uptime_seconds": int(told.uptime_seconds()),
            "engines": [_engine(engine) for engine in told.engines()],
            "loaded_models": [_loaded(resident) for resident in told.loaded()],
            "failed_loads": [_failed(failed, cooldown) for failed in told.failed()],
            "configuration": call.settings.configuration,
        }
    )


def _engine(engine: EngineState) -> dict[str, Any]:
    here = bool(engine.version)
    return {
        "name": engine.name,
        "formats": engine.formats,
        "library": engine.library,
        "version": engine.version,
        "usable": here,
        "note": "" if here else f"{engine.library} is not installed",
    }


def _loaded(resident: Resident) -> dict[str, Any]:
    return {
        "model": resident.model.name.short,
        "backend": backend(resident.model.config),
        "memory_bytes": resident.memory_bytes,
        "gpu_bytes": resident.gpu_bytes,
        "context_length": resident.context_length,
        "load_duration": resident.load_ns,
        "weights": resident.model.weights.hex,
        "engine": resident.engine,
        "load_options": resident.options,
        "expires_at": moment(resident.expires) if resident.expires else None,
    }


def _failed(failed: FailedLoad, cooldown: float) -> dict[str, Any]:
    return {
        "model": failed.model.short,
        "error": failed.error.message,
        "failed_at": moment(failed.moment),
        "cooldown_seconds": round(seconds_left(failed, cooldown), 1),
    }
