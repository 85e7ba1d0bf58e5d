"""JSON Schemas as grammars: what follows them is valid, what is valid follows them, and the rest is refused by name."""

import json
import random
from typing import Any

import jsonschema_rs
import pytest

from a3s_power.core.errors import BadRequest
from a3s_power.output.grammar import Wanted
from a3s_power.output.grammar.compile import compiled
from a3s_power.output.grammar.gbnf import MOST_CHARACTERS, Rules
from a3s_power.output.grammar.valid import Judge
from tests.gbnf import Grammar
from tests.schemas import SCHEMAS, Schema, thing

NUMBER: Schema = {"type": "integer"}


def grammar(schema: Schema) -> Grammar:
    rules = Rules()
    return Grammar(rules.text(compiled(schema, rules)))


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_follows_the_grammar_is_valid(name: str) -> None:
    schema, chance = SCHEMAS[name], random.Random(name)
    made, valid = grammar(schema), jsonschema_rs.validator_for(schema, validate_formats=True)
    for _ in range(20):
        text = made.walk(chance)
        value = json.loads(text)
        assert valid.is_valid(value), text
        assert Judge(schema).fault(value) == ""
        assert made.matches(text)


def test_every_schema_of_the_table_is_accepted_within_the_bounds_of_a_request() -> None:
    assert len(SCHEMAS) >= 60
    for schema in SCHEMAS.values():
        Wanted(format=schema).check()


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (SCHEMAS["a person"], {"name": "Ann", "age": 7}),
        (SCHEMAS["all optional"], {}),
        (SCHEMAS["all optional"], {"c": True}),
        (SCHEMAS["all optional"], {"a": "x", "c": False}),
        (SCHEMAS["open"], {"a": 1, "other": True, "ab": False, "": True}),
        (SCHEMAS["a map"], {"k": 1, "l": 2}),
        (SCHEMAS["a tree"], {"v": 1, "below": [{"v": 2, "below": []}, {"v": 3, "below": []}]}),
        (SCHEMAS["properties by a pattern"], {"id": 1, "x-a": "b"}),
        (SCHEMAS["a list of some"], [True, False, True]),
        (SCHEMAS["different ones"], ["a", "c", "d"]),
        (SCHEMAS["one of"], {"kind": "square", "side": 3}),
        ({"type": "string"}, 'any "text"\n\u00e9\U0001f642'),
        ({"type": "number"}, -12.5e10),
        ({"type": "number", "minimum": -2.5, "exclusiveMaximum": 3.125}, 3.1249),
        ({"type": "number", "minimum": -2.5, "exclusiveMaximum": 3.125}, -2.5),
        ({}, {"a": [1, None, {"b": "c"}], "d": -0.5}),
        (thing({}, additionalProperties=True), {"a": [], "b": {}}),
        ({"type": "object"}, {"a": {"b": [None]}}),
        ({"type": "array"}, [1, "a", [], {}]),
        (thing({"a": True}, "a", "b"), {"a": 1, "b": {"c": 2}}),
        ({"oneOf": [thing({"a": NUMBER}, "a"), thing({"b": NUMBER}, "b")]}, {"b": 1}),
        ({"type": "integer", "nullable": True}, None),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_what_is_valid_follows_the_grammar(schema: Schema, value: Any, indent: int | None) -> None:
    assert grammar(schema).matches(json.dumps(value, ensure_ascii=False, indent=indent))


@pytest.mark.parametrize(
    "text", ['{ "a" :1}', '{"a":1,}', '{"a":01}', '{"a":1}\n', '{"a":1}  ', '{"a":"\\ud800"}', '{"a":+1}']
)
def test_what_is_no_good_json_does_not_follow(text: str) -> None:
    assert not grammar({}).matches(text)


@pytest.mark.parametrize(
    ("schema", "keyword", "path"),
    [
        ({"not": {}}, "not", "$"),
        (thing({"a": {"if": {}, "then": {}}}), "if", "$.properties.a"),
        ({"type": "array", "contains": {}}, "contains", "$"),
        ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, "uniqueItems", "$"),
        ({"dependentRequired": {"a": ["b"]}}, "dependentRequired", "$"),
        (thing({}, unevaluatedProperties=False), "unevaluatedProperties", "$"),
        ({"$ref": "https://example.org/schema"}, "$ref", "$"),
        ({"$ref": "#/$defs/none"}, "$ref", "$"),
        ({"$ref": "#name"}, "$ref", "$"),
        ({"anyOf": [{"$ref": "#"}]}, "$ref", "$"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "$ref", "$.$defs.a"),
        ({"type": "string", "pattern": "(?=a)b"}, "pattern", "$"),
        ({"type": "string", "pattern": "(a)\\1"}, "pattern", "$"),
        ({"type": "string", "pattern": "a(b"}, "pattern", "$"),
        ({"type": "string", "pattern": "ab*c*", "maxLength": 3}, "pattern", "$"),
        ({"type": "string", "pattern": "a", "format": "date"}, "format", "$"),
        ({"type": "string", "format": "isbn"}, "format", "$"),
        ({"type": "number", "multipleOf": 0.3}, "multipleOf", "$"),
        ({"type": "integer", "multipleOf": 997}, "multipleOf", "$"),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "oneOf", "$"),
        ({"oneOf": [thing({"a": NUMBER}), thing({"b": NUMBER})]}, "oneOf", "$"),
        ({"type": "object", "minProperties": 2}, "minProperties", "$"),
        (thing({"a": NUMBER, "b": NUMBER}, maxProperties=1), "maxProperties", "$"),
        ({"type": "object", "patternProperties": {"^a": {}, "^b": {}}}, "patternProperties", "$"),
        (thing({"ab": NUMBER}, patternProperties={"^a": {}}), "patternProperties", "$"),
        (thing({"ab": NUMBER}, additionalProperties=True, propertyNames={"maxLength": 3}), "propertyNames", "$"),
        ({"type": "array", "items": thing({"x": {"not": {}}})}, "not", "$.items.properties.x"),
    ],
)
def test_what_cannot_be_enforced_is_refused_by_keyword_and_path(schema: Schema, keyword: str, path: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        grammar(schema)
    assert refusal.value.status == 400
    assert f'"{keyword}" at {path} cannot be enforced' in refusal.value.message


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "nonsense"}, '"type" at $ must be one of object, array'),
        ({"type": 3}, '"type" at $ must be a text'),
        (thing({"a": {"minLength": "3"}}), '"minLength" at $.properties.a must be a number'),
        ({"minItems": True}, '"minItems" at $ must be a number'),
        ({"properties": []}, '"properties" at $ must be a schema'),
        (thing({"a": 3}), '"properties" at $ must hold a schema'),
        ({"anyOf": [3]}, '"anyOf" at $ must hold a schema'),
        ({"enum": "a"}, '"enum" at $ must be a list'),
        ({"multipleOf": 0}, '"multipleOf" at $ must be more than 0'),
        ({"enum": []}, "nothing fulfils the schema"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "nothing fulfils the schema"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "nothing fulfils the schema"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "nothing fulfils the schema"),
        ({"allOf": [{"type": "string"}, {"type": "null"}]}, "nothing fulfils the schema"),
        (thing({"a": False}, "a"), "nothing fulfils the schema"),
        (thing({}, "a", additionalProperties=False), "nothing fulfils the schema"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": thing({"a": {"$ref": "#/$defs/b"}}, "a"), "b": False}},
            "nothing fulfils",
        ),
    ],
)
def test_a_schema_that_is_wrong_is_refused(schema: Schema, message: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        grammar(schema)
    assert message in refusal.value.message


def test_of_many_constants_just_those_are_allowed() -> None:
    values = [*(f"value {at}" for at in range(0, 300, 3)), "value", "", "v", *range(50)]
    made = grammar({"enum": values})
    for value in [*values, "value 1", "valu", "value 3000", 50, 400]:
        assert made.matches(json.dumps(value)) is (value in values)


def test_annotations_and_words_that_nobody_knows_are_no_constraints() -> None:
    noted = {"title": "t", "description": "d", "default": 1, "x-order": 3, "readOnly": True, "propertyOrdering": ["a"]}
    assert grammar(NUMBER | noted).matches("5")


def _nested(depth: int, name: str) -> Schema:
    schema: Schema = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema} if name == "array" else {"anyOf": [schema, {"type": "null"}]}
    return schema


_DOUBLED = {
    f"d{at}": thing({"a": {"$ref": f"#/$defs/d{at + 1}"}, "b": {"$ref": f"#/$defs/d{at + 1}"}}) for at in range(40)
}
_CHOSEN = {f"d{at}": {"anyOf": [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(40)}
_JOINED = {f"d{at}": {"allOf": [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(40)}


@pytest.mark.parametrize(
    "schema",
    [
        _nested(500, "array"),
        _nested(300, "anyOf"),
        {"enum": [f"value {at}" for at in range(20_000)]},
        {"enum": [f"value {at}" for at in range(100_000)]},
        {"type": "array", "items": {"enum": list(range(5_000))}, "uniqueItems": True},
        thing({f"p{at}": {"type": "string"} for at in range(1_000)}),
        thing({f"p{at}": {"type": "string"} for at in range(20_000)}),
        thing({f"p{at}": NUMBER for at in range(500)}, additionalProperties=True),
        {"type": "object", "propertyNames": {"enum": [str(at) for at in range(3_000)]}},
        {"allOf": [{"enum": list(range(2_000))} for _ in range(20)]},
        {"allOf": [{"anyOf": [thing({f"a{at}{by}": {}}) for by in range(6)]} for at in range(8)]},
        {"oneOf": [thing({"k": {"const": at}}, "k") for at in range(200)]},
        {"$ref": "#/$defs/d0", "$defs": _DOUBLED | {"d40": {}}},
        {"$ref": "#/$defs/d0", "$defs": _CHOSEN | {"d40": {}}},
        {"$ref": "#/$defs/d0", "$defs": _JOINED | {"d40": {}}},
        {"type": "string", "maxLength": 2**40},
        {"type": "string", "minLength": 100_000, "maxLength": 1_000_000},
        {"type": "array", "minItems": 10**9},
        {"type": "string", "pattern": "((a{1000}){1000}){1000}"},
        {"type": "string", "pattern": "(" * 2_000 + ")" * 2_000},
        {"type": "number", "minimum": 1e300, "maximum": 1.7e308},
        {"type": "number", "exclusiveMinimum": 1e-300, "maximum": 2e-300},
        {"type": "integer", "multipleOf": 10**300},
    ],
    ids=lambda schema: str(schema)[:40],
)
def test_a_hostile_schema_becomes_a_grammar_within_bounds_or_is_refused(schema: Schema) -> None:
    try:
        text = _written(schema)
    except BadRequest as refusal:
        text = refusal.message
    assert 0 < len(text) < MOST_CHARACTERS + 10_000


def _written(schema: Schema) -> str:
    rules = Rules()
    return rules.text(compiled(schema, rules))


@pytest.mark.parametrize("pattern", ["^(a+)+$", "((((a*)*)*)*)*b", "^(a|a)*$", "(x+x+)+y"])
def test_patterns_that_others_choke_on_are_judged_at_once(pattern: str) -> None:
    schema = {"type": "string", "pattern": pattern}
    assert Judge(schema).fault("a" * 2_000 + "!") != ""
    assert grammar(schema).rules
