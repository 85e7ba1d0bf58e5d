"""`GET /metrics`: the server's numbers, for Prometheus."""

from starlette.responses import Response

from a3s_power.api.endpoint import Call
from a3s_power.telemetry.metrics import MEDIA_TYPE, exposition


async def metrics(call: Call) -> Response:
    """All of them, as they are now."""
    return Response(exposition(call.service.status.metrics()), headers={"content-type": MEDIA_TYPE})
