"""`GET /health`: whether the server answers, since when, and with how many models in memory."""

from starlette.responses import Response

from a3s_power.api.endpoint import Call
from a3s_power.api.ollama.goform import answer


async def health(call: Call) -> Response:
    """That the server is well."""
    status = call.service.status
    facts = {"uptime_seconds": int(status.uptime_seconds()), "loaded_models": len(status.loaded())}
    return answer({"status": "ok", "version": call.settings.version} | facts)
