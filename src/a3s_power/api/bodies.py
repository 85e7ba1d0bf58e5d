"""Request bodies: read under a limit, and looked at for what would cost too much before anybody decodes them."""

import asyncio
import re
from collections.abc import AsyncIterator, Container, Iterator
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from a3s_power.core import limits
from a3s_power.core.errors import BadRequest, CompressedBody, TooLarge

IDLE_SECONDS: Final = 30.0
"""How long a client may take for its next bytes."""

_BLOCK_BYTES: Final = 64 * 1024
_PIECE_BYTES: Final = limits.MIB
_LONG_NUMBER: Final = re.compile(rb"[-+.eE0-9]{%d}" % (limits.JSON_NUMBER_CHARACTERS + 1))
_STRIDE: Final = limits.JSON_NUMBER_CHARACTERS // 8
"""A number over the limit has at most three runs of digits, so one of them covers two neighbouring samples at least."""
_ALL_BUT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_LEVELS_AT_ONCE: Final = 4
_PAIR: Final = re.compile(rb"(?=[0-9][0-9])")
_RUN: Final = re.compile(rb"[0-9]{%d}" % _STRIDE)


async def read_body(request: Request, limit: int, *, packed: Container[str] = ()) -> bytes:
    """The whole body, as it was sent.

    Raises:
        TooLarge: over `limit` bytes, told before more than that was read.
        CompressedBody: a body with a Content-Encoding that is not in `packed`.
        BadRequest: the client stopped sending.
    """
    pieces = [piece async for piece in chunks(request, limit, packed=packed)]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def chunks(request: Request, limit: int | None, *, packed: Container[str] = ()) -> AsyncIterator[bytes]:
    """The body as it comes in; raises as `read_body` does. Without a limit it may be of any size."""
    _check_headers(request, limit, packed)
    size, more = 0, True
    while more:
        message = await _next(request)
        piece = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(piece)
        if limit is not None and size > limit:
            raise _too_large(limit)
        if piece:
            yield piece


async def joined(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in fewer pieces, of a MiB or more: for whoever hands each of them to a thread."""
    held: list[bytes] = []
    size = 0
    async for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _PIECE_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def encoding(request: Request) -> str:
    """How the body is packed; empty when it is not."""
    named = request.headers.get("content-encoding", "").strip().lower()
    return "" if named == "identity" else named


def _check_headers(request: Request, limit: int | None, packed: Container[str]) -> None:
    named = encoding(request)
    if named and named not in packed:
        raise CompressedBody("compressed request bodies are not supported: send the body without Content-Encoding")
    length = request.headers.get("content-length", "")
    if limit is not None and length.isdecimal() and (len(length) > 18 or int(length) > limit):
        raise _too_large(limit)


async def _next(request: Request) -> Message:
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            message = await request.receive()
    except TimeoutError:
        raise BadRequest(f"request body stopped for more than {IDLE_SECONDS:.0f} seconds") from None
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"request body too large: the limit is {limit // limits.MIB} MiB")


def check_json(body: bytes) -> None:
    """Refuse JSON that is nested too deep, has too many values, or a number of too many characters.

    Costs next to nothing for a body that is far from every limit. Malformed JSON passes; its decoder will say so.

    Raises:
        BadRequest: with the limit that was hit.
    """
    openings = body.count(b"[") + body.count(b"{")
    wide = len(body) > limits.JSON_NODES and openings + body.count(b",") > limits.JSON_NODES
    if openings > limits.JSON_DEPTH or wide or _has_long_digits(body):
        _check_structure(body)


def _has_long_digits(body: bytes) -> bool:
    samples = body[::_STRIDE]
    return any(_RUN.match(body, pair.start() * _STRIDE) for pair in _PAIR.finditer(samples))


def _check_structure(body: bytes) -> None:
    """The same without the strings of the JSON, which may hold what looks like values."""
    values, brackets, before = 0, [], b""
    for bare in _without_strings(body):
        values += bare.count(b",") + bare.count(b"[") + bare.count(b"{") + bare.count(b'"') // 4
        if values > limits.JSON_NODES:
            raise BadRequest(f"request body has more than {limits.JSON_NODES} values")
        if _LONG_NUMBER.search(before + bare):
            raise BadRequest(f"request body has a number of more than {limits.JSON_NUMBER_CHARACTERS} characters")
        before = (before + bare)[-limits.JSON_NUMBER_CHARACTERS :]
        brackets.append(bare.translate(None, _ALL_BUT_BRACKETS))
    if _nested_too_deep(b"".join(brackets)):
        raise BadRequest(f"request body is nested deeper than {limits.JSON_DEPTH} levels")


def _without_strings(body: bytes) -> Iterator[bytes]:
    """The text with every string emptied, a block at a time: most bodies that are refused are refused early."""
    if b"\\" in body:
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    inside = 0
    for start in range(0, len(body), _BLOCK_BYTES):
        parts = body[start : start + _BLOCK_BYTES].split(b'"')
        yield b'""'.join(parts[inside::2])
        inside ^= (len(parts) - 1) % 2


def _nested_too_deep(brackets: bytes) -> bool:
    """Takes the innermost levels off all at once, which leaves little of wide JSON, and counts through the rest."""
    for _ in range(_LEVELS_AT_ONCE):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    depth = _LEVELS_AT_ONCE if brackets else 0
    for bracket in brackets:
        depth += 1 if bracket in b"[{" else -1
        if depth > limits.JSON_DEPTH:
            return True
    return False
