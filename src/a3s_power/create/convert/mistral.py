"""Mistral: a llama to llama.cpp, but for the window that the first of them had."""

from typing import Final

from a3s_power.create.convert import llama
from a3s_power.create.convert.config import Config
from a3s_power.create.convert.family import Family, Keys, tell_of_the_window
from a3s_power.create.convert.folder import Folder


def _keys(config: Config, folder: Folder) -> Keys:
    tell_of_the_window(config, folder)
    return llama.keys(config, folder)


MISTRAL: Final = Family(
    architecture="llama",
    classes=("MistralForCausalLM",),
    key_values=_keys,
    factors=llama.factors,
    defaults={"num_key_value_heads": 8},
    pairs=True,
)
