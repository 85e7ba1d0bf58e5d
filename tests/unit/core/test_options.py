"""Options: types are checked late and in Ollama's words, layers merge, unknown names are told."""

import math

import pytest

from a3s_power.core.errors import InvalidOption
from a3s_power.core.options import DEFAULTS, KINDS, LOAD, NAMES, SAMPLERS, Asked, Options, unknown_names

_BREAKERS = 'option "dry_sequence_breakers" must be of 1 to 64 strings of at most 256 characters'
_NO_BIAS = 'option "logit_bias" must be of token ids and numbers'


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("num_ctx", 4096, 4096),
        ("num_ctx", 4096.7, 4096),
        ("num_ctx", 10**18, 2**31 - 1),
        ("num_ctx", -(10**300), -(2**31) + 1),
        ("seed", 2**40, 2**40),
        ("seed", 10**300, 2**63 - 1),
        ("temperature", 1, 1.0),
        ("temperature", 0.7, 0.699999988079071),
        ("use_mmap", False, False),
        ("stop", [], ()),
        ("stop", ["a", "b"], ("a", "b")),
    ],
)
def test_values_are_read_into_their_type(name: str, value: object, read: object) -> None:
    assert Asked.read({name: value}).checked().said() == {name: read}


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("num_ctx", "4096", 'option "num_ctx" must be of type integer'),
        ("num_ctx", True, 'option "num_ctx" must be of type integer'),
        ("num_ctx", float("nan"), 'option "num_ctx" must be of type integer'),
        ("num_ctx", 10**400, 'option "num_ctx" must be of type integer'),
        ("seed", [1], 'option "seed" must be of type integer'),
        ("temperature", "0.5", 'option "temperature" must be of type float32'),
        ("temperature", 1e39, 'option "temperature" must be of type float32'),
        ("temperature", float("inf"), 'option "temperature" must be of type float32'),
        ("temperature", 10**400, 'option "temperature" must be of type float32'),
        ("use_mmap", 1, 'option "use_mmap" must be of type boolean'),
        ("samplers", ["top_k", "bogus"], f'option "samplers" has no "bogus"; there are: {", ".join(SAMPLERS)}'),
        ("dry_sequence_breakers", [], _BREAKERS),
        ("dry_sequence_breakers", ["x"] * 65, _BREAKERS),
        ("dry_sequence_breakers", ["x" * 257], _BREAKERS),
        ("ignore_eos", 1, 'option "ignore_eos" must be of type boolean'),
        ("logit_bias", "x", 'option "logit_bias" must be of type object'),
        ("logit_bias", {"a": 1}, _NO_BIAS),
        ("logit_bias", {"-1": 1}, _NO_BIAS),
        ("logit_bias", [[1, "x"]], _NO_BIAS),
        ("logit_bias", [[1, True]], _NO_BIAS),
        ("logit_bias", [[True, 1]], _NO_BIAS),
        ("logit_bias", [[2**31, 1]], _NO_BIAS),
        ("logit_bias", [[1]], _NO_BIAS),
        ("logit_bias", [[1, 1]] * 1025, 'option "logit_bias" has too many tokens: the limit is 1024'),
        ("stop", "x", 'option "stop" must be of type array'),
        ("stop", ["x", 1], 'option "stop" must be of an array of strings'),
    ],
)
def test_a_wrong_type_is_kept_until_somebody_asks(name: str, value: object, complaint: str) -> None:
    asked = Asked.read({name: value})
    with pytest.raises(InvalidOption) as caught:
        asked.checked()
    assert caught.value.message == complaint


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"5": 1, "7": -2.5}, ((5, 1.0), (7, -2.5))),
        ([[5, 1], [7, False]], ((5, 1.0), (7, -math.inf))),
        ({"5": 1e300}, ((5, 1e6),)),
        ({}, ()),
        (None, ()),
    ],
)
def test_biases_are_read_from_an_object_or_from_pairs(value: object, read: object) -> None:
    asked = Asked.read({"logit_bias": value})
    assert asked.checked() == Options()
    assert (asked.logit_bias, asked.unknown) == (read, ())


def test_null_says_nothing() -> None:
    assert Asked.read({"num_ctx": None, "stop": None}) == Asked()


def test_unknown_names_are_remembered_and_told_in_order() -> None:
    asked = Asked.read({"zeta": 1, "top_k": 3, "alpha": {}})
    assert asked.unknown == ("zeta", "alpha")
    assert asked.options == Options(top_k=3)
    assert unknown_names(asked.unknown) == "options ignored: alpha, zeta"
    assert unknown_names(()) == ""


def test_every_option_has_a_kind_and_every_load_option_is_one() -> None:
    assert set(KINDS) == set(NAMES)
    assert set(LOAD) <= set(NAMES)
    assert not set(LOAD) & set(DEFAULTS.said())


def test_a_later_layer_replaces_an_earlier_one_lists_too() -> None:
    merged = Options.merged(DEFAULTS, Options(stop=("a", "b"), top_k=1), Options(stop=("c",)), Options())
    assert (merged.stop, merged.top_k, merged.temperature) == (("c",), 1, 0.8)
