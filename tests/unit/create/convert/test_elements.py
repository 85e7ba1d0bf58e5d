import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from a3s_power.core.errors import BadFile
from a3s_power.create import safetensors
from a3s_power.create.convert import elements
from a3s_power.create.convert.weights import Stored
from a3s_power.gguf.layout import TensorType
from tests.conversions import Dtype
from tests.conversions import safetensors as written

NUMBERS = np.linspace(-3, 3, 4 * 6 * 5, dtype=np.float32)


def _stored(folder: Path, array: NDArray[np.float32], dtype: Dtype = "F32") -> Stored:
    path = folder / "x.safetensors"
    path.write_bytes(written({"t": array}, dtype))
    file = path.open("rb")
    return Stored(safetensors.read_tensors(file)["t"], file)


def _made(stored: Stored, target: TensorType, **how: float) -> NDArray[np.float32]:
    with stored.file:
        content = b"".join(elements.pieces(stored, target, heads=int(how.get("heads", 0)), plus=how.get("plus", 0.0)))
    return np.frombuffer(content, "<f2" if target is TensorType.F16 else "<f4").astype(np.float32)


@pytest.mark.parametrize("target", [TensorType.F16, TensorType.F32])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_every_type_of_elements_becomes_both_types_of_floats(tmp_path: Path, dtype: Dtype, target: TensorType) -> None:
    # Numbers that all the types can hold.
    array = (np.arange(-60, 60, dtype=np.float32) / 8).astype(np.float32).reshape(4, 30)
    assert np.array_equal(_made(_stored(tmp_path, array, dtype), target), array.reshape(-1))


def test_numbers_are_rounded_to_the_nearest(tmp_path: Path) -> None:
    made = _made(_stored(tmp_path, NUMBERS), TensorType.F16)
    assert np.array_equal(made, NUMBERS.astype(np.float16).astype(np.float32))


def test_64_bit_floats_are_taken_too(tmp_path: Path) -> None:
    head = b'{"t":{"dtype":"F64","shape":[3],"data_offsets":[0,24]}}'
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head + np.array([1.5, -2, 1e-3], "<f8").tobytes())
    file = path.open("rb")
    stored = Stored(safetensors.read_tensors(file)["t"], file)
    assert _made(stored, TensorType.F32).tolist() == np.array([1.5, -2, 1e-3], np.float32).tolist()


def test_what_is_larger_than_a_piece_comes_whole_and_in_order(tmp_path: Path) -> None:
    array = (np.arange(3 << 19, dtype=np.float32) % 2048).reshape(3, -1)
    stored = _stored(tmp_path, array)
    assert len(list(elements.pieces(stored, TensorType.F16))) == 3
    assert np.array_equal(_made(stored, TensorType.F16), array.reshape(-1))


@given(heads=st.integers(1, 4), half=st.integers(1, 4), columns=st.integers(1, 5))
def test_the_rows_of_each_head_are_paired(
    tmp_path_factory: pytest.TempPathFactory, heads: int, half: int, columns: int
) -> None:
    array = np.arange(heads * 2 * half * columns, dtype=np.float32).reshape(heads * 2 * half, columns)
    stored = _stored(tmp_path_factory.mktemp("pairs"), array)
    made = _made(stored, TensorType.F32, heads=heads).reshape(array.shape)
    for head in range(heads):
        for pair in range(half):
            first = head * 2 * half
            assert np.array_equal(made[first + 2 * pair], array[first + pair])
            assert np.array_equal(made[first + 2 * pair + 1], array[first + half + pair])


def test_a_bias_is_paired_like_its_matrix(tmp_path: Path) -> None:
    bias = np.arange(8, dtype=np.float32)
    assert _made(_stored(tmp_path, bias), TensorType.F32, heads=2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_something_can_be_added_to_every_element(tmp_path: Path, dtype: Dtype) -> None:
    array = np.linspace(0, 1.75, 8, dtype=np.float32)
    assert np.array_equal(_made(_stored(tmp_path, array, dtype), TensorType.F32, plus=1.0), array + 1)


@pytest.mark.parametrize(
    ("number", "dtype", "target"),
    [
        (float("nan"), "F32", TensorType.F16),
        (float("nan"), "BF16", TensorType.F32),
        (float("inf"), "F16", TensorType.F16),
        (-float("inf"), "F32", TensorType.F32),
        (65520.0, "F32", TensorType.F16),
        (2.0**17, "BF16", TensorType.F16),
    ],
)
def test_what_is_no_number_of_the_type_is_refused(
    tmp_path: Path, number: float, dtype: Dtype, target: TensorType
) -> None:
    array = np.zeros((2, 8), np.float32)
    array[1, 3] = number
    with pytest.raises(BadFile, match=f'tensor "t" holds values that are no numbers of {target.name}'):
        _made(_stored(tmp_path, array, dtype), target)


def test_large_numbers_that_the_type_can_hold_are_not_refused(tmp_path: Path) -> None:
    array = np.array([[65504.0, -65504.0]], np.float32)
    assert _made(_stored(tmp_path, array), TensorType.F16).tolist() == [65504.0, -65504.0]


def test_a_file_that_becomes_shorter_is_noticed(tmp_path: Path) -> None:
    stored = _stored(tmp_path, NUMBERS)
    with (tmp_path / "x.safetensors").open("r+b") as file:
        file.truncate(file.seek(0, io.SEEK_END) - 4)
    with pytest.raises(BadFile, match='tensor "t" is cut off'):
        _made(stored, TensorType.F32)
