"""Write a GGUF file, version 3: key-values of every type, and tensors from chunks of bytes."""

import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from a3s_power.gguf.layout import (
    ALIGNMENT,
    DEFAULT_ALIGNMENT,
    FORMATS,
    MAGIC,
    Raw,
    Scalar,
    TensorType,
    ValueType,
    aligned,
)

_VERSION: Final = 3


class Typed(msgspec.Struct, frozen=True):
    """A value whose type is not to be chosen by its Python type; for an array the type of its items."""

    type: ValueType
    value: Scalar | Sequence[Scalar]


class Tensor(msgspec.Struct, frozen=True):
    """A tensor to write. `shape` has the fastest dimension first; `data` comes in chunks and fills it exactly."""

    name: str
    type: TensorType
    shape: tuple[int, ...]
    data: Iterable[bytes]

    @property
    def size(self) -> int:
        """Bytes of the data."""
        return self.type.size(self.shape)


Writable = Scalar | Sequence[Scalar] | Typed | Raw


def write(
    target: str | os.PathLike[str] | BinaryIO, key_values: Mapping[str, Writable], tensors: Sequence[Tensor] = ()
) -> None:
    """Write the file. Tensors lie in the order given, each at a multiple of `general.alignment`.

    Untyped values: whole numbers become the smallest 32 or 64-bit type, others 32-bit floats; arrays of whole numbers
    are signed. Raises ValueError for a value no type holds and for data that does not fill its tensor.
    """
    if isinstance(target, str | os.PathLike):
        with Path(target).open("wb") as file:
            return write(file, key_values, tensors)
    target.writelines(pieces(key_values, tensors))
    return None


def pieces(key_values: Mapping[str, Writable], tensors: Sequence[Tensor] = ()) -> Iterator[bytes]:
    """The file that `write` would write, from its first byte to its last."""
    alignment = key_values.get(ALIGNMENT, DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int):
        raise TypeError(f"{ALIGNMENT} must be a plain number")
    head = _head(key_values, tensors, alignment)
    yield head
    if tensors:
        yield bytes(-len(head) % alignment)
    for tensor in tensors:
        yield from _data(tensor)
        yield bytes(-tensor.size % alignment)


def _head(key_values: Mapping[str, Writable], tensors: Sequence[Tensor], alignment: int) -> bytes:
    head = bytearray(MAGIC + struct.pack("<IQQ", _VERSION, len(tensors), len(key_values)))
    for key, value in key_values.items():
        head += _string(key) + _value(value)
    offset = 0
    for tensor in tensors:
        head += _string(tensor.name)
        head += struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        head += struct.pack("<IQ", tensor.type, offset)
        offset = aligned(offset + tensor.size, alignment)
    return bytes(head)


def _data(tensor: Tensor) -> Iterator[bytes]:
    written = 0
    for chunk in tensor.data:
        written += len(chunk)
        yield chunk
    if written != tensor.size:
        raise ValueError(f"tensor {tensor.name} has {written} bytes of data and not {tensor.size}")


def _value(value: Writable) -> bytes:
    if isinstance(value, Raw):
        return value.content
    if isinstance(value, Typed):
        kind, plain = value.type, value.value
    elif isinstance(value, Sequence) and not isinstance(value, str):
        kind, plain = _items_type(value), value
    else:
        kind, plain = _scalar_type(value), value
    if isinstance(plain, Sequence) and not isinstance(plain, str):
        return struct.pack("<IIQ", ValueType.ARRAY, kind, len(plain)) + b"".join(_scalars(kind, plain))
    return struct.pack("<I", kind) + b"".join(_scalars(kind, (plain,)))


def _scalars(kind: ValueType, values: Sequence[Scalar]) -> Iterable[bytes]:
    if kind is ValueType.STRING:
        return (_string(str(value)) for value in values)
    try:
        return (struct.pack(f"<{len(values)}{FORMATS[kind]}", *values),)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"no {kind.name}: {error}") from None


def _scalar_type(value: Scalar) -> ValueType:
    match value:
        case bool():
            return ValueType.BOOL
        case int() if value >= 0:
            return ValueType.UINT32 if value < 2**32 else ValueType.UINT64
        case int():
            return ValueType.INT32 if value >= -(2**31) else ValueType.INT64
        case float():
            return ValueType.FLOAT32
        case _:
            return ValueType.STRING


def _items_type(values: Sequence[Scalar]) -> ValueType:
    if not values:
        raise ValueError("the type of an empty array must be said")
    if all(isinstance(value, bool) for value in values):
        return ValueType.BOOL
    whole = [value for value in values if isinstance(value, int)]
    if len(whole) == len(values):
        return ValueType.INT32 if all(-(2**31) <= value < 2**31 for value in whole) else ValueType.INT64
    return ValueType.FLOAT32 if isinstance(values[0], int | float) else ValueType.STRING


def _string(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<Q", len(content)) + content
