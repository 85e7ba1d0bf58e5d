"""`/api/blobs/{digest}`: content under its digest; HEAD and POST are Ollama's, GET and DELETE ours."""

import http.client
import re
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
_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})", re.IGNORECASE)


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
    """The content, or the one range of it that is asked for, so that a transfer that broke can go on."""
    size, content = await call.service.blobs.open(_digest(call))
    headers = {"X-Content-Type-Options": "nosniff", "Accept-Ranges": "bytes"}
    first, end, status = _wanted(call.headers.get("range", ""), size)
    if status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
        content.close()
        return Response(status_code=status, headers={**headers, "Content-Range": f"bytes */{size}"})
    if status == http.client.PARTIAL_CONTENT:
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
    content.seek(first)
    return StreamingResponse(
        _pieces(content, end - first),
        status_code=status,
        headers={**headers, "Content-Length": str(end - first)},
        media_type="application/octet-stream",
    )


async def remove(call: Call) -> Response:
    """Remove a blob that no model refers to."""
    await call.service.blobs.remove(_digest(call))
    return Response()


def _digest(call: Call) -> Digest:
    return Digest.parse(call.path_params["digest"])


def _length(call: Call) -> int | None:
    text = call.headers.get("content-length", "")
    return int(text) if text.isdecimal() else None


def _wanted(text: str, size: int) -> tuple[int, int, int]:
    """First byte, the one after the last, and the status, by RFC 9110, 14.2; what is no single range asks for all."""
    form = _RANGE.fullmatch(text.strip())
    if form is None or not (form[1] or form[2]) or (form[1] and form[2] and int(form[1]) > int(form[2])):
        return 0, size, http.client.OK
    if form[1]:
        first, end = int(form[1]), min(int(form[2]) + 1, size) if form[2] else size
    else:
        first, end = max(0, size - int(form[2])), size
    if first >= end:
        return 0, 0, http.client.REQUESTED_RANGE_NOT_SATISFIABLE
    return first, end, http.client.PARTIAL_CONTENT


async def _pieces(content: BinaryIO, left: int) -> AsyncIterator[bytes]:
    try:
        while piece := await in_thread(content.read, min(_PIECE_BYTES, left)):
            left -= len(piece)
            yield piece
    finally:
        content.close()
