"""Granite 3 without experts: a llama with four factors of its own."""

from typing import Final

from a3s_power.create.convert import llama
from a3s_power.create.convert.config import Config
from a3s_power.create.convert.family import Family, Keys
from a3s_power.create.convert.folder import Folder


def _keys(config: Config, folder: Folder) -> Keys:
    return llama.keys(config, folder) | {
        "attention.scale": config.attention_multiplier,
        "embedding_scale": config.embedding_multiplier,
        "residual_scale": config.residual_multiplier,
        "logit_scale": config.logits_scaling,
    }


GRANITE: Final = Family(
    architecture="granite", classes=("GraniteForCausalLM",), key_values=_keys, factors=llama.factors, pairs=True
)
