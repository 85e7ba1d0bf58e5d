"""How positions turn queries and keys: what config.json says of it in its several forms, and what llama.cpp wants.

The forms are those of Transformers' rope utilities, before version 5 (`rope_theta`, `rope_scaling`) and since
(`rope_parameters`, for each kind of layer where kinds differ).
"""

import math
from collections.abc import Collection
from typing import Annotated, Any, Final

import msgspec

from a3s_power.core.errors import BadFile
from a3s_power.create.convert.config import CONFIG, Config, Count
from a3s_power.gguf.layout import quoted
from a3s_power.gguf.writer import Writable

_Positive = Annotated[float, msgspec.Meta(gt=0, le=1e12)]

WHOLE: Final = "full_attention"
SLIDING: Final = "sliding_attention"
PLAIN: Final = ("default", "linear", "dynamic", "yarn")
"""Kinds of scaling that llama.cpp does by key-values alone, whatever the architecture."""


class Rope(msgspec.Struct, frozen=True, kw_only=True):
    """The rotation of one kind of layers."""

    rope_type: str = "default"
    rope_theta: _Positive = 10000.0
    partial_rotary_factor: _Positive = 1.0
    factor: _Positive = 1.0
    original_max_position_embeddings: Count | None = None
    attention_factor: _Positive | None = None
    beta_fast: _Positive | None = None
    beta_slow: _Positive | None = None
    low_freq_factor: _Positive = 1.0
    high_freq_factor: _Positive = 4.0
    long_factor: tuple[float, ...] = ()
    short_factor: tuple[float, ...] = ()


def rope(config: Config, layers: str = WHOLE) -> Rope:
    """The rotation of the layers of a kind. Raises BadFile for what cannot be read."""
    said = config.rope_parameters
    if said is None:
        said = {"rope_theta": config.rope_theta, **(config.rope_scaling or {})}
    elif isinstance(said.get(layers), dict):
        said = said[layers]
    values: dict[str, Any] = {
        "rope_theta": config.rope_theta,
        "partial_rotary_factor": config.partial_rotary_factor,
        "original_max_position_embeddings": config.original_max_position_embeddings,
    }
    values |= {name: value for name, value in said.items() if value is not None}
    kind = values.get("rope_type") or values.get("type") or "default"
    try:
        return msgspec.convert({**values, "rope_type": "longrope" if kind == "su" else kind}, Rope)
    except msgspec.MsgspecError as error:
        raise BadFile(f"the rotation in {CONFIG} cannot be used: {error}") from None


def key_values(
    rotation: Rope, config: Config, kinds: Collection[str] = PLAIN, *, partly: bool = False
) -> dict[str, Writable]:
    """The rotation's keys below the architecture's name; `partly` if llama.cpp can turn a part of a head.

    Raises BadFile unless its scaling is one of `kinds`.
    """
    kind, factor = rotation.rope_type, rotation.factor
    if kind not in kinds:
        raise BadFile(f"rope scaling {quoted(kind)} cannot be converted for this architecture")
    if dimensions(rotation, config) != config.head_length and not partly:
        raise BadFile("a rotation of parts of heads cannot be converted for this architecture")
    values: dict[str, Writable] = {
        "rope.dimension_count": dimensions(rotation, config),
        "rope.freq_base": rotation.rope_theta,
    }
    if kind == "linear":
        values |= {"rope.scaling.type": "linear", "rope.scaling.factor": factor}
    elif kind == "yarn":
        values |= _yarn(rotation, config)
    # What is dynamic begins beyond the context; the rest are tensors.
    return values


def dimensions(rotation: Rope, config: Config) -> int:
    """How many elements of a head are turned."""
    return int(config.head_length * rotation.partial_rotary_factor)


def _yarn(rotation: Rope, config: Config) -> dict[str, Writable]:
    values: dict[str, Writable] = {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": rotation.factor,
        "rope.scaling.original_context_length": (
            rotation.original_max_position_embeddings or config.max_position_embeddings
        ),
    }
    if rotation.attention_factor:
        # llama.cpp multiplies with it what Transformers takes when nothing is said.
        usual = 0.1 * math.log(max(rotation.factor, 1.0)) + 1.0
        values["rope.scaling.attn_factor"] = rotation.attention_factor / usual
    if rotation.beta_fast:
        values["rope.scaling.yarn_beta_fast"] = rotation.beta_fast
    if rotation.beta_slow:
        values["rope.scaling.yarn_beta_slow"] = rotation.beta_slow
    return values


def llama3_factors(rotation: Rope, config: Config) -> tuple[float, ...]:
    """By how much each rotation is slowed: the slow ones wholly, the quick ones not at all, and smoothly in between."""
    size = dimensions(rotation, config)
    old = rotation.original_max_position_embeddings or config.max_position_embeddings
    low, high = rotation.low_freq_factor, rotation.high_freq_factor
    if low >= high:
        raise BadFile(f"the rotation in {CONFIG} cannot be used: high_freq_factor must be over low_freq_factor")

    def slowed(pair: int) -> float:
        turns = old / (2 * math.pi * math.pow(rotation.rope_theta, 2 * pair / size))
        quick = min(max((turns - low) / (high - low), 0.0), 1.0)
        return 1 / ((1 - quick) / rotation.factor + quick)

    return tuple(slowed(pair) for pair in range(size // 2))
