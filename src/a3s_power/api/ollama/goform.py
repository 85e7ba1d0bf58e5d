"""JSON answers written as Go writes them: escapes, times, and what an error looks like."""

import time
from datetime import UTC, datetime
from typing import Final

from starlette.responses import Response

from a3s_power.core.errors import PowerError, PromptTooLong
from a3s_power.core.manifest import go_json

JSON: Final = "application/json"
JSON_UTF8: Final = "application/json; charset=utf-8"
NDJSON: Final = "application/x-ndjson"

_HEADERS: Final = {413: {"Connection": "close"}, 503: {"Retry-After": "1"}}
"""The rest of a body that is too large is not read, so the connection cannot be used again."""

_NEXT_LINE: Final = "\x85".encode()
_ESCAPES: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def answer(value: object, *, status: int = 200, media_type: str = JSON_UTF8) -> Response:
    """A whole JSON answer."""
    return Response(go_json(value), status, media_type=media_type)


def refusal(error: PowerError, *, status: int | None = None, media_type: str = JSON_UTF8) -> Response:
    """An error as a whole answer, with its own status unless another is given.

    Ollama's sentences on prompts that are too long have no numbers in them, so these are told in headers.
    """
    status = error.status if status is None else status
    headers = _HEADERS.get(status, {})
    if isinstance(error, PromptTooLong) and error.limit:
        headers = headers | {"X-Prompt-Tokens": str(error.tokens), "X-Context-Length": str(error.limit)}
    return Response(go_json({"error": error.message}), status, media_type=media_type, headers=headers)


def error_line(error: PowerError) -> bytes:
    """An error as the last line of a stream that has begun."""
    return in_line({"error": error.message}) + b"\n"


def in_line(value: object) -> bytes:
    """JSON for a line of a stream; the sign at which Python's clients end a line, and Go's do not, is escaped, too."""
    return go_json(value).replace(_NEXT_LINE, b"\\u0085")


def quoted(text: str) -> str:
    """A text as Go's `%q` writes it."""
    return f'"{"".join(_ESCAPES.get(character) or _printable(character) for character in text)}"'


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x80 else f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


class Clock:
    """Says the time as `created_at` shows it; keeps the second it said last, since many answers fall into one."""

    def __init__(self) -> None:
        self._second = 0
        self._text = b""

    def now(self) -> bytes:
        """RFC 3339 in UTC with up to nine digits of a second, trailing zeros dropped."""
        second, rest = divmod(time.time_ns(), 10**9)
        if second != self._second:
            self._second, self._text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return (b"%b.%09d" % (self._text, rest)).rstrip(b"0").rstrip(b".") + b"Z"


def now() -> str:
    """The time as `created_at` of a single answer shows it."""
    return Clock().now().decode()


def local_time(moment: datetime) -> str:
    """RFC 3339 in this machine's time zone."""
    local = moment.astimezone()
    text = local.replace(tzinfo=None, microsecond=0).isoformat()
    fraction = f".{local.microsecond:06d}".rstrip("0").rstrip(".")
    offset = local.strftime("%z")
    return f"{text}{fraction}{'Z' if offset in ('+0000', '') else f'{offset[:3]}:{offset[3:5]}'}"


def after_nanoseconds(nanoseconds: int) -> datetime:
    """The moment so long after now."""
    return datetime.fromtimestamp(time.time() + nanoseconds / 10**9, UTC)
