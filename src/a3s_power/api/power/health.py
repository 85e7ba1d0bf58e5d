"""`GET /health`: whether the server answers, since when, with how many models in memory, and what it lacks."""

from starlette.responses import Response

from a3s_power.api.endpoint import Call
from a3s_power.api.ollama.goform import answer


async def health(call: Call) -> Response:
    """That the server is well, or answers and cannot do all that it could."""
    status = call.service.status
    facts = {"uptime_seconds": int(status.uptime_seconds()), "loaded_models": len(status.loaded())}
    reasons = status.degraded()
    state = {"status": "degraded" if reasons else "ok", "version": call.settings.version}
    return answer(state | facts | ({"degraded": reasons} if reasons else {}))
