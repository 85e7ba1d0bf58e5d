"""Family: what must be known of one kind of models to convert it, and what all that write texts have in common."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from a3s_power.core.errors import BadFile
from a3s_power.create.convert.config import CONFIG, Config
from a3s_power.create.convert.folder import Folder
from a3s_power.create.convert.vocabulary import Vocabulary
from a3s_power.gguf.layout import ValueType, quoted
from a3s_power.gguf.writer import Typed, Writable

Keys = dict[str, Writable]
"""Key-values, the keys without the architecture's name in front."""

Factors = dict[str, tuple[float, ...]]
"""Tensors that are made of the config, by name."""

_UNNEEDED: Final = re.compile(r"model\.layers\.[0-9]+\.self_attn\.rotary_emb\.inv_freq")


def text_name(name: str, _: Folder) -> str | None:
    """The name of a tensor of a model that writes texts; names of another form would mean another order of rows."""
    if _UNNEEDED.fullmatch(name):
        return None
    if not name.startswith(("model.", "lm_head.")):
        raise no_place(name)
    return name


def no_place(name: str) -> BadFile:
    """The error for a tensor that the model should not have."""
    return BadFile(f"tensor {quoted(name)} has no place in a model of this architecture")


def _nothing(*_: object) -> dict[str, Any]:
    return {}


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """One architecture of llama.cpp, and the classes of Transformers that are it.

    `defaults` are what config.json need not say, and `nested` is where in it a text model's part may lie. `name` gives
    the name under which the `gguf` library knows a tensor, `None` for one that is not needed. `pairs` says that
    llama.cpp wants the two halves of each rotation of queries and keys side by side; `shift` is added to norms.
    `activations` are those that llama.cpp does; `needed` are tensors no model is without; `general` are key-values
    that belong to no architecture.
    """

    architecture: str
    classes: tuple[str, ...]
    key_values: Callable[[Config, Folder], Keys]
    factors: Callable[[Config], Factors] = _nothing
    general: Callable[[Config, Vocabulary], Keys] = _nothing
    name: Callable[[str, Folder], str | None] = text_name
    defaults: Mapping[str, Any] = {}
    nested: str = ""
    pairs: bool = False
    shift: float = 0.0
    activations: tuple[str, ...] = ("silu", "swish")
    needed: tuple[str, ...] = ("token_embd.weight", "output_norm.weight")


def text_keys(config: Config) -> Keys:
    """What every model that writes texts says of its sizes."""
    return {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.kv_heads,
        "attention.key_length": config.head_length,
        "attention.value_length": config.head_length,
        "attention.layer_norm_rms_epsilon": Typed(ValueType.FLOAT32, config.rms_norm_eps),
    }


def check_activation(config: Config, family: Family) -> None:
    """Raise BadFile when the model does between its layers what llama.cpp does not."""
    said = config.hidden_activation or config.hidden_act
    if said is not None and said not in family.activations:
        raise BadFile(f"{CONFIG} asks for the activation {quoted(said)}: llama.cpp has {family.activations[0]} here")


def tell_of_the_window(config: Config, folder: Folder) -> None:
    """Tell that a sliding window is not applied, where the context is longer than it."""
    window = config.sliding_window
    if window and config.use_sliding_window and window < config.max_position_embeddings:
        folder.note(f"the sliding window of {window} tokens is not applied: every token sees all before it")
