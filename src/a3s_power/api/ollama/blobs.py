"""`/api/blobs/{digest}`: content under its digest; HEAD and POST are Ollama's, GET and DELETE ours."""

from collections.abc import AsyncIterator
from typing import BinaryIO, Final

from starlette.responses import Response, StreamingResponse

from a3s_power.aio import in_thread
from a3s_power.api.bodies import chunks, joined
from a3s_power.api.endpoint import Call
from a3s_power.core import limits
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BlobNotFound

_PIECE_BYTES: Final = limits.MIB


async def has(call: Call) -> Response:
    """Whether the blob is there."""
    digest = _digest(call)
    if not await call.service.blobs.has(digest):
        raise BlobNotFound(digest)
    return Response()


async def upload(call: Call) -> Response:
    """Store the body under its digest; one that is there already is not read."""
    digest = _digest(call)
    if await call.service.blobs.has(digest):
        return Response()
    async with call.service.blobs.upload(digest, _length(call)) as blob:
        async for piece in joined(chunks(call, None)):
            await blob.write(piece)
    return Response(status_code=201)


async def download(call: Call) -> Response:
    """The content."""
    size, content = await call.service.blobs.open(_digest(call))
    headers = {"Content-Length": str(size), "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(_pieces(content), headers=headers, media_type="application/octet-stream")


async def remove(call: Call) -> Response:
    """Remove a blob that no model refers to."""
    await call.service.blobs.remove(_digest(call))
    return Response()


def _digest(call: Call) -> Digest:
    return Digest.parse(call.path_params["digest"])


def _length(call: Call) -> int | None:
    text = call.headers.get("content-length", "")
    return int(text) if text.isdecimal() else None


async def _pieces(content: BinaryIO) -> AsyncIterator[bytes]:
    try:
        while piece := await in_thread(content.read, _PIECE_BYTES):
            yield piece
    finally:
        content.close()
