"""What Ollama's clients ask of its cloud and of the server itself: there is no cloud here, and nobody is signed in."""

from starlette.responses import PlainTextResponse, Response

from a3s_power.api.bodies import read_body
from a3s_power.api.endpoint import Call, Handler
from a3s_power.api.ollama.goform import answer
from a3s_power.core import limits
from a3s_power.core.errors import BadRequest, NotAllowed


async def running(_call: Call) -> Response:
    """What Ollama says at its root; clients look for it."""
    return PlainTextResponse("Ollama is running")


async def version(call: Call) -> Response:
    """The version clients go by."""
    return answer({"version": call.settings.ollama_version})


async def status(call: Call) -> Response:
    """That the cloud is switched off, and where that is written."""
    return answer({"cloud": {"disabled": True, "source": call.settings.cloud_source}})


async def recommendations(_call: Call) -> Response:
    """Models to recommend: none."""
    return answer({"recommendations": []})


async def me(_call: Call) -> Response:
    """No account."""
    return answer({"error": "account unavailable"}, status=503)


async def sign_out(_call: Call) -> Response:
    """Nobody was signed in."""
    return answer({"error": "you are not currently signed in"}, status=401)


def web(what: str) -> Handler:
    """A handler for a service of the cloud, which is refused."""

    async def refuse(call: Call) -> Response:
        if not (await read_body(call, limits.OTHER_BODY_BYTES)).strip():
            raise BadRequest("missing request body")
        raise NotAllowed(f"ollama cloud is disabled: {what} is unavailable")

    return refuse
