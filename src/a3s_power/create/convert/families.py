"""The families that can be converted: a new one is a file, and a line here."""

from io import BytesIO
from typing import Final

from a3s_power.create.convert.bert import BERT
from a3s_power.create.convert.config import CONFIG, kept_note, may_be_kept, read, unsupported
from a3s_power.create.convert.folder import Folder
from a3s_power.create.convert.gemma import GEMMA2, GEMMA3
from a3s_power.create.convert.granite import GRANITE
from a3s_power.create.convert.llama import LLAMA
from a3s_power.create.convert.mistral import MISTRAL
from a3s_power.create.convert.phi import PHI3
from a3s_power.create.convert.qwen import QWEN2, QWEN3

FAMILIES: Final = (LLAMA, MISTRAL, QWEN2, QWEN3, GEMMA2, GEMMA3, PHI3, GRANITE, BERT)

CLASSES: Final = {name: family for family in FAMILIES for name in family.classes}
"""Families by what config.json may call them."""


def check(config: bytes) -> str:
    """What is to be told of a model with this config.json before its weights are here; empty for nothing.

    Raises BadFile, which names the architecture, for one that can neither be converted nor be kept as it is.
    """
    architecture, said = read(Folder({CONFIG: BytesIO(config)}))
    if architecture in CLASSES:
        return ""
    if not may_be_kept(architecture, said):
        raise unsupported(architecture, said)
    return kept_note(architecture)
