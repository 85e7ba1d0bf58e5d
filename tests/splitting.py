"""Split GGUFs as llama.cpp's `gguf-split` makes them: the first part says what the model is, the others only which."""

import io
from collections.abc import Mapping, Sequence

from a3s_power.gguf.layout import ALIGNMENT, Header, TensorInfo, ValueType
from a3s_power.gguf.reader import read_header, read_pairs
from a3s_power.gguf.writer import Tensor, Typed, Writable, write


def split(content: bytes, count: int, prefix: str = "m") -> dict[str, bytes]:
    """The parts of a GGUF by their file names."""
    file = io.BytesIO(content)
    header = read_header(file)
    pairs: dict[str, Writable] = dict(read_pairs(file))
    alignment = header.key_values.get(ALIGNMENT)
    if isinstance(alignment, int):
        pairs[ALIGNMENT] = alignment
    step = -(-len(header.tensors) // count)
    parts = {}
    for index in range(count):
        own = split_keys(index, count, len(header.tensors))
        tensors = header.tensors[index * step : (index + 1) * step]
        about = {**pairs, **own} if index == 0 else own
        parts[f"{prefix}-{index + 1:05d}-of-{count:05d}.gguf"] = _written(about, tensors, header, content)
    return parts


def split_keys(index: int, count: int, tensors: int) -> dict[str, Writable]:
    """What a part says of itself."""
    return {
        "split.no": Typed(ValueType.UINT16, index),
        "split.count": Typed(ValueType.UINT16, count),
        "split.tensors.count": Typed(ValueType.INT32, tensors),
    }


def _written(about: Mapping[str, Writable], tensors: Sequence[TensorInfo], header: Header, content: bytes) -> bytes:
    file = io.BytesIO()
    start = header.data_offset
    write(
        file,
        about,
        [Tensor(one.name, one.type, one.shape, [content[start + one.offset :][: one.size]]) for one in tensors],
    )
    return file.getvalue()
