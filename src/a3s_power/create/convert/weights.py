"""The tensors of a model, from all its safetensors files together; the index of a split model is held against them."""

from fnmatch import fnmatchcase
from typing import BinaryIO, Final

import msgspec

from a3s_power.core import limits
from a3s_power.core.errors import BadFile
from a3s_power.create import safetensors
from a3s_power.create.convert.folder import Folder
from a3s_power.gguf.layout import quoted

SUFFIX: Final = ".safetensors"
_USUAL: Final = "model*.safetensors"
_INDEX: Final = "model.safetensors.index.json"
_INDEX_BYTES: Final = 32 * limits.MIB


class Stored(msgspec.Struct, frozen=True):
    """A tensor as it lies in its file."""

    tensor: safetensors.Tensor
    file: BinaryIO


class _Index(msgspec.Struct, frozen=True):
    weight_map: dict[str, str] = {}


def read(folder: Folder, *, dimensions: int = limits.GGUF_DIMENSIONS) -> dict[str, Stored]:
    """All tensors by name. Raises BadFile when there are none, one is there twice, or the index names another file."""
    names = [name for name in folder.names if name.endswith(SUFFIX) and "/" not in name]
    usual = [name for name in names if fnmatchcase(name, _USUAL)] or names
    for name in names:
        if name not in usual:
            folder.note(f"{quoted(name)} is not used: the weights are in {quoted(usual[0])}")
    found: dict[str, Stored] = {}
    places: dict[str, str] = {}
    for name in usual:
        file = folder.file(name)
        for tensor in safetensors.read_tensors(file, dimensions=dimensions).values():
            if tensor.name in found:
                raise BadFile(f"duplicate tensor name {quoted(tensor.name)} was found for this model")
            found[tensor.name] = Stored(tensor, file)
            places[tensor.name] = name
    if not found:
        raise BadFile("unknown tensor format")
    _check_index(folder, places)
    return found


def _check_index(folder: Folder, places: dict[str, str]) -> None:
    """Nothing is opened because an index says so: it may only name what is there."""
    index = folder.json(_INDEX, _Index, _INDEX_BYTES) or _Index()
    for tensor, file in index.weight_map.items():
        if file not in folder.names:
            raise BadFile(f"{_INDEX} names {quoted(file)}, which is none of the model's files")
        if places.get(tensor) != file:
            raise BadFile(f"tensor {quoted(tensor)} is not in {quoted(file)}")
