"""Laws of grammars: what is written by one is valid, whatever the schema, the pattern or the bounds."""

import json
import random
import re
from decimal import Decimal
from typing import Any

import jsonschema_rs
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from a3s_power.core.errors import BadRequest
from a3s_power.output.grammar import Layout, Wanted, grammar, numbers, regex
from a3s_power.output.grammar.compile import compiled
from a3s_power.output.grammar.gbnf import Rules
from a3s_power.output.grammar.valid import Judge
from tests.gbnf import Grammar

_NUMBERS = st.sampled_from([0, 1, -1, 2, 5, -7, 10, 99, 100, 12345, 0.5, -0.25, 1.5, 3.75, -2.5, 0.1, 0.001])
_SMALL = st.integers(0, 4)
_NAMES = st.sampled_from(["a", "b", "ab", "x y", 'q"', "é"])
_CONSTANTS: st.SearchStrategy[Any] = st.sampled_from(["a", "b\n", '"', 1, 2.5, 1.0, None, True, [1, "x"], {"k": []}])
_PATTERNS = st.sampled_from(
    ["^[a-z]+$", "ab", "^a|b$", "^(x|y{2,3})*$", "\\d{3}", "^\\w+\\s\\S$", '^[^a-c"]{2}$', '["\\\\]']
)


def _with(base: dict[str, Any], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({key: st.just(value) for key, value in base.items()}, optional=optional)


def _objects(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    extra = st.one_of(st.booleans(), inside)
    return st.builds(
        lambda properties, needed, more: (
            {
                "type": "object",
                "properties": properties,
                "required": [name for name in properties if name in needed],
            }
            | more
        ),
        st.dictionaries(_NAMES, inside, max_size=4),
        st.sets(_NAMES),
        _with({}, additionalProperties=extra, minProperties=st.integers(0, 1)),
    )


def _larger(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inside, min_size=1, max_size=3)
    return st.one_of(
        _objects(inside),
        _with({"type": "object"}, additionalProperties=inside, maxProperties=_SMALL, patternProperties=st.just({})),
        st.builds(lambda schema: {"type": "object", "patternProperties": {"^x-": schema}}, inside),
        _with({"type": "array"}, items=inside, minItems=_SMALL, maxItems=_SMALL, prefixItems=some),
        st.fixed_dictionaries({"anyOf": some}),
        st.fixed_dictionaries({"oneOf": some}),
        st.fixed_dictionaries({"allOf": some}),
    )


_LEAVES = st.one_of(
    _with({"type": "string"}, minLength=_SMALL, maxLength=st.integers(0, 9)),
    _with({"type": "string"}, pattern=_PATTERNS),
    _with(
        {"type": "integer"}, minimum=_NUMBERS, exclusiveMaximum=_NUMBERS, multipleOf=st.sampled_from([1, 2, 3, 10, 25])
    ),
    _with(
        {"type": "number"}, exclusiveMinimum=_NUMBERS, maximum=_NUMBERS, multipleOf=st.sampled_from([1, 0.1, 0.01, 5])
    ),
    st.fixed_dictionaries({"enum": st.lists(_CONSTANTS, min_size=1, max_size=4)}),
    st.fixed_dictionaries({"const": _CONSTANTS}),
    st.fixed_dictionaries(
        {"type": st.lists(st.sampled_from(["string", "integer", "null", "boolean"]), min_size=1, unique=True)}
    ),
    st.just({"$ref": "#/$defs/node"}),
    st.builds(
        lambda values: {"type": "array", "items": {"enum": values}, "uniqueItems": True},
        st.lists(_CONSTANTS, min_size=1, max_size=5),
    ),
)
schemas = st.recursive(_LEAVES, _larger, max_leaves=8)
_NODE = {
    "type": "object",
    "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    "required": ["v"],
}


@settings(max_examples=150)
@given(schema=schemas, seed=st.integers(0, 9))
def test_whatever_follows_a_schemas_grammar_is_valid(schema: dict[str, Any], seed: int) -> None:
    whole = {**schema, "$defs": {"node": _NODE}}
    rules = Rules()
    try:
        made = Grammar(rules.text(compiled(whole, rules)))
    except BadRequest:
        assume(False)
    valid, chance = jsonschema_rs.validator_for(whole), random.Random(seed)
    for _ in range(4):
        text = made.walk(chance)
        value = json.loads(text)
        assert valid.is_valid(value), text
        assert Judge(whole).fault(value) == ""


_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.floats(-9, 9).map(lambda x: round(x, 3)), st.text()),
    lambda inside: st.one_of(st.lists(inside, max_size=3), st.dictionaries(st.text(max_size=3), inside, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=100)
@given(value=_values, indent=st.sampled_from([None, 1, 4]))
def test_any_value_follows_the_grammar_of_anything(value: Any, indent: int | None) -> None:
    rules = Rules()
    made = Grammar(rules.text(compiled({}, rules)))
    assert made.matches(json.dumps(value, indent=indent, ensure_ascii=False))


@settings(max_examples=100)
@given(schema=schemas, value=_values)
def test_the_judge_says_what_a_validator_says(schema: dict[str, Any], value: Any) -> None:
    whole = {**schema, "$defs": {"node": _NODE}}
    assert (Judge(whole).fault(value) == "") == jsonschema_rs.is_valid(whole, value)


_bounds = st.decimals(-1000, 1000, places=2) | st.integers(-50, 50).map(Decimal)


@settings(max_examples=150)
@given(low=_bounds, high=_bounds, out=st.tuples(st.booleans(), st.booleans()), value=_bounds, seed=st.integers(0, 5))
def test_numbers_keep_their_bounds(
    low: Decimal, high: Decimal, out: tuple[bool, bool], value: Decimal, seed: int
) -> None:
    def allowed(number: Decimal) -> bool:
        return low <= number <= high and not (out[0] and number == low) and not (out[1] and number == high)

    body = numbers.number((low, out[0]), (high, out[1]), None)
    if body is None:
        assert not allowed(value)
        return
    made = Grammar(f"root ::= {body}\n")
    for step in range(4):
        assert allowed(Decimal(made.walk(random.Random(seed + step))))
    assert made.matches(format(value.normalize() if value else Decimal(0), "f")) == allowed(value)


@settings(max_examples=100)
@given(low=st.integers(-3000, 3000), high=st.integers(-3000, 3000), value=st.integers(-3500, 3500))
def test_whole_numbers_are_just_those_between_their_bounds(low: int, high: int, value: int) -> None:
    body = numbers.integer(low, high)
    assert (body is not None and Grammar(f"root ::= {body}\n").matches(str(value))) == (low <= value <= high)


@settings(max_examples=150)
@given(
    of=st.sampled_from([2, 3, 4, 7, 8, 10, 12, 25, 100]),
    low=st.none() | st.integers(-50, 9),
    value=st.integers(-90, 9999),
)
def test_multiples_are_just_the_multiples(of: int, low: int | None, value: int) -> None:
    rules = Rules()
    try:
        body = numbers.multiple(of, low, None, rules)
    except numbers.TooMuch:
        assume(False)
    assert body is not None
    made = Grammar(rules.text(body))
    assert made.matches(str(value)) == (value % of == 0 and (low is None or value >= low))


_expressions = st.recursive(
    st.sampled_from(["a", "b", "[ab]", "[^a]", ".", "\\d", "\\.", "é", "\\n", '"']),
    lambda inside: st.one_of(
        st.tuples(inside, inside).map("".join),
        st.tuples(inside, inside).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inside, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,2}"])).map(
            lambda two: f"({two[0]}){two[1]}"
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=100)
@given(pattern=_expressions, text=st.text('ab1.é\n"', max_size=6), seed=st.integers(0, 5))
def test_patterns_mean_what_they_mean_elsewhere(pattern: str, text: str, seed: int) -> None:
    tree = regex.read(pattern, whole=True)
    assert regex.matches(tree, text) == (re.fullmatch(pattern, text, re.ASCII) is not None)
    assert regex.matches(regex.read(pattern, whole=False), text) == (re.search(pattern, text, re.ASCII) is not None)
    made = Grammar(grammar(Wanted(pattern=pattern), Layout(), None, print))
    assert made.matches(text) == (re.fullmatch(pattern, text, re.ASCII) is not None)
    assert re.fullmatch(pattern, made.walk(random.Random(seed)), re.ASCII)


@settings(max_examples=100)
@given(
    text=st.lists(st.sampled_from(["<", "</", "</t", "</think>", "<think>", "a", ">", "k>"]), max_size=8).map("".join),
    mark=st.sampled_from(["</think>", "<<a", "aa<aa", "[/THINK]"]),
)
def test_a_stretch_ends_at_its_first_mark(text: str, mark: str) -> None:
    opened = Layout(thinking=("<!>", mark), opened=True)
    made = Grammar(grammar(Wanted(choices=("yes",)), opened, None, print))
    ends_so = text.endswith(mark) and text.find(mark) == len(text) - len(mark)
    assert made.matches(text + "yes") == ends_so
