"""`/v1/images/*`: pictures, which no model here makes; refused before anything of the body is read."""

from starlette.responses import Response

from a3s_power.api.endpoint import Call
from a3s_power.api.openai.errors import refusal
from a3s_power.core.errors import NotSupported


async def images(call: Call) -> Response:  # noqa: ARG001 -- the request does not matter
    """A refusal. Since nobody reads the body, the connection cannot be used again."""
    response = refusal(NotSupported("image generation models are not currently supported"))
    response.headers["Connection"] = "close"
    return response
