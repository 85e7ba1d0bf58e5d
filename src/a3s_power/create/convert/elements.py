"""A tensor's elements, read in pieces, as the 16 or 32-bit floats that a GGUF has of them."""

import os
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from a3s_power.core.errors import BadFile
from a3s_power.create.convert.weights import Stored
from a3s_power.gguf.layout import TensorType, quoted

Array = NDArray[Any]

_PIECE_ELEMENTS: Final = 1 << 19
_BITS: Final = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""How numpy reads them. It has no BF16: that is the upper half of an F32."""

SOURCES: Final = frozenset(_BITS)
"""The types of elements that can be converted."""

_F16_INFINITY: Final = 0x7C00


def pieces(stored: Stored, target: TensorType, *, heads: int = 0, plus: float = 0.0) -> Iterator[bytes]:
    """The tensor as `target`, F16 or F32: with `heads` its rows in pairs, and `plus` added to each element.

    Raises BadFile for a file cut off, and for what is no number, or none that the type can hold.
    """
    tensor = stored.tensor
    count = tensor.size // np.dtype(_BITS[tensor.type]).itemsize
    step = count // heads if heads else _PIECE_ELEMENTS
    columns = count // tensor.shape[0] if tensor.shape else 1
    convert = _narrow if target is TensorType.F16 else _wide
    for first in range(0, count, step):
        numbers = _read(stored, first, min(step, count - first))
        if heads:
            numbers = _paired(numbers, columns)
        made = convert(_wide(numbers) + np.float32(plus) if plus else numbers)
        if not _finite(made):
            raise BadFile(f"tensor {quoted(tensor.name)} holds values that are no numbers of {target.name}")
        yield made.tobytes()


def _read(stored: Stored, first: int, count: int) -> Array:
    kind = np.dtype(_BITS[stored.tensor.type])
    size = count * kind.itemsize
    content = os.pread(stored.file.fileno(), size, stored.tensor.offset + first * kind.itemsize)
    if len(content) != size:
        raise BadFile(f"unexpected end of file: tensor {quoted(stored.tensor.name)} is cut off")
    return np.frombuffer(content, kind)


def _paired(head: Array, columns: int) -> Array:
    """A head's rows, where the two halves of a rotation lie apart, with those of each rotation side by side."""
    return head.reshape(2, -1, columns).swapaxes(0, 1).reshape(-1)


def _wide(numbers: Array) -> Array:
    """As 32-bit floats."""
    if numbers.dtype == np.uint16:
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers.astype(np.float32)


def _narrow(numbers: Array) -> Array:
    """As 16-bit floats."""
    if numbers.dtype == np.uint16:
        return _F16_OF_BF16[numbers]
    # Too large ones become infinite, and are found then.
    with np.errstate(over="ignore", invalid="ignore"):
        return numbers.astype(np.float16)


# Twice as fast as by way of 32 bits.
_F16_OF_BF16: Final = _narrow(_wide(np.arange(1 << 16, dtype=np.uint16)))


def _finite(numbers: Array) -> bool:
    if numbers.dtype == np.float16:
        return not bool(((numbers.view(np.uint16) & 0x7FFF) >= _F16_INFINITY).any())
    return bool(np.isfinite(numbers).all())
