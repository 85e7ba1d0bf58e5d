"""Judge: whether a value fulfils a JSON Schema, for the keywords that can be enforced. Its time is bounded."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any, Final, cast

from a3s_power.output.grammar.regex import Node as Pattern
from a3s_power.output.grammar.regex import matches, read

MOST_STEPS: Final = 200_000

__all__ = ["Judge", "matches"]


class _TooMuch(Exception):
    """The value and the schema have too many places to compare."""


class Judge:
    """Judges values by the schemas inside `root`; `patterns` are those that were read already."""

    def __init__(self, root: dict[str, Any], patterns: dict[str, Pattern] | None = None) -> None:
        self._root = root
        self._patterns = patterns if patterns is not None else {}
        self._left = MOST_STEPS

    def fault(self, value: Any, schema: Any = None) -> str:  # noqa: ANN401 -- JSON is anything
        """The first thing wrong with a value, as `path: keyword`; empty when there is none, or too much to look at."""
        try:
            return next(self._faults(value, self._root if schema is None else schema, "$"), "")
        except (_TooMuch, RecursionError):
            return ""

    def _faults(self, value: Any, schema: Any, path: str) -> Iterator[str]:  # noqa: ANN401
        self._left -= 1
        if self._left < 0:
            raise _TooMuch
        if isinstance(schema, bool):
            if not schema:
                yield f"{path}: false"
            return
        yield from (f"{path}: {keyword}" for keyword in self._wrong(value, schema))
        if isinstance(value, dict):
            yield from self._properties(value, schema, path)
        elif isinstance(value, list):
            yield from self._items(value, schema, path)

    def _fits(self, value: Any, schema: Any) -> bool:  # noqa: ANN401
        return next(self._faults(value, schema, ""), None) is None

    def _wrong(self, value: Any, schema: dict[str, Any]) -> Iterator[str]:  # noqa: ANN401
        """The keywords about the value as a whole that it does not fulfil."""
        if "$ref" in schema and not self._fits(value, self._target(schema["$ref"])):
            yield "$ref"
        if "type" in schema and not _is_one(value, schema["type"]) and not (value is None and schema.get("nullable")):
            yield "type"
        if "const" in schema and key(value) != key(schema["const"]):
            yield "const"
        if "enum" in schema and key(value) not in set(map(key, schema["enum"])):
            yield "enum"
        if not all(self._fits(value, each) for each in schema.get("allOf", ())):
            yield "allOf"
        if "anyOf" in schema and not any(self._fits(value, each) for each in schema["anyOf"]):
            yield "anyOf"
        if "oneOf" in schema and sum(self._fits(value, each) for each in schema["oneOf"]) != 1:
            yield "oneOf"
        if isinstance(value, str):
            yield from self._of_text(value, schema)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield from _of_number(value, schema)

    def _of_text(self, value: str, schema: dict[str, Any]) -> Iterator[str]:
        if len(value) < schema.get("minLength", 0):
            yield "minLength"
        if len(value) > schema.get("maxLength", len(value)):
            yield "maxLength"
        if "pattern" in schema and not matches(self._pattern(schema["pattern"]), value):
            yield "pattern"

    def _properties(self, value: dict[str, Any], schema: dict[str, Any], path: str) -> Iterator[str]:
        needed = schema.get("required", ())
        if isinstance(needed, list) and not all(name in value for name in needed):
            yield f"{path}: required"
        if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
            yield f"{path}: minProperties or maxProperties"
        own, by_pattern = schema.get("properties", {}), schema.get("patternProperties", {})
        for name, inside in value.items():
            where = f"{path}.{name}"
            rules = [own[name]] if name in own else []
            rules += [rule for text, rule in by_pattern.items() if matches(self._pattern(text), name)]
            if not rules and "additionalProperties" in schema:
                rules = [schema["additionalProperties"]]
            for rule in rules:
                yield from self._faults(inside, rule, where)
            if "propertyNames" in schema and not self._fits(name, schema["propertyNames"]):
                yield f"{path}: propertyNames"

    def _items(self, value: list[Any], schema: dict[str, Any], path: str) -> Iterator[str]:
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{path}: minItems or maxItems"
        if schema.get("uniqueItems") and len(set(map(key, value))) < len(value):
            yield f"{path}: uniqueItems"
        first, rest = places(schema)
        for at, inside in enumerate(value):
            yield from self._faults(inside, first[at] if at < len(first) else rest, f"{path}[{at}]")

    def _pattern(self, text: str) -> Pattern:
        if text not in self._patterns:
            self._patterns[text] = read(text, whole=False)
        return self._patterns[text]

    def _target(self, reference: str) -> Any:  # noqa: ANN401
        found: Any = self._root
        for key in reference.removeprefix("#").split("/")[1:]:
            name = key.replace("~1", "/").replace("~0", "~")
            found = found[int(name)] if isinstance(found, list) else found.get(name, True)
        return found


def places(schema: Mapping[str, Any]) -> tuple[list[Any], Any]:
    """The schemas of a list's first items, and of all that follow."""
    items = schema.get("items", True)
    if isinstance(items, list):
        return items, schema.get("additionalItems", True)
    return schema.get("prefixItems", []), items


def key(value: Any) -> Hashable:  # noqa: ANN401
    """The same for values that are the same to JSON, to which `true` is not 1, but 1.0 is."""
    match value:
        case bool():
            return ("boolean", value)
        case list():
            return ("list", *map(key, value))
        case dict():
            return ("object", frozenset((name, key(inside)) for name, inside in value.items()))
    return cast("Hashable", value)


def _is_one(value: Any, types: str | Iterable[str]) -> bool:  # noqa: ANN401
    return any(_is(value, name) for name in ([types] if isinstance(types, str) else types))


def _is(value: Any, name: str) -> bool:  # noqa: ANN401
    match name:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "integer":
            return not isinstance(value, bool) and isinstance(value, (int, float)) and value == value // 1
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _of_number(value: float, schema: dict[str, Any]) -> Iterator[str]:
    low, high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if "minimum" in schema and (value < schema["minimum"] or (low is True and value == schema["minimum"])):
        yield "minimum"
    if "maximum" in schema and (value > schema["maximum"] or (high is True and value == schema["maximum"])):
        yield "maximum"
    if isinstance(low, (int, float)) and not isinstance(low, bool) and value <= low:
        yield "exclusiveMinimum"
    if isinstance(high, (int, float)) and not isinstance(high, bool) and value >= high:
        yield "exclusiveMaximum"
    if "multipleOf" in schema and Fraction(repr(value)) % Fraction(repr(schema["multipleOf"])):
        yield "multipleOf"
