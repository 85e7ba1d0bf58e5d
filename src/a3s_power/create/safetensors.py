"""Read the header of a safetensors file, and trust no number in it.

The format is that of the safetensors project: eight bytes that say how long the header is, the header, which is a JSON
object of tensors by name, and their data, one after the other without a gap.
"""

import math
import os
from typing import Annotated, BinaryIO, Final

import msgspec

from a3s_power.core import limits
from a3s_power.core.errors import BadFile
from a3s_power.gguf.layout import quoted

_HEADER_BYTES: Final = 32 * limits.MIB
_LENGTH_BYTES: Final = 8
_NAME_CHARACTERS: Final = 1024
_METADATA: Final = "__metadata__"
_SIZES: Final = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"), 1),
}
"""Types of elements, and bytes of each."""

_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Described(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[_Count, ...]
    data_offsets: tuple[_Count, _Count]


class Tensor(msgspec.Struct, frozen=True):
    """A tensor: its elements' type, its shape with the slowest dimension first, and where in the file its data lies."""

    name: str
    type: str
    shape: tuple[int, ...]
    offset: int
    size: int


def read_tensors(file: BinaryIO, *, dimensions: int = limits.GGUF_DIMENSIONS) -> dict[str, Tensor]:
    """The tensors of a file by name, each of at most so many dimensions.

    Raises BadFile for what is no safetensors, cut off, or beyond a limit.
    """
    total = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    start = _LENGTH_BYTES + length
    if total < _LENGTH_BYTES or start > total:
        raise BadFile("unexpected end of file: the safetensors header is cut off")
    if length > _HEADER_BYTES:
        raise BadFile(f"safetensors header of {length} bytes exceeds maximum {_HEADER_BYTES}")
    described = _described(file.read(length))
    tensors = {name: _checked(name, one, start, dimensions) for name, one in described.items()}
    _check_places(tensors, start, total)
    return tensors


def _described(content: bytes) -> dict[str, _Described]:
    try:
        parts = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        parts.pop(_METADATA, None)
        if len(parts) > limits.GGUF_TENSORS:
            raise BadFile(f"number of tensors {len(parts)} exceeds maximum {limits.GGUF_TENSORS}")
        return {name: msgspec.json.decode(part, type=_Described) for name, part in parts.items()}
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadFile(f"the safetensors header cannot be read: {error}") from None


def _checked(name: str, described: _Described, start: int, dimensions: int) -> Tensor:
    if len(name) > _NAME_CHARACTERS:
        raise BadFile(f"tensor name {quoted(name)} is longer than {_NAME_CHARACTERS} characters")
    begin, end = described.data_offsets
    size = _SIZES.get(described.dtype)
    if size is None:
        raise BadFile(f"tensor {quoted(name)} is of unknown type {quoted(described.dtype)}")
    if len(described.shape) > dimensions:
        raise BadFile(f"tensor {quoted(name)} has more than {dimensions} dimensions")
    if math.prod(described.shape) * size != end - begin:
        raise BadFile(f"tensor {quoted(name)} has another size than its shape")
    return Tensor(name, described.dtype, described.shape, start + begin, end - begin)


def _check_places(tensors: dict[str, Tensor], start: int, total: int) -> None:
    """The data of all tensors, one after the other, is all there is."""
    at = start
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.offset, tensor.size)):
        if tensor.offset != at:
            raise BadFile(f"tensor {quoted(tensor.name)} does not begin where the one before it ends")
        at += tensor.size
    if at != total:
        raise BadFile(f"safetensors data ends at {at}, and the file at {total}")
