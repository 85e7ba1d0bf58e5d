"""Qwen 2 and 2.5, and Qwen 3 without experts."""

from typing import Final

from a3s_power.create.convert.config import Config
from a3s_power.create.convert.family import Family, Keys, tell_of_the_window, text_keys
from a3s_power.create.convert.folder import Folder
from a3s_power.create.convert.rope import key_values, rope


def _keys(config: Config, folder: Folder) -> Keys:
    tell_of_the_window(config, folder)
    return text_keys(config) | key_values(rope(config), config)


QWEN2: Final = Family(
    architecture="qwen2",
    classes=("Qwen2ForCausalLM",),
    key_values=_keys,
    defaults={"use_sliding_window": False},
)
QWEN3: Final = Family(
    architecture="qwen3",
    classes=("Qwen3ForCausalLM",),
    key_values=_keys,
    defaults={"use_sliding_window": False, "head_dim": 128},
)
