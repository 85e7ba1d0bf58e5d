"""Llama: also the models of many others that say they are one."""

from typing import Final

from a3s_power.create.convert.config import Config
from a3s_power.create.convert.family import Factors, Family, Keys, text_keys
from a3s_power.create.convert.folder import Folder
from a3s_power.create.convert.rope import PLAIN, key_values, llama3_factors, rope

KINDS: Final = (*PLAIN, "llama3")


def keys(config: Config, _: Folder) -> Keys:
    """Sizes and rotation."""
    return text_keys(config) | key_values(rope(config), config, KINDS)


def factors(config: Config) -> Factors:
    """The rotation's factors of Llama 3.1 and later."""
    rotation = rope(config)
    return {"rope_freqs.weight": llama3_factors(rotation, config)} if rotation.rope_type == "llama3" else {}


LLAMA: Final = Family(architecture="llama", classes=("LlamaForCausalLM",), key_values=keys, factors=factors, pairs=True)
