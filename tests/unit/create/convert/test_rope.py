import math
from typing import Any

import pytest

from a3s_power.core.errors import BadFile
from a3s_power.create.convert.config import Config, understood
from a3s_power.create.convert.rope import SLIDING, key_values, llama3_factors, rope

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 4096,
}


def _config(**said: Any) -> Config:
    return understood({**SIZES, **said}, {})


@pytest.mark.parametrize(
    "said",
    [
        {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4}},
        {"rope_theta": 5e5, "rope_scaling": {"rope_type": "linear", "factor": 4.0}},
        {"rope_parameters": {"rope_theta": 5e5, "rope_type": "linear", "factor": 4.0}},
        {"rope_parameters": {"full_attention": {"rope_theta": 5e5, "rope_type": "linear", "factor": 4.0}}},
        {"rope_theta": 1.0, "rope_parameters": {"rope_theta": 5e5, "rope_type": "linear", "factor": 4.0}},
    ],
)
def test_the_old_words_and_the_new_ones_mean_the_same(said: dict[str, Any]) -> None:
    config = _config(**said)
    assert key_values(rope(config), config) == {
        "rope.dimension_count": 16,
        "rope.freq_base": 5e5,
        "rope.scaling.type": "linear",
        "rope.scaling.factor": 4.0,
    }


def test_kinds_of_layers_may_turn_differently() -> None:
    said = {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}
    config = _config(rope_parameters=said)
    assert (rope(config).rope_theta, rope(config, SLIDING).rope_theta) == (1e6, 1e4)


@pytest.mark.parametrize("said", [{}, {"rope_scaling": None}, {"rope_scaling": {"type": "dynamic", "factor": 2.0}}])
def test_what_changes_nothing_within_the_context_is_not_said(said: dict[str, Any]) -> None:
    config = _config(**said)
    assert key_values(rope(config), config) == {"rope.dimension_count": 16, "rope.freq_base": 10000.0}


def test_yarn_is_said_as_llama_cpp_multiplies_it() -> None:
    scaling = {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.5, "beta_fast": 16, "beta_slow": 2}
    config = _config(rope_scaling=scaling)
    values = key_values(rope(config), config)
    assert values.pop("rope.scaling.attn_factor") == pytest.approx(1.5 / (0.1 * math.log(4) + 1))
    assert values == {
        "rope.dimension_count": 16,
        "rope.freq_base": 10000.0,
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 4.0,
        "rope.scaling.original_context_length": 4096,
        "rope.scaling.yarn_beta_fast": 16.0,
        "rope.scaling.yarn_beta_slow": 2.0,
    }


def test_llama_3s_factors_leave_quick_rotations_alone_and_slow_the_slow_ones() -> None:
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    config = _config(rope_theta=5e5, rope_scaling=scaling | {"original_max_position_embeddings": 8192}, head_dim=128)
    factors = llama3_factors(rope(config), config)
    assert len(factors) == 64
    assert (factors[0], factors[-1]) == (1.0, 8.0)
    assert list(factors) == sorted(factors)
    # The first of them between the two, by the rule as Meta wrote it.
    pair = next(pair for pair, factor in enumerate(factors) if factor > 1)
    wavelength = 2 * math.pi * 5e5 ** (2 * pair / 128)
    smooth = (8192 / wavelength - 1) / (4 - 1)
    assert factors[pair] == pytest.approx(1 / ((1 - smooth) / 8 + smooth))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"rope_scaling": {"type": "llama3", "factor": 8.0}}, 'rope scaling "llama3" cannot be converted'),
        ({"rope_scaling": {"type": "\x1b[31m"}}, "cannot be converted"),
        ({"rope_scaling": {"type": 7}}, "the rotation in config.json cannot be used"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "the rotation in config.json cannot be used"),
        ({"rope_scaling": {"type": "linear", "factor": "x"}}, "the rotation in config.json cannot be used"),
        ({"rope_parameters": {"rope_theta": -1.0}}, "the rotation in config.json cannot be used"),
        ({"partial_rotary_factor": 0.5}, "a rotation of parts of heads cannot be converted"),
    ],
)
def test_what_llama_cpp_does_not_do_is_refused(said: dict[str, Any], message: str) -> None:
    config = _config(**said)
    with pytest.raises(BadFile, match=message):
        key_values(rope(config), config)


def test_llama_3s_factors_that_contradict_each_other_are_refused() -> None:
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0}
    config = _config(rope_scaling=scaling)
    with pytest.raises(BadFile, match="high_freq_factor must be over low_freq_factor"):
        llama3_factors(rope(config), config)
