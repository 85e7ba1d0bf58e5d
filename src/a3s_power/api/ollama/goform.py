"""JSON answers written as Go writes them: escapes, numbers, times, and what an error looks like."""

import math
import operator
import struct
import time
from array import array
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
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


def float64(value: float) -> bytes:
    """The shortest text that reads back as this 64-bit number."""
    return _as_go(repr(float(value))).encode()


def float32s(values: Sequence[float]) -> bytes:
    """A list of numbers, each the shortest text that reads back as the same 32-bit number."""
    exact = array("f", values)
    texts = _digits(exact, 8)
    for index in _where(texts, exact, agrees=False):
        texts[index] = f"{exact[index]:.9g}"
    # Seven digits are enough for two of five, six for few of those.
    seven = _digits(exact, 7)
    fewer = _where(seven, exact)
    for index in fewer:
        texts[index] = seven[index]
    left = array("f", [exact[index] for index in fewer])
    for place in _where(_digits(left, 6), left):
        texts[fewer[place]] = _shortest(left[place], seven[fewer[place]])
    joined = ",".join(texts)
    if "e" in joined:
        joined = ",".join([_as_go(text) if "e" in text else text for text in texts])
    return f"[{joined}]".encode()


def _digits(values: Sequence[float], count: int) -> list[str]:
    """All of them with so many digits, by one call: a vector has hundreds."""
    return (f"%.{count}g " * len(values) % tuple(values)).split()


def _where(texts: Iterable[str], exact: "array[float]", *, agrees: bool = True) -> list[int]:
    """The places of the texts that read back as the number, or of the others."""
    same = map(operator.eq, array("f", map(float, texts)), exact)
    return [place for place, each in enumerate(same) if each is agrees]


def _shortest(value: float, seven_digits: str) -> str:
    """Where six digits are enough, fewer may be, and what is left out need not even be zeros then."""
    shorter = (f"{value:.{digits}g}" for digits in range(1, 7))
    return next((text for text in shorter if _is_float32(float(text), value)), seven_digits)


def _is_float32(written: float, value: float) -> bool:
    try:
        return bool(struct.unpack("<f", struct.pack("<f", written))[0] == value)
    except OverflowError:
        return False


def _as_go(text: str) -> str:
    """Python's shortest number in Go's form: no `.0`, an exponent only below 1e-6 and from 1e21 on."""
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text.removesuffix(".0")
    digits, power = mantissa.replace(".", ""), int(exponent)
    sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
    digits = digits.rstrip("0") or "0"
    if -6 <= power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    if 0 <= power < 21:
        whole = digits.ljust(power + 1, "0")
        return sign + whole[: power + 1] + (f".{whole[power + 1 :]}" if len(whole) > power + 1 else "")
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{power:+d}"


def with_go_floats(value: Any) -> Any:  # noqa: ANN401 -- any JSON value
    """The value with its floats written as Go writes those of model files, which are of 32 bits."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case float():
            return msgspec.Raw(float32s([value])[1:-1] if _is_float32(value, value) else float64(value))
        case dict():
            return {key: with_go_floats(each) for key, each in value.items()}
        case list() | tuple():
            return [with_go_floats(each) for each in value]
    return value
