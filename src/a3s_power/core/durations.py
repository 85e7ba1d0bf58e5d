"""Go durations and keep-alive: read, and print as Go does."""

import math
import re
from typing import Final

from a3s_power.core.errors import BadRequest, InvalidDuration

NEVER: Final = math.inf
"""The keep-alive of a model that stays, in seconds."""

_NANOSECONDS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,  # both signs that look alike
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_TERM = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")
_LONGEST: Final = 2**63 - 1
_DIGITS: Final = 19
"""More digits than any duration has; Go gives up on longer numbers, and drops the rest of a longer fraction."""


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration such as `1h30m`, `-1.5s`, `300ms` or `0` (time.ParseDuration).

    Raises:
        InvalidDuration: in Go's words.
    """
    negative, rest = text.startswith("-"), text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    if not rest:
        raise InvalidDuration(f"time: invalid duration {_quoted(text)}")
    total = sum(_terms(rest, text))
    if total > _LONGEST + negative:
        raise InvalidDuration(f"time: invalid duration {_quoted(text)}")
    return -total if negative else total


def _terms(rest: str, text: str) -> list[int]:
    terms, at = [], 0
    while at < len(rest):
        term = _TERM.match(rest, at)
        if term is None or not (term[1] or term[2]):
            raise InvalidDuration(f"time: invalid duration {_quoted(text)}")
        if not term[3]:
            raise InvalidDuration(f"time: missing unit in duration {_quoted(text)}")
        if term[3] not in _NANOSECONDS:
            raise InvalidDuration(f"time: unknown unit {_quoted(term[3])} in duration {_quoted(text)}")
        if len(term[1].lstrip("0")) > _DIGITS:
            raise InvalidDuration(f"time: invalid duration {_quoted(text)}")
        scale, fraction = _NANOSECONDS[term[3]], (term[2] or "")[:_DIGITS]
        # Go computes the fraction in floating point, so that 0.3333333333333333333h is twenty minutes.
        terms.append(int(term[1] or 0) * scale + int(int(fraction or 0) * (scale / 10 ** len(fraction))))
        at = term.end()
    return terms


def _quoted(text: str) -> str:
    """As Go's time package quotes: only quotes, backslashes, control and non-ASCII characters are escaped."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if " " <= character <= "~":
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "replace"))


def format_duration(nanoseconds: int) -> str:
    """A duration as Go prints it: `0s`, `1.5µs`, `1m1.2s`, `100h0m0s`."""
    if nanoseconds < 0:
        return f"-{format_duration(-nanoseconds)}"
    if nanoseconds < 10**9:
        for unit, scale in (("ms", 10**6), ("µs", 10**3), ("ns", 1)):
            if nanoseconds >= scale:
                return f"{_decimal(nanoseconds, scale)}{unit}"
        return "0s"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_decimal(rest, 10**9)}s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _decimal(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    digits = f"{rest:0{len(str(scale)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)


def keep_alive(value: object) -> float:
    """Seconds of a request's `keep_alive`: a number of seconds or a Go duration; a negative one is `NEVER`.

    Raises:
        BadRequest: a value of another type, in Go's words.
        InvalidDuration: a text that is no duration.
    """
    match value:
        case bool():
            raise BadRequest("Unsupported type: 'bool'")
        case int():
            seconds = float(max(-_LONGEST, min(_LONGEST, value)))
        case float():
            seconds = value
        case str():
            seconds = parse_duration(value) / 10**9
        case list():
            raise BadRequest("Unsupported type: '[]interface {}'")
        case _:
            raise BadRequest("Unsupported type: 'map[string]interface {}'")
    return NEVER if seconds < 0 or seconds > _LONGEST / 10**9 else seconds


def keep_alive_setting(text: str) -> float:
    """Seconds of `OLLAMA_KEEP_ALIVE` and its like: a Go duration or whole seconds; a negative one is `NEVER`.

    Raises:
        InvalidDuration: neither of the two.
    """
    if re.fullmatch(r"[-+]?[0-9]{1,19}", text):
        return keep_alive(int(text))
    return keep_alive(text)
