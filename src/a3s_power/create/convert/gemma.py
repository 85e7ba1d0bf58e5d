"""Gemma 2, and Gemma 3's part that writes texts."""

import re
from typing import Final

from a3s_power.core.errors import BadFile
from a3s_power.create.convert.config import CONFIG, Config
from a3s_power.create.convert.family import Family, Keys, text_keys, text_name
from a3s_power.create.convert.folder import Folder
from a3s_power.create.convert.rope import SLIDING, key_values, rope
from a3s_power.gguf.layout import ValueType
from a3s_power.gguf.writer import Typed

_TANH: Final = ("gelu_pytorch_tanh", "gelu_new")
_IMAGES: Final = re.compile(r"(model\.)?(vision_tower|multi_modal_projector)\..*")
_TEXTS: Final = re.compile(r"(?:model\.language_model\.|language_model\.(?:model\.)?(?!lm_head))(.*)")

_LAYERS_OF_27B: Final = {"gemma2": 46, "gemma3": 62}
"""By their number llama.cpp knows the 27B, whose queries it scales otherwise."""


def _keys(config: Config, architecture: str, every: int) -> Keys:
    _check_scale(config, architecture)
    values = text_keys(config)
    if config.sliding_window:
        values["attention.sliding_window"] = config.sliding_window
        slides = _sliding(config, every)
        if slides != [layer % every != every - 1 for layer in range(config.num_hidden_layers)]:
            values["attention.sliding_window_pattern"] = Typed(ValueType.BOOL, slides)
    return values | {"final_logit_softcapping": config.final_logit_softcapping or 0.0}


def _gemma2_keys(config: Config, _: Folder) -> Keys:
    if not config.attn_logit_softcapping:
        raise BadFile(f"{CONFIG} asks for another attention than llama.cpp has for Gemma 2")
    values = _keys(config, "gemma2", 2) | key_values(rope(config), config)
    return values | {"attn_logit_softcapping": config.attn_logit_softcapping}


def _gemma3_keys(config: Config, _: Folder) -> Keys:
    if config.attn_logit_softcapping or config.use_bidirectional_attention:
        raise BadFile(f"{CONFIG} asks for another attention than llama.cpp has for Gemma 3")
    apart = SLIDING in (config.rope_parameters or {})
    base = rope(config, SLIDING).rope_theta if apart else config.rope_local_base_freq or 10000.0
    return _keys(config, "gemma3", 6) | key_values(rope(config), config) | {"rope.freq_base_swa": base}


def _sliding(config: Config, every: int) -> list[bool]:
    """Which layers see a window only."""
    layers = range(config.num_hidden_layers)
    if config.layer_types is not None:
        if len(config.layer_types) != config.num_hidden_layers:
            raise BadFile(f"{CONFIG} has {len(config.layer_types)} layer_types for {config.num_hidden_layers} layers")
        return [kind == SLIDING for kind in config.layer_types]
    period = config.sliding_window_pattern or every
    return [layer % period != period - 1 for layer in layers]


def _check_scale(config: Config, architecture: str) -> None:
    """llama.cpp takes no number for the scale of queries: it must be the one it comes to by itself."""
    of_27b = config.num_hidden_layers == _LAYERS_OF_27B[architecture]
    own = config.hidden_size // config.num_attention_heads if of_27b else config.head_length
    if config.query_pre_attn_scalar not in (None, own):
        asked = config.query_pre_attn_scalar
        raise BadFile(f"{CONFIG} scales queries by {asked:g}: llama.cpp takes {own} for a model of this size")


def _gemma3_name(name: str, folder: Folder) -> str | None:
    if _IMAGES.fullmatch(name):
        folder.note("the image encoder is left out: the model will not see images")
        return None
    texts = _TEXTS.fullmatch(name)
    return text_name(f"model.{texts[1]}" if texts else name.removeprefix("language_model."), folder)


GEMMA2: Final = Family(
    architecture="gemma2",
    classes=("Gemma2ForCausalLM",),
    key_values=_gemma2_keys,
    defaults={
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
        "sliding_window": 4096,
        "query_pre_attn_scalar": 256,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    },
    shift=1.0,
    activations=_TANH,
)
GEMMA3: Final = Family(
    architecture="gemma3",
    classes=("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
    key_values=_gemma3_keys,
    name=_gemma3_name,
    nested="text_config",
    defaults={
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131_072,
        "tie_word_embeddings": True,
        "sliding_window": 4096,
        "query_pre_attn_scalar": 256,
        "rope_theta": 1e6,
        "rope_local_base_freq": 1e4,
    },
    shift=1.0,
    activations=_TANH,
)
