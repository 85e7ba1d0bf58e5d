"""Safetensors of an architecture that has no conversion: every header is checked, and what they are is told."""

import math
from collections import Counter
from typing import Final

import msgspec

from a3s_power.core import limits
from a3s_power.create import safetensors
from a3s_power.create.convert import config as configs
from a3s_power.create.convert.families import CLASSES
from a3s_power.create.convert.folder import Folder
from a3s_power.create.convert.outline import Outline
from a3s_power.create.convert.weights import SUFFIX, read

_DIMENSIONS: Final = 8
_JSON_BYTES: Final = 64 * limits.MIB


def outline(folder: Folder) -> Outline | None:
    """What the model is; `None` when it can be converted, or is to be refused by who tries.

    Raises BadFile for weights, an index or settings that are broken or hostile.
    """
    architecture, said = configs.read(folder)
    if architecture in CLASSES or not configs.may_be_kept(architecture, said):
        return None
    elements: Counter[str] = Counter()
    for stored in read(folder, dimensions=_DIMENSIONS).values():
        elements[stored.tensor.type] += math.prod(stored.tensor.shape)
    for name in folder.names:
        if name.endswith(SUFFIX):
            safetensors.read_tensors(folder.file(name), dimensions=_DIMENSIONS)
        elif name.endswith(".json"):
            folder.json(name, msgspec.Raw, _JSON_BYTES)
    ((most, _),) = elements.most_common(1)
    return Outline(0, [], architecture, elements.total(), most)
