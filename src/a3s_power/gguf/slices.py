"""A slice of a model: a few of its layers as a model of their own, of the same shapes and types, for measuring."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from a3s_power.core.errors import BadFile
from a3s_power.core.limits import MIB
from a3s_power.gguf.layout import ALIGNMENT, Header, TensorInfo, ValueType
from a3s_power.gguf.reader import open_regular, read_header, read_pairs
from a3s_power.gguf.writer import Tensor, Typed, Writable, write

_LAYER: Final = re.compile(r"blk\.(\d+)\.(.+)")


class Slice(msgspec.Struct, frozen=True):
    """The `share` of the layers that are in it, and what part those are of all the bytes a token needs in it."""

    share: float
    layers: float


def write_slice(weights: str, target: Path, size: int) -> Slice:
    """Write a slice whose layers have about `size` bytes, at least one of them, evenly from all parts of the model.

    Raises:
        BadFile: no model of layers that are all alike in shape, or one that became shorter meanwhile.
        OSError: a file that cannot be read or written.
    """
    with open_regular(weights) as source:
        header = read_header(source)
        layers = _layers(header)
        count = header.count("block_count")
        if sorted(layers) != list(range(count)) or not _alike(layers) or not count:
            raise BadFile("layers are not all alike")
        each = sum(tensor.size for tensors in layers.values() for tensor in tensors.values()) / count
        kept = _spread(count, max(1, min(count, round(size / each))))
        tensors = list(_tensors(header, layers, kept))
        write(target, _key_values(source, header, len(kept)), [_copied(source, header, *pair) for pair in tensors])
    inside = sum(tensor.size for name, tensor in tensors if _LAYER.match(name))
    # Of the table that texts are looked up in, a token needs a row, unless the scores come of the same table.
    tied = all(name != "output.weight" for name, _ in tensors)
    once = sum(tensor.size for name, tensor in tensors if tied or name != "token_embd.weight")
    return Slice(len(kept) / count, inside / once)


def _layers(header: Header) -> dict[int, dict[str, TensorInfo]]:
    """The tensors of each layer, by their names in it."""
    found: defaultdict[int, dict[str, TensorInfo]] = defaultdict(dict)
    for tensor in header.tensors:
        if match := _LAYER.fullmatch(tensor.name):
            found[int(match[1])][match[2]] = tensor
    return dict(found)


def _alike(layers: dict[int, dict[str, TensorInfo]]) -> bool:
    return len({frozenset((name, tensor.shape) for name, tensor in each.items()) for each in layers.values()}) == 1


def _spread(count: int, kept: int) -> list[int]:
    """So many of the layers, as far from each other as can be: quantisers give the first and last ones more bits."""
    return [int((place + 0.5) * count / kept) for place in range(kept)]


def _tensors(
    header: Header, layers: dict[int, dict[str, TensorInfo]], kept: list[int]
) -> Iterator[tuple[str, TensorInfo]]:
    """The tensors of the slice, under their new names."""
    yield from ((tensor.name, tensor) for tensor in header.tensors if not _LAYER.fullmatch(tensor.name))
    for number, layer in enumerate(kept):
        yield from ((f"blk.{number}.{name}", tensor) for name, tensor in layers[layer].items())


def _copied(source: BinaryIO, header: Header, name: str, tensor: TensorInfo) -> Tensor:
    return Tensor(name, tensor.type, tensor.shape, _data(source, header.data_offset + tensor.offset, tensor.size))


def _data(source: BinaryIO, offset: int, size: int) -> Iterator[bytes]:
    source.seek(offset)
    while size:
        piece = source.read(min(size, MIB))
        if not piece:
            raise BadFile("unexpected end of file: the tensors are cut off")
        size -= len(piece)
        yield piece


def _key_values(source: BinaryIO, header: Header, layers: int) -> dict[str, Writable]:
    """Those of the model, with fewer layers, also in lists with a number for each; those must all be the same."""
    count_key = f"{header.architecture}.block_count"
    pairs: dict[str, Writable] = dict(read_pairs(source))
    count = header.count("block_count")
    for key, value in header.key_values.items():
        if key.startswith(f"{header.architecture}.") and isinstance(value, tuple) and len(value) == count:
            if len(set(value)) > 1:
                raise BadFile("layers are not all alike")
            pairs[key] = _repeated(value[0], layers)
    pairs[count_key] = Typed(ValueType.UINT32, layers)
    alignment = header.key_values.get(ALIGNMENT)
    return pairs | ({ALIGNMENT: alignment} if isinstance(alignment, int) else {})


def _repeated(value: object, layers: int) -> Writable:
    match value:
        case bool():
            return Typed(ValueType.BOOL, (value,) * layers)
        case int():
            return Typed(ValueType.UINT32 if value >= 0 else ValueType.INT32, (value,) * layers)
        case float():
            return Typed(ValueType.FLOAT32, (value,) * layers)
        case _:
            raise BadFile("layers are not all alike")
