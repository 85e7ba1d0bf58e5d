"""Schemas that a value must fulfil together, and what their keywords say then; wrong ones are refused."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NoReturn

import msgspec

from a3s_power.core.errors import BadRequest
from a3s_power.output.grammar import valid
from a3s_power.output.grammar.regex import Node as Pattern

TYPES: Final = ("object", "array", "string", "number", "integer", "boolean", "null")

_REFUSED: Final = (
    *("not", "if", "dependentRequired", "dependentSchemas", "dependencies", "contains", "minContains", "maxContains"),
    *("unevaluatedItems", "$dynamicRef", "$recursiveRef"),
)
_OF_TYPE: Final = {
    "minLength": "string",
    "maxLength": "string",
    "pattern": "string",
    "format": "string",
    "minimum": "number",
    "maximum": "number",
    "exclusiveMinimum": "number",
    "exclusiveMaximum": "number",
    "multipleOf": "number",
    "items": "array",
    "prefixItems": "array",
    "additionalItems": "array",
    "minItems": "array",
    "maxItems": "array",
    "uniqueItems": "array",
    "properties": "object",
    "required": "object",
    "additionalProperties": "object",
    "patternProperties": "object",
    "propertyNames": "object",
    "minProperties": "object",
    "maxProperties": "object",
}
OWN: Final = frozenset({*_OF_TYPE, "type", "enum", "const"})
"""Keywords that speak of the value itself, not by way of other schemas."""
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "minLength": (int,),
    "maxLength": (int,),
    "pattern": (str,),
    "format": (str,),
    "minimum": (int, float),
    "maximum": (int, float),
    "exclusiveMinimum": (int, float, bool),
    "exclusiveMaximum": (int, float, bool),
    "multipleOf": (int, float),
    "items": (dict, bool, list),
    "prefixItems": (list,),
    "additionalItems": (dict, bool),
    "minItems": (int,),
    "maxItems": (int,),
    "uniqueItems": (bool,),
    "properties": (dict,),
    "required": (list, bool),
    "additionalProperties": (dict, bool),
    "patternProperties": (dict,),
    "propertyNames": (dict, bool),
    "minProperties": (int,),
    "maxProperties": (int,),
    "enum": (list,),
    "type": (str, list),
    "nullable": (bool,),
    "allOf": (list,),
    "anyOf": (list,),
    "oneOf": (list,),
    "$ref": (str,),
    "unevaluatedProperties": (dict, bool),
}
_NAMES: Final = {dict: "a schema", list: "a list", str: "a text", int: "a number", float: "a number", bool: "a boolean"}

Schema = dict[str, Any]


class Never(Exception):
    """Nothing fulfils it."""


class Part(msgspec.Struct, frozen=True, eq=False):
    """A schema, or its own share without what it refers to; `path` is where it stands."""

    schema: Schema
    path: str

    def refuse(self, keyword: str, why: str) -> NoReturn:
        """Say that this keyword cannot be enforced here."""
        raise BadRequest(f'invalid format: "{keyword}" at {self.path} cannot be enforced: {why}')


Node = tuple[Part, ...]
"""What a value must fulfil: all of these."""


def child(part: Part, keyword: str, value: object, path: str = "") -> Part:
    """A schema inside another. `true` is one that allows everything, `false` raises Never."""
    where = path or f"{part.path}.{keyword}"
    if value is True:
        return Part(_ANYTHING, where)
    if value is False:
        raise Never
    if not isinstance(value, dict):
        raise BadRequest(f'invalid format: "{keyword}" at {part.path} must hold a schema')
    return Part(value, where)


_ANYTHING: Final[Schema] = {}


def check(part: Part) -> None:
    """Refuse keywords of a wrong type, and those that nobody can enforce here."""
    for keyword in _REFUSED:
        if keyword in part.schema and (keyword != "if" or part.schema.keys() & {"then", "else"}):
            part.refuse(keyword, "this version cannot")
    for keyword, kinds in _KINDS.items():
        value = part.schema.get(keyword)
        if keyword in part.schema and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise BadRequest(f'invalid format: "{keyword}" at {part.path} must be {_NAMES[kinds[0]]}')
    unknown = [name for name in _type_list(part) if name not in TYPES]
    if unknown:
        raise BadRequest(f'invalid format: "type" at {part.path} must be one of {", ".join(TYPES)}')
    if "unevaluatedProperties" in part.schema and part.schema["unevaluatedProperties"] is not True:
        part.refuse("unevaluatedProperties", "this version cannot")
    if isinstance(part.schema.get("multipleOf"), (int, float)) and part.schema["multipleOf"] <= 0:
        raise BadRequest(f'invalid format: "multipleOf" at {part.path} must be more than 0')


def _type_list(part: Part) -> list[Any]:
    said = part.schema.get("type", [])
    return said if isinstance(said, list) else [said]


def types(node: Node, *, implied: bool = True) -> frozenset[str]:
    """The types a value may have; where none is named and `implied`, those that the other keywords are about."""
    allowed = frozenset(TYPES)
    for part in node:
        if "type" in part.schema:
            named = set(_type_list(part))
            allowed &= named | ({"integer"} if "number" in named else set())
    if implied and not any("type" in part.schema for part in node):
        about = {_OF_TYPE[keyword] for part in node for keyword in part.schema if keyword in _OF_TYPE}
        allowed = frozenset(about | ({"integer"} if "number" in about else set())) or allowed
    return allowed


def said(node: Iterable[Part], keyword: str) -> Iterator[tuple[Any, Part]]:
    """What the parts say under a keyword."""
    return ((part.schema[keyword], part) for part in node if keyword in part.schema)


def most(node: Node, keyword: str) -> int:
    """The strictest of lower limits, 0 without one."""
    return max((value for value, _ in said(node, keyword)), default=0)


def least(node: Node, keyword: str) -> int | None:
    """The strictest of upper limits."""
    return min((value for value, _ in said(node, keyword)), default=None)


def bounds(node: Node) -> tuple[tuple[Decimal, bool] | None, tuple[Decimal, bool] | None]:
    """The strictest bounds of a number, each with whether it is itself excluded."""
    lows = list(_bounds(node, "minimum", "exclusiveMinimum"))
    highs = list(_bounds(node, "maximum", "exclusiveMaximum"))
    return max(lows, default=None), min(highs, key=lambda bound: (bound[0], not bound[1]), default=None)


def _bounds(node: Node, keyword: str, exclusive: str) -> Iterator[tuple[Decimal, bool]]:
    for part in node:
        excluded = part.schema.get(exclusive)
        if keyword in part.schema:
            yield decimal(part.schema[keyword]), excluded is True
        if excluded is not None and not isinstance(excluded, bool):
            yield decimal(excluded), True


def decimal(value: float) -> Decimal:
    """A number as it was written."""
    return Decimal(repr(value))


def required(node: Node) -> list[str]:
    """The properties that must be there, in the order in which they are named."""
    names = [name for value, _ in said(node, "required") if isinstance(value, list) for name in value]
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))


def property_node(name: str, node: Node, patterns: Mapping[str, Pattern] | None = None) -> Node | None:
    """What a property of this name must fulfil; `None` where there may be none."""
    found: dict[int, Part] = {}
    try:
        for part in node:
            for each in _property(name, part, patterns or {}):
                found[id(each.schema)] = each
    except Never:
        return None
    return tuple(found.values())


def _property(name: str, part: Part, patterns: Mapping[str, Pattern]) -> list[Part]:
    own, found = part.schema.get("properties", {}), []
    if name in own:
        found.append(child(part, "properties", own[name], f"{part.path}.properties.{name}"))
    for text, value in part.schema.get("patternProperties", {}).items():
        if text in patterns and valid.matches(patterns[text], name):
            found.append(child(part, "patternProperties", value))
    if not found and "additionalProperties" in part.schema:
        found.append(child(part, "additionalProperties", part.schema["additionalProperties"]))
    return found
