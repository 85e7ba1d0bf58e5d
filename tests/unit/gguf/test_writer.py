import io
from pathlib import Path

import pytest

from a3s_power.gguf.layout import TensorType, ValueType
from a3s_power.gguf.reader import read_header
from a3s_power.gguf.writer import Tensor, Typed, Writable, write


def _written(key_values: dict[str, Writable], *tensors: Tensor) -> bytes:
    file = io.BytesIO()
    write(file, {"general.architecture": "llama", **key_values}, tensors)
    return file.getvalue()


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, ValueType.BOOL),
        (0, ValueType.UINT32),
        (2**32, ValueType.UINT64),
        (-1, ValueType.INT32),
        (-(2**31) - 1, ValueType.INT64),
        (0.5, ValueType.FLOAT32),
        ("x", ValueType.STRING),
        (Typed(ValueType.UINT8, 7), ValueType.UINT8),
    ],
)
def test_a_plain_value_gets_the_type_that_holds_it(value: Writable, kind: ValueType) -> None:
    assert (b"\x01" + bytes(7) + b"x" + kind.to_bytes(4, "little")) in _written({"x": value})


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ([True, False], ValueType.BOOL),
        ([1, -2], ValueType.INT32),
        ([2**31], ValueType.INT64),
        ([0.5, 1], ValueType.FLOAT32),
        (("a", "b"), ValueType.STRING),
        (Typed(ValueType.UINT16, [1, 2]), ValueType.UINT16),
        (Typed(ValueType.STRING, []), ValueType.STRING),
    ],
)
def test_an_array_gets_the_type_that_holds_its_items(value: Writable, kind: ValueType) -> None:
    head = ValueType.ARRAY.to_bytes(4, "little") + kind.to_bytes(4, "little")
    assert (b"\x01" + bytes(7) + b"x" + head) in _written({"x": value})


def test_tensors_lie_at_multiples_of_the_alignment() -> None:
    content = _written(
        {"general.alignment": 64},
        Tensor("a", TensorType.F32, (3,), [b"a" * 12]),
        Tensor("b", TensorType.Q8_0, (32, 2), [b"b" * 34, b"c" * 34]),
    )
    header = read_header(io.BytesIO(content))
    assert header.data_offset % 64 == 0
    assert [one.offset for one in header.tensors] == [0, 64]
    assert content[header.data_offset :] == b"a" * 12 + bytes(52) + b"b" * 34 + b"c" * 34 + bytes(60)


def test_a_path_is_written_too(tmp_path: Path) -> None:
    write(tmp_path / "x.gguf", {"general.architecture": "llama"})
    assert read_header(tmp_path / "x.gguf").architecture == "llama"


def test_the_smallest_file_is_that_of_the_sheet() -> None:
    content = _written({})
    assert content[:8] == b"GGUF\x03\x00\x00\x00"
    assert len(content) == 69


@pytest.mark.parametrize("data", [[b""], [b"x" * 11], [b"x" * 12, b"y"]])
def test_data_must_fill_its_tensor(data: list[bytes]) -> None:
    with pytest.raises(ValueError, match="tensor a has"):
        _written({}, Tensor("a", TensorType.F32, (3,), data))


@pytest.mark.parametrize("value", [Typed(ValueType.UINT8, 256), 2**64, [2**63], []])
def test_a_value_no_type_holds_is_refused(value: Writable) -> None:
    with pytest.raises(ValueError, match=r"no |must be said"):
        _written({"x": value})
