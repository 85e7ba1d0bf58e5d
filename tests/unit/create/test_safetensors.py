import io
import json
import struct
import tracemalloc
from typing import Any

import pytest

from a3s_power.core.errors import BadFile
from a3s_power.create.safetensors import Tensor, read_tensors


def _file(header: object, data: bytes = b"", *, length: int | None = None) -> io.BytesIO:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return io.BytesIO(struct.pack("<Q", len(content) if length is None else length) + content + data)


def _one(dtype: str = "F32", shape: object = (4,), begin: int = 0, end: int = 16) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_tensors_are_found_in_the_file() -> None:
    header = {
        "__metadata__": {"format": "pt", "odd": {"a": [1]}},
        "b": _one("BF16", (2, 3), 16, 28),
        "a": _one(),
        "empty": _one("I64", (0, 5), 28, 28),
        "scalar": _one("U8", (), 28, 29),
    }
    file = _file(header, bytes(29))
    start = len(file.getvalue()) - 29
    assert read_tensors(file) == {
        "a": Tensor("a", "F32", (4,), start, 16),
        "b": Tensor("b", "BF16", (2, 3), start + 16, 12),
        "empty": Tensor("empty", "I64", (0, 5), start + 28, 0),
        "scalar": Tensor("scalar", "U8", (), start + 28, 1),
    }


def test_a_header_may_be_filled_up_with_blanks() -> None:
    assert read_tensors(_file(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}   ', b"x"))["a"].size == 1


DEEP = b'{"a":' + b"[" * 200_000


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (io.BytesIO(), "the safetensors header is cut off"),
        (io.BytesIO(b"1234567"), "the safetensors header is cut off"),
        (_file(b"{}", length=2**64 - 1), "the safetensors header is cut off"),
        (_file(b"{}", length=10**9), "the safetensors header is cut off"),
        (_file(b"[" * 200_000), "the safetensors header cannot be read"),
        (_file(DEEP), "the safetensors header cannot be read"),
        (_file(b"PK\3\4"), "the safetensors header cannot be read"),
        (_file([]), "the safetensors header cannot be read"),
        (_file({"t": {"dtype": "F32"}}), "the safetensors header cannot be read"),
        (_file({"t": _one(shape=[-1])}, bytes(16)), "the safetensors header cannot be read"),
        (_file({"t": _one(shape=[1.5])}, bytes(16)), "the safetensors header cannot be read"),
        (_file({"t": _one(begin=-1)}, bytes(16)), "the safetensors header cannot be read"),
        (_file({"t": _one(end=2**60)}, bytes(16)), "has another size than its shape"),
        (_file({"t": _one(shape=[2**62], end=2**64 - 1)}, bytes(16)), "has another size than its shape"),
        (_file({"t": _one(shape=[2**32, 2**32])}, bytes(16)), "has another size than its shape"),
        (_file({"t": _one(begin=16, end=0)}, bytes(16)), "has another size than its shape"),
        (_file({"t": _one(shape=[1, 1, 1, 1, 4])}, bytes(16)), "has more than 4 dimensions"),
        (_file({"t": _one("F4")}, bytes(16)), 'is of unknown type "F4"'),
        (_file({"a": _one(), "b": _one()}, bytes(16)), "does not begin where the one before it ends"),
        (_file({"a": _one(begin=4, end=20)}, bytes(20)), "does not begin where the one before it ends"),
        (_file({"a": _one()}, bytes(12)), "and the file at"),
        (_file({"a": _one()}, bytes(17)), "and the file at"),
        (_file({"n" * 1025: _one()}, bytes(16)), "is longer than 1024 characters"),
        (_file({f"{at}": _one("U8", [0], 0, 0) for at in range(65_537)}), "number of tensors 65537 exceeds"),
    ],
)
def test_a_hostile_header_is_refused(file: io.BytesIO, message: str) -> None:
    tracemalloc.start()
    with pytest.raises(BadFile, match=message):
        read_tensors(file)
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


def test_a_header_beyond_the_limit_is_not_read() -> None:
    file = _file(b" " * (32 << 20) + b"{}")
    tracemalloc.start()
    with pytest.raises(BadFile, match="exceeds maximum 33554432"):
        read_tensors(file)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
