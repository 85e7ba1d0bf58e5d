"""A folder of safetensors becomes the pieces of one GGUF, version 3: matrices as F16, all else as F32."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

from a3s_power.core.errors import BadFile
from a3s_power.create.convert import config as configs
from a3s_power.create.convert import tokenizer
from a3s_power.create.convert.config import CONFIG
from a3s_power.create.convert.families import CLASSES
from a3s_power.create.convert.family import Family, Keys, check_activation
from a3s_power.create.convert.folder import Folder
from a3s_power.create.convert.outline import Outline
from a3s_power.create.convert.pooling import pooling
from a3s_power.create.convert.tensors import EMBEDDING, named, tensors
from a3s_power.create.convert.tokenizer_json import tokenizer_json
from a3s_power.create.convert.weights import read
from a3s_power.gguf.layout import ARCHITECTURE, DEFAULT_ALIGNMENT, aligned
from a3s_power.gguf.writer import Tensor, Writable, pieces

_GENERAL: Final[Keys] = {"general.type": "model", "general.file_type": 1, "general.quantization_version": 2}
"""File type 1 is F16; the version is that of ggml's block formats."""


def convert(folder: Folder) -> tuple[Outline, Iterator[bytes]]:
    """The GGUF in pieces, which are made as they are taken.

    Raises BadFile for a model that is broken or of an architecture that nobody here knows; taking the pieces does for
    weights that are cut off or no numbers.
    """
    family, said = _family(folder)
    config = configs.understood(said, family.defaults)
    check_activation(config, family)
    found = named(read(folder), family, config, folder)
    rows = found[EMBEDDING].tensor.shape[0]
    tokens = tokenizer_json(folder)
    words = tokenizer.vocabulary(folder, tokens, rows)
    keys = family.key_values(config, folder) | {"vocab_size": rows}
    way = pooling(folder)
    if way is not None:
        keys["pooling_type"] = way
    values: dict[str, Writable] = {ARCHITECTURE: family.architecture, **_GENERAL, **family.general(config, words)}
    values |= {f"{family.architecture}.{key}": value for key, value in keys.items()}
    values |= tokenizer.key_values(words, folder, tokens, said)
    return _written(values, list(tensors(found, family, config)), folder)


def _family(folder: Folder) -> tuple[Family, dict[str, Any]]:
    """The model's family, and what its config says of its text model."""
    architecture, said = configs.read(folder)
    family = CLASSES.get(architecture)
    if family is None:
        raise configs.unsupported(architecture, said)
    nested = said.get(family.nested, {})
    if not isinstance(nested, dict):
        raise BadFile(f"{CONFIG} cannot be used: {family.nested} is no object")
    if configs.runs_own_code(said) or configs.runs_own_code(nested):
        folder.note("the model's own code is not run")
    return family, {**said, **nested}


def _written(values: dict[str, Writable], made: Sequence[Tensor], folder: Folder) -> tuple[Outline, Iterator[bytes]]:
    content = pieces(values, made)
    head = next(content)
    size = aligned(len(head), DEFAULT_ALIGNMENT) + sum(aligned(tensor.size, DEFAULT_ALIGNMENT) for tensor in made)
    return Outline(size, folder.notes), chain((head,), content)
