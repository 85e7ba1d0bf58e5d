"""JSON Schemas as people send them: each is to be answered with valid JSON, whatever the model says."""

from typing import Any, Final

Schema = dict[str, Any]


def thing(properties: Schema, *required: str, **more: Any) -> Schema:
    """An object with these properties."""
    return {"type": "object", "properties": properties, "required": list(required), **more}


_TEXT: Final[Schema] = {"type": "string", "maxLength": 12}
_NUMBER: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 99}
_OLD: Final = "http://json-schema.org/draft-07/schema#"
_TREE: Final[Schema] = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": thing(
            {"v": _NUMBER, "below": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2}}, "v", "below"
        )
    },
}

SCHEMAS: Final[dict[str, Schema]] = {
    "a person": thing({"name": _TEXT, "age": _NUMBER}, "name", "age"),
    "all optional": thing({"a": _TEXT, "b": _NUMBER, "c": {"type": "boolean"}}),
    "mixed": thing({"a": _TEXT, "b": _NUMBER, "c": {"type": "null"}, "d": _TEXT}, "b", "d"),
    "an empty object": thing({}),
    "closed": thing({"a": _NUMBER}, "a", additionalProperties=False),
    "open": thing({"a": _NUMBER}, "a", additionalProperties={"type": "boolean"}),
    "a map": {"type": "object", "additionalProperties": _NUMBER, "maxProperties": 3},
    "a map by names": {"type": "object", "additionalProperties": _NUMBER, "propertyNames": {"enum": ["x", "y"]}},
    "names by a pattern": {
        "type": "object",
        "additionalProperties": {"type": "boolean"},
        "propertyNames": {"pattern": "^[a-z]{1,4}$"},
        "maxProperties": 3,
    },
    "properties by a pattern": {
        "type": "object",
        "properties": {"id": _NUMBER},
        "required": ["id"],
        "patternProperties": {"^x-[a-z]{1,3}$": _TEXT},
        "additionalProperties": False,
    },
    "at least one": thing({"a": _NUMBER, "b": _NUMBER}, minProperties=1),
    "nested": thing({"a": thing({"b": thing({"c": _NUMBER}, "c")}, "b")}, "a"),
    "any object": {"type": "object", "maxProperties": 2, "additionalProperties": {"type": "boolean"}},
    "a short text": {"type": "string", "maxLength": 5},
    "a text of a length": {"type": "string", "minLength": 3, "maxLength": 3},
    "letters": {"type": "string", "pattern": "^[a-z]{2,6}$"},
    "a number plate": {"type": "string", "pattern": "^[A-Z]{1,3}-[A-Z]{1,2} [1-9][0-9]{0,3}$"},
    "alternatives in a pattern": {"type": "string", "pattern": "^(cat|dogs?|bird{2})$"},
    "quotes in a pattern": {"type": "string", "pattern": '^["\\\\/]{2}$'},
    "somewhere inside": {"type": "string", "pattern": "ab"},
    "a pattern with a limit": {"type": "string", "pattern": "^[a-f]+$", "maxLength": 4},
    "classes": {"type": "string", "pattern": "^\\w{3}\\s\\d{2}\\S$"},
    "a date": {"type": "string", "format": "date"},
    "a time": {"type": "string", "format": "time"},
    "a date and time": {"type": "string", "format": "date-time"},
    "a uuid": {"type": "string", "format": "uuid"},
    "an address": {"type": "string", "format": "email"},
    "an ip": {"type": "string", "format": "ipv4"},
    "a long ip": {"type": "string", "format": "ipv6"},
    "an integer": {"type": "integer"},
    "a byte": {"type": "integer", "minimum": 0, "maximum": 255},
    "around nothing": {"type": "integer", "minimum": -12, "maximum": 7},
    "between": {"type": "integer", "exclusiveMinimum": 98, "exclusiveMaximum": 1002},
    "from ten": {"type": "integer", "minimum": 10, "maximum": 5000},
    "a number": {"type": "number"},
    "a share": {"type": "number", "minimum": 0, "maximum": 1},
    "a strict share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "a price": {"type": "number", "minimum": 0.5, "maximum": 99.95, "multipleOf": 0.01},
    "below": {"type": "number", "minimum": -3.25, "maximum": -1.5},
    "fives": {"type": "integer", "minimum": 0, "maximum": 100, "multipleOf": 5},
    "sevens": {"type": "integer", "multipleOf": 7, "minimum": 0},
    "hundreds": {"type": "integer", "multipleOf": 100},
    "a boolean": {"type": "boolean"},
    "nothing": {"type": "null"},
    "words": {"enum": ["red", "green", "blue"]},
    "all kinds": {"enum": ['a\n"', 1, 2.5, None, True, [1, "x"], {"k": {}}]},
    "a constant": {"const": {"is": ["this", 1]}},
    "types": {"type": ["integer", "null", "boolean"]},
    "a list": {"type": "array", "items": _NUMBER, "maxItems": 4},
    "a list of some": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 5},
    "lists in lists": {
        "type": "array",
        "minItems": 1,
        "maxItems": 2,
        "items": {"type": "array", "maxItems": 3, "items": {"type": "array", "items": _NUMBER, "maxItems": 2}},
    },
    "a pair": {"type": "array", "prefixItems": [_TEXT, _NUMBER], "items": False, "minItems": 2},
    "an old pair": {"type": "array", "items": [_NUMBER, _TEXT], "additionalItems": False, "$schema": _OLD},
    "a head and more": {"type": "array", "prefixItems": [{"const": "go"}], "items": _NUMBER, "maxItems": 4},
    "different ones": {"type": "array", "items": {"enum": ["a", "b", "c", "d"]}, "uniqueItems": True, "minItems": 2},
    "objects in a list": {"type": "array", "items": thing({"id": _NUMBER, "tag": _TEXT}, "id"), "maxItems": 3},
    "any of": {"anyOf": [_NUMBER, {"type": "null"}, thing({"x": _NUMBER}, "x")]},
    "any of with a share": thing({"x": _NUMBER}, "x", anyOf=[{"required": ["a"]}, {"required": ["b"]}])
    | {"properties": {"x": _NUMBER, "a": _NUMBER, "b": _TEXT}},
    "one of": {
        "oneOf": [
            thing({"kind": {"const": "circle"}, "r": _NUMBER}, "kind", "r"),
            thing({"kind": {"const": "square"}, "side": _NUMBER}, "kind", "side"),
        ]
    },
    "one of types": {
        "oneOf": [{"type": "string", "maxLength": 3}, {"type": "integer"}, {"type": "array", "maxItems": 0}]
    },
    "all of": {"allOf": [thing({"a": _NUMBER}, "a"), thing({"b": _TEXT}, "b"), {"properties": {"a": {"minimum": 50}}}]},
    "a reference": thing({"from": {"$ref": "#/$defs/place"}, "to": {"$ref": "#/$defs/place"}}, "from", "to")
    | {"$defs": {"place": thing({"x": _NUMBER, "y": _NUMBER}, "x", "y")}},
    "an old reference": {"$ref": "#/definitions/a~1b", "definitions": {"a/b": _NUMBER}},
    "a reference into a list": {"anyOf": [_NUMBER, {"type": "array", "items": {"$ref": "#/anyOf/0"}, "maxItems": 2}]},
    "a tree": _TREE,
    "a list that refers to itself": thing(
        {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "v": _NUMBER}, "v", "next"
    ),
    "two that refer to each other": {
        "$ref": "#/$defs/a",
        "$defs": {
            "a": thing({"b": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/b"}]}}, "b"),
            "b": thing({"a": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/a"}]}}, "a"),
        },
    },
    "pydantic's": {
        "$defs": {"Colour": {"enum": ["red", "blue"], "title": "Colour", "type": "string"}},
        "properties": {
            "name": {"title": "Name", "type": "string", "maxLength": 9},
            "colour": {"$ref": "#/$defs/Colour", "default": "red"},
            "size": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None, "title": "Size"},
        },
        "required": ["name"],
        "title": "Thing",
        "type": "object",
    },
    "names that need care": thing(
        {'q"uote': _NUMBER, "new\nline": _NUMBER, "ünï": _NUMBER}, 'q"uote', "new\nline", "ünï"
    ),
    "without a type": {"properties": {"a": _NUMBER}, "required": ["a"]},
    "with notes": thing(
        {"a": _NUMBER | {"description": "x", "examples": [1], "default": 2}}, "a", title="t", **{"x-y": 1}
    ),
}
