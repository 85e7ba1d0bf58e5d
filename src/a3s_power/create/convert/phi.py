"""Phi 3, 3.5 and 4: queries, keys and values in one matrix, and rotations by lists of factors for long contexts."""

import math
from typing import Final

from a3s_power.core.errors import BadFile
from a3s_power.create.convert.config import CONFIG, Config
from a3s_power.create.convert.family import Factors, Family, Keys, tell_of_the_window, text_keys
from a3s_power.create.convert.folder import Folder
from a3s_power.create.convert.rope import PLAIN, dimensions, key_values, rope
from a3s_power.create.convert.vocabulary import Vocabulary

_LONG: Final = "longrope"


def _keys(config: Config, folder: Folder) -> Keys:
    tell_of_the_window(config, folder)
    rotation = rope(config)
    values = text_keys(config) | key_values(rotation, config, (*PLAIN, _LONG), partly=True)
    old = rotation.original_max_position_embeddings or config.max_position_embeddings
    if rotation.rope_type != "yarn":
        values["rope.scaling.original_context_length"] = old
    if rotation.rope_type == _LONG:
        scale = config.max_position_embeddings / old
        usual = math.sqrt(1 + math.log(scale) / math.log(old)) if scale > 1 else 1.0
        values["rope.scaling.attn_factor"] = rotation.attention_factor or usual
    return values


def _factors(config: Config) -> Factors:
    rotation = rope(config)
    if rotation.rope_type != _LONG:
        return {}
    if not len(rotation.long_factor) == len(rotation.short_factor) == dimensions(rotation, config) // 2:
        raise BadFile(f"{CONFIG} has not one long_factor and one short_factor for each rotation")
    return {"rope_factors_long.weight": rotation.long_factor, "rope_factors_short.weight": rotation.short_factor}


def _general(_: Config, vocabulary: Vocabulary) -> Keys:
    # By this name llama.cpp drops blanks after special tokens. It looks for these four then, and ends without them.
    whole = vocabulary.numbers().keys() >= {"<unk>", "<s>", "</s>", "<|endoftext|>"}
    return {"general.name": "Phi-3"} if whole and vocabulary.strips else {}


PHI3: Final = Family(
    architecture="phi3", classes=("Phi3ForCausalLM",), key_values=_keys, factors=_factors, general=_general
)
