"""The tensors of the GGUF: which there are, under which names and in which types, and what each is made from."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import gguf
import numpy as np

from a3s_power.core.errors import BadFile
from a3s_power.create.convert import elements
from a3s_power.create.convert.config import CONFIG, Config
from a3s_power.create.convert.family import Family, no_place
from a3s_power.create.convert.folder import Folder
from a3s_power.create.convert.weights import Stored
from a3s_power.gguf.layout import TensorType, quoted
from a3s_power.gguf.writer import Tensor

EMBEDDING: Final = "token_embd.weight"
_OUTPUT: Final = "output.weight"
_LAYER: Final = re.compile(r"blk\.([0-9]+)\.(.+)")

_ALWAYS_F32: Final = frozenset({"position_embd.weight", "token_types.weight"})
"""Matrices that llama.cpp adds to others, and wants as F32 for it."""

Named = dict[str, Stored]


def named(weights: Mapping[str, Stored], family: Family, config: Config, folder: Folder) -> Named:
    """The weights by their names in a GGUF, in the order in which they are used.

    Raises BadFile for one that has no place, and for a model that is not whole.
    """
    library = _names(family.architecture, config.num_hidden_layers)
    found: Named = {}
    for name, stored in weights.items():
        known = family.name(name, folder)
        if known is None:
            continue
        called = library(known)
        if called is None:
            raise no_place(name)
        if called in found:
            raise BadFile(f"duplicate tensor name {quoted(called)} was found for this model")
        _check(stored)
        found[called] = stored
    if config.tie_word_embeddings:
        found.pop(_OUTPUT, None)
    _check_whole(found, family, config)
    return dict(sorted(found.items(), key=lambda item: _place(item[0])))


def _names(architecture: str, layers: int) -> Callable[[str], str | None]:
    """What the gguf library calls a tensor of Transformers, with its ending."""
    numbers = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
    table = gguf.get_tensor_name_map(numbers[architecture], layers)
    return lambda name: table.get_name(name, try_suffixes=(".weight", ".bias"))


def _check(stored: Stored) -> None:
    tensor = stored.tensor
    if tensor.type not in elements.SOURCES:
        raise BadFile(f"tensor {quoted(tensor.name)} is of type {tensor.type}, which cannot be converted")
    if not tensor.size or not tensor.shape:
        raise BadFile(f"tensor {quoted(tensor.name)} is empty")


def _check_whole(found: Named, family: Family, config: Config) -> None:
    """Every layer has the tensors of every other, and none that the model needs is missing."""
    layers: list[set[str]] = [set() for _ in range(config.num_hidden_layers)]
    for name in found:
        place = _LAYER.fullmatch(name)
        if place:
            layers[int(place[1])].add(place[2])
    every = set().union(*layers)
    missing = [f"blk.{number}.{name}" for number, layer in enumerate(layers) for name in sorted(every - layer)]
    own_output = () if config.tie_word_embeddings or "output_norm.weight" not in family.needed else (_OUTPUT,)
    missing += [name for name in (*family.needed, *own_output) if name not in found]
    if not every:
        missing.append("blk.0")
    if missing:
        raise BadFile(f"the model is not whole: {missing[0]} is missing")
    columns = found[EMBEDDING].tensor.shape[1:]
    if columns != (config.hidden_size,):
        raise BadFile(f"the embedding has not the {config.hidden_size} columns that {CONFIG} says")


def _place(name: str) -> tuple[int, str]:
    """The embedding and what else is no layer's first, then the layers."""
    layer = _LAYER.fullmatch(name)
    return (int(layer[1]), layer[2]) if layer else (-1, name)


def tensors(found: Named, family: Family, config: Config) -> Iterator[Tensor]:
    """All tensors to write; each is read when it is. Raises BadFile for rows that are no whole heads."""
    for name, values in family.factors(config).items():
        yield Tensor(name, TensorType.F32, (len(values),), [np.array(values, "<f4").tobytes()])
    for name, stored in found.items():
        shape = stored.tensor.shape
        wide = len(shape) < 2 or name in _ALWAYS_F32
        kind = TensorType.F32 if wide else TensorType.F16
        heads = _heads(name, config) if family.pairs else 0
        if heads and shape[0] % (2 * heads):
            raise BadFile(f"tensor {quoted(stored.tensor.name)} has rows that are no whole pairs for {heads} heads")
        plus = family.shift if name.endswith("norm.weight") else 0.0
        yield Tensor(name, kind, shape[::-1], elements.pieces(stored, kind, heads=heads, plus=plus))


def _heads(name: str, config: Config) -> int:
    """How many heads the rows are of, where they are queries or keys; else 0."""
    part = name.split(".")[-2]
    return {"attn_q": config.num_attention_heads, "attn_k": config.kv_heads}.get(part, 0)
