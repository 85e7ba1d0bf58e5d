import io
from pathlib import Path

import pytest

from a3s_power.core.errors import BadFile
from a3s_power.core.limits import GGUF_METADATA_BYTES
from a3s_power.gguf.layout import TensorType, ValueType
from a3s_power.gguf.reader import read_header, read_pairs
from a3s_power.gguf.writer import Tensor, Typed, Writable, pieces, write
from tests.hostile import LLAMA, array, gguf, pair
from tests.shared import BUILTIN_MODEL

PAIRS: dict[str, Writable] = {
    "general.architecture": "llama",
    "a": Typed(ValueType.UINT8, 200),
    "b": Typed(ValueType.FLOAT64, 0.1),
    "c": [1, 2, 3],
    "d": ["x", "", "ü" * 3000],
    "e": Typed(ValueType.FLOAT32, [0.1] * 5000),
    "f": True,
    "g": Typed(ValueType.INT64, -1),
}


def _file(pairs: dict[str, Writable], *tensors: Tensor) -> io.BytesIO:
    return io.BytesIO(b"".join(pieces(pairs, tensors)))


def test_key_values_become_the_same_file_again() -> None:
    tensor = Tensor("x", TensorType.F32, (3,), [b"abcdefghijkl"])
    file = _file(PAIRS, tensor)
    assert _file(dict(read_pairs(file)), tensor).getvalue() == file.getvalue()


def test_the_header_of_a_real_model_becomes_the_same_again() -> None:
    with BUILTIN_MODEL.open("rb") as file:
        header, pairs = read_header(file), read_pairs(file)
        file.seek(0)
        head = file.read(header.data_offset)
    tensors = [Tensor(one.name, one.type, one.shape, ()) for one in header.tensors]
    parts = pieces(dict(pairs), tensors)
    assert next(parts) + next(parts) == head


def test_pieces_are_what_is_written(tmp_path: Path) -> None:
    write(tmp_path / "x", PAIRS)
    assert (tmp_path / "x").read_bytes() == _file(PAIRS).getvalue()


def test_a_value_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    count = GGUF_METADATA_BYTES // 8
    head = gguf([LLAMA, array("x", ValueType.UINT64, count)])
    with (tmp_path / "long").open("w+b") as file:
        file.write(head)
        # A hole: it takes no room on the disk.
        file.truncate(len(head) + 8 * count)
        assert read_header(file).architecture == "llama"
        with pytest.raises(BadFile, match=r"^GGUF metadata exceeds maximum 134217728 bytes$"):
            read_pairs(file)


def test_a_file_that_became_shorter_is_refused() -> None:
    file = io.BytesIO(gguf([LLAMA, pair("x", ValueType.UINT64, bytes(8))]))
    read_header(file)
    file.truncate(50)
    with pytest.raises(BadFile, match="cut off"):
        read_pairs(file)
