"""What requests are read alike in every dialect: the body, options, the model's name, files in base64."""

import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from a3s_power.aio import in_thread
from a3s_power.api.bodies import check_json, encoding, read_body
from a3s_power.api.endpoint import Call
from a3s_power.core import limits
from a3s_power.core.durations import keep_alive
from a3s_power.core.errors import BadRequest, NotAllowed
from a3s_power.core.names import ModelName, Reference
from a3s_power.core.options import Asked

T = TypeVar("T")

Unpackers = Mapping[str, Callable[[bytes], bytes]]
"""What unpacks a body, by its Content-Encoding; raises BadRequest and TooLarge."""

_LARGE_BYTES: Final = 256 * 1024
"""A body over this is decoded in a thread, so that others need not wait."""

_BASE64: Final = re.compile(rb"[A-Za-z0-9+/\r\n]*+")
_PADDING: Final = {2: re.compile(rb"=[\r\n]*=[\r\n]*"), 3: re.compile(rb"=[\r\n]*")}
_NO_CLOUD: Final = "ollama cloud is disabled: remote model is unavailable"


async def decoded(call: Call, decode: Callable[[bytes], T], limit: int, unpackers: Unpackers | None = None) -> T:
    """What `decode` makes of a request's body, unpacked where there is somebody who can.

    Raises:
        TooLarge: over `limit` bytes.
        CompressedBody: packed in a way that nobody here unpacks.
        BadRequest: over another limit, or what `decode` raises.
    """
    ways = unpackers or {}
    body = await read_body(call, limit, packed=ways)
    if (unpack := ways.get(encoding(call))) is not None:
        return await in_thread(lambda: _checked(unpack(body), decode))
    if len(body) > _LARGE_BYTES:
        return await in_thread(_checked, body, decode)
    return _checked(body, decode)


def reader(kind: type[T]) -> Callable[[bytes], T]:
    """Reads JSON into a `kind`; raises BadRequest with what is wrong with it, in the decoder's words."""
    decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def read(body: bytes) -> T:
        try:
            return decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRequest(f"invalid request body: {error}") from None

    return read


def _checked(body: bytes, decode: Callable[[bytes], T]) -> T:
    check_json(body)
    return decode(body)


def file(text: str) -> bytes:
    """A file (an image, mostly) sent as base64. Raises BadRequest, in Go's words, for a text that is none."""
    if len(text) > limits.IMAGE_BYTES:
        raise BadRequest(f"image too large: the limit is {limits.IMAGE_BYTES // limits.MIB} MiB of base64")
    try:
        return binascii.a2b_base64(text.replace("\r", "").replace("\n", ""), strict_mode=True)
    except ValueError:
        raise BadRequest(f"illegal base64 data at input byte {_illegal_byte(text.encode())}") from None


def _illegal_byte(text: bytes) -> int:
    """Where Go's decoder gives up: at the first byte that cannot be, or where a last group without padding begins."""
    good = _BASE64.match(text)
    end = good.end() if good else 0
    group = sum(byte not in b"\r\n" for byte in text[:end]) % 4
    if end == len(text):
        return end - group
    if text[end] != ord("=") or group < 2:
        return end
    padding = _PADDING[group].match(text, end)
    if padding is not None:
        return padding.end()
    second = end + 1 + len(text[end + 1 :]) - len(text[end + 1 :].lstrip(b"\r\n"))
    return len(text) if second == len(text) else second - 1


def few(what: str, count: int, most: int) -> None:
    """Raise BadRequest for more of something than a request may have."""
    if count > most:
        raise BadRequest(f"too many {what}: the limit is {most}")


def stays(value: object) -> float | None:
    """Seconds of the request's `keep_alive`, `None` when it has none. Raises BadRequest for what is no duration."""
    return None if value is None else keep_alive(value)


def options(values: Mapping[str, Any]) -> Asked:
    """The request's options. Raises BadRequest for more stop texts than are allowed, or longer ones."""
    stops = values.get("stop")
    if isinstance(stops, list | tuple):
        few("stop strings", len(stops), limits.STOPS)
        if any(isinstance(stop, str) and len(stop.encode()) > limits.STOP_BYTES for stop in stops):
            raise BadRequest(f"stop string too long: the limit is {limits.STOP_BYTES} bytes")
    return Asked.read(values)


def local_name(text: str, when_cloud: str = _NO_CLOUD) -> ModelName:
    """The model of this machine that a request names.

    Raises:
        InvalidName: it is no name.
        BadRequest: it asks for the cloud and for this machine.
        NotAllowed: it asks for the cloud.
    """
    reference = Reference.parse(text)
    if reference.source == "cloud":
        raise NotAllowed(when_cloud)
    return reference.name
