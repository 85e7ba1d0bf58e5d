"""config.json: which architecture a model is of, and the numbers that all architectures say in the same words."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from a3s_power.core.errors import BadFile
from a3s_power.create.convert.folder import Folder
from a3s_power.gguf.layout import quoted

CONFIG: Final = "config.json"
_ARCHITECTURE: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")

Count = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
_Layers = Annotated[int, msgspec.Meta(ge=1, le=512)]
_Heads = Annotated[int, msgspec.Meta(ge=1, le=65_536)]
_Positive = Annotated[float, msgspec.Meta(gt=0, le=1e12)]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What a family needs to know, under the names that Transformers gives it; `None` where the file says nothing."""

    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: _Layers
    num_attention_heads: _Heads
    max_position_embeddings: Count
    num_key_value_heads: _Heads | None = None
    head_dim: Count | None = None
    rms_norm_eps: _Positive = 1e-6
    layer_norm_eps: _Positive = 1e-12
    hidden_act: str | None = None
    hidden_activation: str | None = None
    tie_word_embeddings: bool = False
    layer_types: tuple[str, ...] | None = None

    rope_parameters: dict[str, Any] | None = None
    rope_scaling: dict[str, Any] | None = None
    rope_theta: _Positive = 10000.0
    rope_local_base_freq: _Positive | None = None
    partial_rotary_factor: _Positive = 1.0
    original_max_position_embeddings: Count | None = None

    sliding_window: int | None = None
    use_sliding_window: bool = True
    sliding_window_pattern: Count | None = None
    use_bidirectional_attention: bool = False
    attn_logit_softcapping: _Positive | None = None
    final_logit_softcapping: _Positive | None = None
    query_pre_attn_scalar: _Positive | None = None

    attention_multiplier: _Positive = 1.0
    embedding_multiplier: _Positive = 1.0
    residual_multiplier: _Positive = 1.0
    logits_scaling: _Positive = 1.0

    type_vocab_size: Count = 1
    position_embedding_type: str = "absolute"

    @property
    def kv_heads(self) -> int:
        """Key-value heads."""
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def head_length(self) -> int:
        """Elements of one head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads


_NULLABLE: Final = frozenset(field.name for field in msgspec.structs.fields(Config) if field.default is None)
"""What a null says something of; elsewhere it is as if nothing were said."""


def read(folder: Folder) -> tuple[str, dict[str, Any]]:
    """The architecture, and all that config.json says. Raises BadFile when it says none, or cannot be read."""
    said = folder.json(CONFIG, dict[str, Any])
    if said is None:
        raise BadFile(f"{CONFIG} is missing")
    named = said.get("architectures")
    if not isinstance(named, list) or not named or not isinstance(named[0], str):
        raise BadFile("unknown architecture")
    return named[0], said


def understood(said: Mapping[str, Any], defaults: Mapping[str, Any]) -> Config:
    """The numbers, with what a family takes for granted where nothing is said. Raises BadFile for what cannot be."""
    if said.get("quantization_config"):
        raise BadFile("the weights are quantized: only those of 16 or 32 bits can be converted")
    values = {**defaults, **{name: value for name, value in said.items() if value is not None or name in _NULLABLE}}
    try:
        config = msgspec.convert(values, Config)
    except msgspec.MsgspecError as error:
        raise BadFile(f"{CONFIG} cannot be used: {error}") from None
    heads, length = config.num_attention_heads, config.head_length
    if heads % config.kv_heads or length % 2 or not (config.head_dim or config.hidden_size % heads == 0):
        raise BadFile(f"{CONFIG} has {heads} heads of {length} for {config.kv_heads} keys: they do not go together")
    return config


def runs_own_code(said: Mapping[str, Any]) -> bool:
    """Whether the model comes with Python code of its own, which nobody runs here."""
    return bool(said.get("auto_map"))


def may_be_kept(architecture: str, said: Mapping[str, Any]) -> bool:
    """Whether a model without a conversion may stay as it is: it has a name to go by, and no code of its own."""
    return _ARCHITECTURE.fullmatch(architecture) is not None and not runs_own_code(said)


def kept_note(architecture: str) -> str:
    """What is told of a model that stays as it is."""
    return f"cannot be converted: unsupported architecture {quoted(architecture)}; kept as safetensors"


def unsupported(architecture: str, said: Mapping[str, Any]) -> BadFile:
    """The error for an architecture that is not in the table."""
    why = "; the model's own code is not run" if runs_own_code(said) else ""
    return BadFile(f"unsupported architecture {quoted(architecture)}{why}")
