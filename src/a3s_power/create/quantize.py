"""Quantising: a model's weights at another level, by llama.cpp's rules and ggml's kernels, in a process of its own.

The child gets an open file and plain numbers, and gives back rows; which file they make is decided here. So whatever
a stranger's weights do to it, no other file than the one planned can come of it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from a3s_power.core import limits
from a3s_power.core.errors import PowerError
from a3s_power.core.events import Progress
from a3s_power.core.manifest import Layer
from a3s_power.create.child import Child
from a3s_power.create.files import checked, data, key_values
from a3s_power.create.making import Making
from a3s_power.create.quantize_kernels import Rows
from a3s_power.create.quantize_rules import ALIASES, LEVELS, NEED_A_MATRIX, TRAINED_FOR, UNQUANTISED, types
from a3s_power.gguf.facts import file_type
from a3s_power.gguf.layout import Header, TensorInfo, TensorType, ValueType
from a3s_power.gguf.writer import Tensor, Typed, Writable, pieces
from a3s_power.hardware.cpu import cores
from a3s_power.log import get_logger

log = get_logger(__name__)

_CHILD: Final = "a3s_power.create.quantize_child"
_FILE_TYPE: Final = "general.file_type"
_VERSION: Final = "general.quantization_version"
_VERSION_NOW: Final = 2
"""GGML_QNT_VERSION: of the block formats, not of a file."""

_OLLAMAS: Final = ("F32", "F16", "Q4_K_S", "Q4_K_M", "Q8_0")


def level(asked: str, header: Header | None) -> str:
    """The level to quantise to; empty where nothing is asked for, or the weights are of that level already.

    Raises:
        PowerError: no such level, or weights that are quantised; in Ollama's words.
    """
    wanted = ALIASES.get(asked.upper(), asked.upper())
    source = source_level(header)
    if wanted in ("", source):
        return ""
    if wanted in NEED_A_MATRIX:
        raise PowerError(f"unsupported quantization type {wanted} - it needs an importance matrix")
    if wanted not in LEVELS:
        supported = ", ".join((*_OLLAMAS, *(name for name in LEVELS if name not in _OLLAMAS)))
        raise PowerError(f"unsupported quantization type {wanted} - supported types are {supported}")
    if header is None or source not in ("F16", "BF16", "F32") or not _all_floats(header, wanted):
        raise PowerError("quantization is only supported for F16, BF16 and F32 models")
    return wanted


def draft_level(asked: str, header: Header | None) -> str:
    """The same for a draft model. Raises PowerError."""
    source = source_level(header)
    if asked and source not in ("F16", "BF16", "F32"):
        raise PowerError(f"draft quantization requires an unquantized draft model, got {source}")
    return level(asked, header)


def source_level(header: Header | None) -> str:
    """What the weights are: what the file says, and where it says nothing the type most of them have."""
    if header is None:
        return ""
    said = header.key_values.get(_FILE_TYPE)
    if said is not None:
        return "F32" if said == LEVELS["F32"].number else file_type(header)
    sizes: Counter[str] = Counter()
    for tensor in header.tensors:
        sizes[tensor.type.name] += tensor.size
    return sizes.most_common(1)[0][0] if sizes else "unknown"


def _all_floats(header: Header, wanted: str) -> bool:
    """Whether everything that changes its type can be read as numbers."""
    return all(tensor.type in UNQUANTISED for tensor, kind in types(header, wanted) if kind is not tensor.type)


def quantized(weights: Layer, header: Header, wanted: str, making: Making) -> Layer:
    """The weights at `wanted`, a level from `level`, as a new layer.

    Raises:
        BadFile: numbers that are none, or that the new type cannot hold.
        EngineMissing: the engine's library has no kernels for it.
        EngineFailed: the child ended otherwise, or nobody waits for the model any more.
        DiskFull: no room for the new layer.
    """
    plan = types(header, wanted)
    _tell_of_losses(plan, wanted)
    size = header.data_offset + sum(kind.size(tensor.shape) for tensor, kind in plan)
    status = f"quantizing {source_level(header)} model to {wanted}"
    _, file = making.store.blobs.open(weights.blob)
    threads = str(cores(Path("/")))
    with file, making.children.running(_CHILD, "--threads", threads, source=file.fileno()) as child:
        child.send(msgspec.msgpack.encode(list(_work(header, plan))))
        content = pieces(_key_values(file, header, wanted), list(_tensors(file, header, plan, child)))
        told = making.told(status, weights.size, content, size)
        layer = making.put(weights.media_type, told, size=size)
    making.report(Progress("verifying conversion"))
    checked(layer, making.store)
    return layer


def _tell_of_losses(plan: Iterable[tuple[TensorInfo, TensorType]], wanted: str) -> None:
    """Say in the log what this level does not keep, and which matrices cannot have its type."""
    if wanted in TRAINED_FOR:
        log.warning("only models trained for this level keep their sense in it", quantize=wanted)
    block, _ = LEVELS[wanted].type.block
    odd = [f"{tensor.name} {kind.name}" for tensor, kind in plan if kind is not tensor.type and tensor.shape[0] % block]
    if odd:
        log.warning("rows are no whole blocks: other types stand in", quantize=wanted, tensors=len(odd), first=odd[0])


def _work(header: Header, plan: Iterable[tuple[TensorInfo, TensorType]]) -> Iterator[Rows]:
    for tensor, kind in plan:
        if kind is not tensor.type:
            columns = tensor.shape[0]
            offset = header.data_offset + tensor.offset
            yield Rows(tensor.name, tensor.type, kind, offset, tensor.elements // columns, columns)


def _key_values(file: BinaryIO, header: Header, wanted: str) -> dict[str, Writable]:
    # These two come last, as llama.cpp has them.
    own = {_VERSION: _VERSION_NOW, _FILE_TYPE: LEVELS[wanted].number}
    return key_values(file, header, without=own) | {key: Typed(ValueType.UINT32, own[key]) for key in own}


def _tensors(
    file: BinaryIO, header: Header, plan: Iterable[tuple[TensorInfo, TensorType]], child: Child
) -> Iterator[Tensor]:
    for tensor, kind in plan:
        size = kind.size(tensor.shape)
        same = kind is tensor.type
        content = data(file, header, tensor) if same else child.answer(size, limits.MIB)
        yield Tensor(tensor.name, kind, tensor.shape, content)
