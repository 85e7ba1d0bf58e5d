"""Numbers are written as Go writes them: against a search through all decimals that read back as the number."""

import math
import struct
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from a3s_power.api.ollama.gofloats import float32s, float64, with_go_floats
from a3s_power.core.manifest import go_json

_LARGEST = 0x7F7FFFFF
_ANY = st.integers(0, _LARGEST)
_BELOW_ONE = st.integers(0x37000000, 0x3F800000)
_SHORT = st.builds(lambda digits, place: digits / 10**place, st.integers(1, 10**8), st.integers(0, 20))
_NEAR_SHORT = st.builds(lambda value, steps: max(0, _bits(value) + steps), _SHORT, st.integers(-3, 3))
_NEAR_A_POWER_OF_TWO = st.builds(
    lambda power, steps: max(0, (power << 23) + steps), st.integers(0, 254), st.integers(-2, 2)
)
_MAGNITUDES = _ANY | _BELOW_ONE | _NEAR_SHORT | _NEAR_A_POWER_OF_TWO
_FLOATS32 = st.builds(lambda bits, sign: sign * _number(bits), _MAGNITUDES, st.sampled_from([1.0, -1.0]))


@given(st.lists(_FLOATS32, max_size=40))
@example([0.0, -0.0, 0.25, 1.0])
@example([0.5 + 2**-9, 2.0**-10, 2.0**-16, -(2.0**-14), 2.0**-17])
def test_a_list_of_32_bit_numbers_is_as_go_writes_it(values: list[float]) -> None:
    assert float32s(values).decode() == f"[{','.join(map(_searched, values))}]"


def test_every_power_of_two_of_32_bits_is_as_go_writes_it() -> None:
    values = [2.0**power for power in range(-149, 128)]
    assert float32s(values).decode() == f"[{','.join(map(_searched, values))}]"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, b"0"),
        (-0.0, b"-0"),
        (1.0, b"1"),
        (0.1, b"0.1"),
        (1 / 3, b"0.33333334"),
        (1e-5, b"0.00001"),
        (1e-6, b"0.000001"),
        (-9e-7, b"-9e-7"),
        (2.0**-149, b"1e-45"),
        (2.0**-96, b"1.2621775e-29"),
        (16777216.0, b"16777216"),
        (1e20, b"100000000000000000000"),
        (2.0**87, b"1.5474251e+26"),
        (3.4028234663852886e38, b"3.4028235e+38"),
    ],
)
def test_a_32_bit_number_has_gos_form(value: float, text: bytes) -> None:
    assert float32s([value]) == b"[%b]" % text


def test_numbers_are_those_of_32_bits_next_to_the_given() -> None:
    values = [0.1 + 1e-12, 0.3, 1 / 3]
    assert float32s(values) == b"[0.1,0.3,0.33333334]"


def test_of_no_numbers_an_empty_list_is_written() -> None:
    assert float32s([]) == b"[]"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_64_bit_number_reads_back(value: float) -> None:
    assert float(float64(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, b"0"),
        (-0.0, b"-0"),
        (1.0, b"1"),
        (-2.5, b"-2.5"),
        (1e-5, b"0.00001"),
        (1.5e-6, b"0.0000015"),
        (1e-6, b"0.000001"),
        (9.5e-7, b"9.5e-7"),
        (-1e-7, b"-1e-7"),
        (1e20, b"100000000000000000000"),
        (1.5e20, b"150000000000000000000"),
        (1e21, b"1e+21"),
        (123456789012345680.0, b"123456789012345680"),
        (1.25e300, b"1.25e+300"),
    ],
)
def test_a_number_has_gos_form(value: float, text: bytes) -> None:
    assert float64(value) == text


def test_numbers_of_model_files_are_of_32_bits() -> None:
    (narrow,) = struct.unpack("f", struct.pack("f", 1e-5))
    value = {"a": narrow, "b": [10000.0, 0.1], "c": float("inf"), "d": 1, "e": "x", "f": True}
    assert go_json(with_go_floats(value)) == b'{"a":0.00001,"b":[10000,0.1],"c":null,"d":1,"e":"x","f":true}'


def _searched(value: float) -> str:
    """The first decimal that reads back as the number: of those with the fewest digits the nearest, or the even one."""
    sign = "-" if math.copysign(1, value) < 0 else ""
    bits = _bits(abs(value))
    if not bits:
        return f"{sign}0"
    exact = Fraction(_number(bits))
    for place in range(math.ceil(math.log10(exact)), -60, -1):
        unit = Fraction(10) ** place
        below = int(exact // unit)
        wholes = [whole for whole in range(below - 1, below + 3) if _reads_back(whole * unit, bits)]
        if wholes:
            whole = min(wholes, key=lambda whole: (abs(whole * unit - exact), whole % 2))
            return sign + _plain_or_not(Decimal(whole).scaleb(place))
    raise AssertionError(value)


def _reads_back(decimal: Fraction, bits: int) -> bool:
    """Whether it is nearest to the number of these bits; the middle between two numbers is read as the even one."""
    least, most = (sum(map(_fraction, (bits, beside))) / 2 for beside in (bits - 1, bits + 1))
    return least < decimal < most or (bits % 2 == 0 and decimal in (least, most))


def _plain_or_not(decimal: Decimal) -> str:
    decimal = decimal.normalize()
    power = decimal.adjusted()
    if -6 <= power < 21:
        return f"{decimal:f}"
    return f"{decimal.scaleb(-power):f}e{power:+d}"


def _fraction(bits: int) -> Fraction:
    """The number of these bits; behind the largest comes the one that would be next."""
    return Fraction(2) ** 128 if bits > _LARGEST else Fraction(_number(bits))


def _number(bits: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def _bits(value: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", value))[0])
