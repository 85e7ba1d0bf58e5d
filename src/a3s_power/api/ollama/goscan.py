"""What Go's JSON scanner says of malformed text, and where the first value of a text ends."""

import re
from typing import Final

from a3s_power.core.errors import BadRequest

_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_STRING: Final = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+')
_UNFINISHED_ESCAPE: Final = re.compile(rb"\\u[0-9a-fA-F]{0,3}")
_NUMBER_PARTS: Final = (
    (re.compile(rb"-?"), re.compile(rb"0|[1-9][0-9]*+"), "in numeric literal"),
    (re.compile(rb"\."), re.compile(rb"[0-9]++"), "after decimal point in numeric literal"),
    (re.compile(rb"[eE][-+]?"), re.compile(rb"[0-9]++"), "in exponent of numeric literal"),
)
_LITERALS: Final = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}

_VALUE: Final = "looking for beginning of value"
_KEY: Final = "looking for beginning of object key string"


def first_value_end(text: bytes) -> int:
    """Where the first JSON value of `text` ends; what follows it does not matter.

    Raises:
        BadRequest: no whole value, in the words of Go's decoder.
    """
    closers: list[int] = []
    at = _value(text, _skip(text, 0), closers)
    while closers:
        at = _after_value(text, _skip(text, at), closers)
    return at


def _value(text: bytes, at: int, closers: list[int]) -> int:
    """Past a scalar, or past the opening of a container, whose closing byte is then the last of `closers`."""
    match _byte(text, at):
        case 0x7B:  # {
            closers.append(ord("}"))
            at = _skip(text, at + 1)
            return at if _byte(text, at) == ord("}") else _pair(text, at, closers)
        case 0x5B:  # [
            closers.append(ord("]"))
            at = _skip(text, at + 1)
            return at if _byte(text, at) == ord("]") else _value(text, at, closers)
        case 0x22:  # "
            return _string(text, at)
        case start if start in _LITERALS:
            return _literal(text, at, _LITERALS[start])
        case start if start in b"-0123456789":
            return _number(text, at)
    raise _complaint(text, at, _VALUE)


def _after_value(text: bytes, at: int, closers: list[int]) -> int:
    """Past what may follow a value inside the innermost container: its end, or a comma and the next value."""
    found, closer = _byte(text, at), closers[-1]
    if found == closer:
        closers.pop()
        return at + 1
    in_object = closer == ord("}")
    if found != ord(","):
        raise _complaint(text, at, "after object key:value pair" if in_object else "after array element")
    at = _skip(text, at + 1)
    return _pair(text, at, closers) if in_object else _value(text, at, closers)


def _pair(text: bytes, at: int, closers: list[int]) -> int:
    if _byte(text, at) != ord('"'):
        raise _complaint(text, at, _KEY)
    at = _skip(text, _string(text, at))
    if _byte(text, at) != ord(":"):
        raise _complaint(text, at, "after object key")
    return _value(text, _skip(text, at + 1), closers)


def _string(text: bytes, at: int) -> int:
    good = _STRING.match(text, at)
    end = good.end() if good else at
    match _byte(text, end):
        case 0x22:  # "
            return end + 1
        case 0x5C:  # \
            escape = _UNFINISHED_ESCAPE.match(text, end)
            if escape is None:
                raise _complaint(text, end + 1, "in string escape code")
            raise _complaint(text, escape.end(), "in \\u hexadecimal character escape")
    raise _complaint(text, end, "in string literal")


def _number(text: bytes, at: int) -> int:
    for opening, digits, where in _NUMBER_PARTS:
        if (opened := opening.match(text, at)) is None:
            continue
        if (whole := digits.match(text, opened.end())) is None:
            raise _complaint(text, opened.end(), where)
        at = whole.end()
    return at


def _literal(text: bytes, at: int, word: bytes) -> int:
    for offset in range(1, len(word)):
        if _byte(text, at + offset) != word[offset]:
            raise _complaint(text, at + offset, f"in literal {word.decode()} (expecting {_quoted(word[offset])})")
    return at + len(word)


def _skip(text: bytes, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _byte(text: bytes, at: int) -> int:
    if at >= len(text):
        raise BadRequest("unexpected EOF")
    return text[at]


def _complaint(text: bytes, at: int, where: str) -> BadRequest:
    return BadRequest(f"invalid character {_quoted(_byte(text, at))} {where}")


def _quoted(byte: int) -> str:
    """A byte as Go quotes a character: in single quotes, escaped where it does not print."""
    character = chr(byte)
    match character:
        case "'":
            return r"'\''"
        case "\\":
            return r"'\\'"
        case _ if character.isprintable():
            return f"'{character}'"
    short = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r"}.get(byte)
    if short is not None:
        return f"'\\{short}'"
    return f"'\\x{byte:02x}'" if byte < 0x80 else f"'\\u{byte:04x}'"
