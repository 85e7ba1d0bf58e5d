"""Numbers as Go writes them: the fewest digits that read back as the same number of 32 or of 64 bits."""

import math
import struct
import sys
from array import array
from collections.abc import Sequence
from typing import Any, Final

import msgspec

_UNIT: Final = 6755399441055744.0
"""One and a half times 2^52: at this size a 64-bit number has no fraction, so that adding it rounds to a whole."""

_EXPONENT: Final = 3 if sys.byteorder == "little" else 1
"""The place of the first number's exponent among bytes that are shifted by a bit, with one more for what goes over."""

_MIDDLE: Final = 1 + 2**-26
"""From a power of two to the middle of what reads back as it: the number below is half as far as the one above."""


def float64(value: float) -> bytes:
    """The shortest text that reads back as this 64-bit number."""
    return _as_go(repr(float(value))).encode()


def float32s(values: Sequence[float]) -> bytes:
    """A list of numbers, each the shortest text that reads back as the same 32-bit number."""
    exact = array("f", values)
    short: list[Any] = _shortened(exact)
    again = array("f", short)
    if again.tobytes() != exact.tobytes():
        for index, (read, value) in enumerate(zip(again, exact, strict=True)):
            if read != value:
                short[index] = msgspec.Raw(_float32(value))
    return msgspec.json.encode(short)


def _shortened(values: "array[float]") -> list[float]:
    """The 64-bit numbers whose shortest texts are those of the 32-bit numbers `values`, or what reads back otherwise.

    The decimals that read back as a number lie within the width of its last bit. Of the first decimal place that is no
    coarser than this width, one to ten lie in there; of the place above, one or none. So the shortest is the nearest of
    the place above where that reads back, and otherwise the nearest of this place. All of it is exact: a product here
    has at most 52 bits, and a quotient of whole numbers this small has no shorter text than its decimal.
    """
    packed = values.tobytes()
    # Shifted by the sign, so that an exponent is a byte.
    shifted = int.from_bytes(packed, sys.byteorder) << 1
    exponents = shifted.to_bytes(len(packed) + 1, sys.byteorder)[_EXPONENT::4]
    return [
        whole / above if -half <= scaled - whole <= half else (value * place + _UNIT - _UNIT) / place
        for value, (above, half, place) in zip(values, map(_SCALES.__getitem__, exponents), strict=True)
        for scaled in [value * above]
        for whole in [scaled + _UNIT - _UNIT]
    ]


def _scales(exponent: int) -> tuple[float, float, float]:
    """For numbers from 2^exponent: both places as powers of ten, and between them half a last bit times the first."""
    if not -16 <= exponent < 0:
        # Products would not be exact, and wholes have another form: these read back as nothing.
        return (math.nan, math.nan, math.nan)
    place = math.ceil((23 - exponent) * math.log10(2))
    above = 10.0 ** (place - 1)
    return above, above * 2.0 ** (exponent - 24), above * 10


_SCALES: Final = tuple(_scales(number - 127) for number in range(256))


def _float32(value: float) -> bytes:
    """The shortest text that reads back as this 32-bit number, of any size."""
    middles = (value, value * _MIDDLE) if abs(math.frexp(value)[0]) == 0.5 else (value,)
    tried = (f"{middle:.{digits}g}" for digits in range(1, 10) for middle in middles)
    return _as_go(next(text for text in tried if _is_float32(float(text), value))).encode()


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
            return msgspec.Raw(_float32(value) if _is_float32(value, value) else float64(value))
        case dict():
            return {key: with_go_floats(each) for key, each in value.items()}
        case list() | tuple():
            return [with_go_floats(each) for each in value]
    return value
