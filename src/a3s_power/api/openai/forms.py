"""Bodies of `multipart/form-data` (RFC 7578): fields and files, whole in memory."""

import re
from typing import Final

import msgspec

from a3s_power.api.bodies import read_body
from a3s_power.api.endpoint import Call
from a3s_power.core.errors import BadRequest

_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"]{1,200})"|([^\s";,]{1,200}))', re.IGNORECASE)
_DISPOSITION: Final = re.compile(rb"content-disposition:\s*form-data;([^\r\n]*)", re.IGNORECASE)
_NAME: Final = re.compile(rb'(?<![a-z])name="([^"]*)"', re.IGNORECASE)
_FILE_NAME: Final = re.compile(rb"filename\*?=", re.IGNORECASE)
_PARTS: Final = 64


class Sent(msgspec.Struct, frozen=True):
    """What a form holds, the first of each name."""

    fields: dict[str, str]
    files: dict[str, bytes]


async def read_form(call: Call, limit: int) -> Sent:
    """The form of a request.

    Raises:
        TooLarge: over `limit` bytes.
        BadRequest: no form, or one that does not end.
    """
    body = await read_body(call, limit)
    return parse(body, call.headers.get("content-type", ""))


def parse(body: bytes, content_type: str) -> Sent:
    """The form that a body holds. Raises BadRequest, in Go's words where it has any."""
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        raise _wrong("request Content-Type isn't multipart/form-data")
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise _wrong("no multipart boundary param in Content-Type")
    delimiter = b"\r\n--" + (found[1] or found[2]).encode("latin-1")
    _, *parts = (b"\r\n" + body).split(delimiter, _PARTS + 1)
    sent = Sent({}, {})
    for part in parts:
        if part.startswith(b"--"):
            return sent
        _keep(part, sent)
    raise _wrong("multipart: NextPart: EOF" if len(parts) <= _PARTS else f"more than {_PARTS} parts")


def _keep(part: bytes, sent: Sent) -> None:
    head, ended, content = part.partition(b"\r\n\r\n")
    disposition = _DISPOSITION.search(head)
    name = _NAME.search(disposition[1]) if disposition else None
    if not ended or disposition is None or name is None:
        raise _wrong("a part has no name")
    key = name[1].decode("utf-8", "replace")
    if _FILE_NAME.search(disposition[1]):
        sent.files.setdefault(key, content)
    else:
        sent.fields.setdefault(key, content.decode("utf-8", "replace"))


def _wrong(why: str) -> BadRequest:
    return BadRequest(f"failed to parse multipart form: {why}")
