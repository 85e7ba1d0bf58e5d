"""`GET /api/export` and `POST /api/import`: a model as one file, out of this server and into another."""

from typing import Final

from starlette.responses import Response, StreamingResponse

from a3s_power.api.asked import local_name
from a3s_power.api.bodies import chunks, joined
from a3s_power.api.endpoint import Call
from a3s_power.api.ollama.goform import answer
from a3s_power.core.errors import BadRequest

_TRUTHS: Final = {"": True, "true": True, "false": False}


async def export(call: Call) -> Response:
    """The archive of the model that `?model=` names; with `&blobs=false` only its manifest is in it."""
    text, blobs = call.query_params.get("model", ""), _TRUTHS.get(call.query_params.get("blobs", ""))
    if not text:
        raise BadRequest("model is required")
    if blobs is None:
        raise BadRequest("blobs must be true or false")
    name = local_name(text)
    size, content = await call.service.archives.pack(name, blobs=blobs)
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f'attachment; filename="{name.model}-{name.tag}.tar"',
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(content, headers=headers, media_type="application/x-tar")


async def import_(call: Call) -> Response:
    """Put in the model whose archive the body is."""
    name = await call.service.archives.unpack(joined(chunks(call, None)))
    return answer({"status": "success", "model": name.short})
