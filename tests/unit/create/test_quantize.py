import ctypes
import io
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from a3s_power.core.errors import BadFile, EngineMissing, PowerError
from a3s_power.create.quantize import level
from a3s_power.create.quantize_kernels import Kernels, Rows, load
from a3s_power.create.quantize_rules import LEVELS
from a3s_power.gguf.layout import Header, TensorInfo, TensorType, Value

T = TensorType

NUMBERS = [0.0, 1.0, -2.5, 0.1, 1e-3, 65504.0, -1e-6, 3.0]
"""Eight numbers that F16 can hold, more or less."""


def _header(key_values: Mapping[str, Value], *kinds: TensorType) -> Header:
    tensors = tuple(TensorInfo(f"blk.{at}.x.weight", kind, (256, 2), 0) for at, kind in enumerate(kinds))
    about = {"general.architecture": "llama", **key_values}
    return Header(version=3, key_values=about, tensors=tensors, data_offset=0, size=0)


def _said(number: int, *kinds: TensorType) -> Header:
    return _header({"general.file_type": number}, *kinds)


ALL = (
    "F32, F16, Q4_K_S, Q4_K_M, Q8_0, BF16, Q1_0, Q2_0, Q2_K, Q3_K_S, Q3_K_M, Q3_K_L, Q4_0, Q4_1, Q5_0, Q5_1, Q5_K_S,"
    " Q5_K_M, Q6_K, IQ3_S, IQ3_M, IQ4_NL, IQ4_XS, TQ1_0, TQ2_0, MXFP4_MOE"
)


@pytest.mark.parametrize(
    ("asked", "header", "message"),
    [
        ("zzz", _said(1), f"unsupported quantization type ZZZ - supported types are {ALL}"),
        ("q5_k_m ", _said(1), f"unsupported quantization type Q5_K_M  - supported types are {ALL}"),
        ("iq2_xs", _said(1), "unsupported quantization type IQ2_XS - it needs an importance matrix"),
        ("q2_k_s", _said(1), "unsupported quantization type Q2_K_S - it needs an importance matrix"),
        ("q4_K_M", _said(7), "quantization is only supported for F16, BF16 and F32 models"),
        ("q4_K_M", _said(999), "quantization is only supported for F16, BF16 and F32 models"),
        ("q4_K_M", None, "quantization is only supported for F16, BF16 and F32 models"),
        ("q4_K_M", _header({}, T.Q8_0), "quantization is only supported for F16, BF16 and F32 models"),
        ("f16", _header({}), "quantization is only supported for F16, BF16 and F32 models"),
        # A file that calls itself F16 and is not.
        ("q4_K_M", _said(1, T.F16, T.Q8_0), "quantization is only supported for F16, BF16 and F32 models"),
        ("q4_K_M", _said(1, T.F64), "quantization is only supported for F16, BF16 and F32 models"),
    ],
)
def test_what_cannot_be_quantised_is_refused_in_ollamas_words(asked: str, header: Header | None, message: str) -> None:
    with pytest.raises(PowerError) as caught:
        level(asked, header)
    assert (caught.value.status, caught.value.message) == (500, message)


@pytest.mark.parametrize(
    ("asked", "header", "wanted"),
    [
        ("", _said(7), ""),
        ("", None, ""),
        ("f16", _said(1), ""),
        ("F32", _said(0), ""),
        ("Q4_K", _said(15), ""),
        ("q8_0", _said(7, T.Q8_0), ""),
        ("q4_K_M", _said(1), "Q4_K_M"),
        ("q4_k", _said(32), "Q4_K_M"),
        ("Q3_K", _said(0), "Q3_K_M"),
        ("q5_K", _said(1, T.F16, T.F32, T.BF16), "Q5_K_M"),
        ("iq4_xs", _said(1), "IQ4_XS"),
        ("F32", _said(1), "F32"),
        ("bf16", _header({}, T.F16, T.F16, T.F32), "BF16"),
        ("f32", _header({}, T.F32), ""),
        # What is of the wanted type already is not touched.
        ("Q8_0", _said(1, T.F16, T.Q8_0), "Q8_0"),
    ],
)
def test_levels_are_known_in_any_case_and_by_their_short_names(asked: str, header: Header | None, wanted: str) -> None:
    assert level(asked, header) == wanted


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    return load()


@pytest.fixture
def numbers(tmp_path: Path) -> Iterator[io.FileIO]:
    with (tmp_path / "numbers").open("w+b", buffering=0) as file:
        yield file


def _converted(
    kernels: Kernels, file: io.FileIO, content: bytes, source: TensorType, target: TensorType, columns: int
) -> bytes:
    file.write(content)
    rows = len(content) // source.size((columns,))
    return bytes(kernels.convert(file.fileno(), Rows("x", source, target, 0, rows, columns)))


@pytest.mark.parametrize("source", ["f", "e"])
@pytest.mark.parametrize("target", ["f", "e"])
def test_halves_and_singles_become_each_other(kernels: Kernels, numbers: io.FileIO, source: str, target: str) -> None:
    kinds = {"f": T.F32, "e": T.F16}
    content = struct.pack(f"<8{source}", *NUMBERS)
    made = _converted(kernels, numbers, content, kinds[source], kinds[target], 4)
    assert made == struct.pack(f"<8{target}", *struct.unpack(f"<8{source}", content))


def test_a_brain_float_is_the_upper_half_of_a_single(kernels: Kernels, numbers: io.FileIO) -> None:
    upper = b"".join(struct.pack("<f", number)[2:] for number in NUMBERS)
    made = _converted(kernels, numbers, upper, T.BF16, T.F32, 4)
    assert made == b"".join(b"\0\0" + upper[at : at + 2] for at in range(0, 16, 2))


def test_blocks_of_q8_0_are_a_scale_and_32_numbers(kernels: Kernels, numbers: io.FileIO) -> None:
    """By hand: the largest number becomes 127, the scale is a half."""
    row = [float(number) for number in range(-16, 16)]
    made = _converted(kernels, numbers, struct.pack("<64f", *row, *reversed(row)), T.F32, T.Q8_0, 32)
    assert len(made) == 68
    scale, *values = struct.unpack("<e32b", made[:34])
    assert scale == pytest.approx(16 / 127, rel=1e-3)
    assert values == [round(number * 127 / 16) for number in row]
    assert struct.unpack("<e32b", made[34:])[1:] == tuple(reversed(values))


@pytest.mark.parametrize("kind", sorted({at.type for at in LEVELS.values()}))
def test_every_type_of_a_level_has_a_kernel(kernels: Kernels, numbers: io.FileIO, kind: TensorType) -> None:
    content = struct.pack("<1024f", *((at % 17 - 8) / 8 for at in range(1024)))
    made = _converted(kernels, numbers, content, T.F32, kind, 256)
    assert len(made) == kind.size((256, 4))
    assert any(made)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", [T.F16, T.BF16, T.Q8_0, T.Q4_K, T.Q6_K])
def test_what_is_no_number_is_refused(kernels: Kernels, numbers: io.FileIO, wrong: float, kind: TensorType) -> None:
    content = struct.pack("<256f", *[1.0] * 255, wrong)
    with pytest.raises(BadFile, match=r'^tensor "x" holds values that are no numbers$'):
        _converted(kernels, numbers, content, T.F32, kind, 256)


def test_a_number_too_large_for_the_new_type_is_refused(kernels: Kernels, numbers: io.FileIO) -> None:
    with pytest.raises(BadFile, match=r'^tensor "x" holds numbers that F16 cannot hold$'):
        _converted(kernels, numbers, struct.pack("<f", 1e6), T.F32, T.F16, 1)


def test_a_file_that_became_shorter_is_refused(kernels: Kernels, numbers: io.FileIO) -> None:
    numbers.write(bytes(100))
    with pytest.raises(BadFile, match="cut off"):
        kernels.convert(numbers.fileno(), Rows("x", T.F32, T.F16, 0, 1, 32))


def test_a_library_that_hides_its_kernels_is_told_of() -> None:
    with pytest.raises(
        EngineMissing, match=r"^quantizing is not available: this build of xllamacpp does not offer ggml"
    ):
        Kernels(ctypes.CDLL(None))


def test_without_a_library_it_is_told_which_one_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineMissing, match="is not installed"):
        load()
