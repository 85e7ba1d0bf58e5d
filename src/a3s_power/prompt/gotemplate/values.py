"""Values as Go's templates see them: truth, printing, comparing, and JSON.

A value is `None`, a bool, int, float or str, a list, a dict (a map with string keys), or a Record (a struct, of which
only the known fields may be asked).
"""

from collections.abc import Mapping
from typing import Any, Final

from a3s_power.core.manifest import go_json
from a3s_power.core.sizes import go_number

NO_VALUE: Final = "<no value>"


class Problem(Exception):
    """What went wrong with a value."""


class Record:
    """A struct: fields by name, and how it prints; asking for another field is an error."""

    __slots__ = ("_fields", "_json", "name")

    def __init__(self, name: str, fields: Mapping[str, Any], json: Any = None) -> None:  # noqa: ANN401 -- JSON
        self.name = name
        self._fields = fields
        self._json = json

    def field(self, name: str) -> Any:  # noqa: ANN401 -- any value
        """A field's value. Raises Problem when the struct has no such field."""
        try:
            return self._fields[name]
        except KeyError:
            raise Problem(f"can't evaluate field {name} in type {self.name}") from None

    @property
    def json(self) -> Any:  # noqa: ANN401 -- JSON
        """What the struct is as JSON."""
        return self._json if self._json is not None else {key: plain(value) for key, value in self._fields.items()}


class Properties(dict[str, Any]):
    """A map that prints as JSON: call arguments and schema properties."""


class Types(list[str]):
    """A property's types: one prints as its bare word."""


def plain(value: Any) -> Any:  # noqa: ANN401 -- any value
    """The JSON of a value: maps by key, whole floats as the integers that they were in the request."""
    match value:
        case Record():
            return plain(value.json)
        case Types() if len(value) == 1:
            return value[0]
        case dict():
            return {str(key): plain(value[key]) for key in sorted(value)}
        case list():
            return [plain(item) for item in value]
        case float() if value.is_integer() and abs(value) < 1e21:
            return int(value)
    return value


def to_json(value: Any) -> str:  # noqa: ANN401 -- any value
    """Compact JSON, as Go's encoder writes it."""
    if isinstance(value, Record) and value.json is not None:
        return go_json(_whole(value.json)).decode()
    return go_json(plain(value)).decode()


def _whole(value: Any) -> Any:  # noqa: ANN401 -- JSON
    """The same with its maps' order kept, for structs whose fields have an order of their own."""
    match value:
        case dict():
            return {key: _whole(item) for key, item in value.items()}
        case list():
            return [_whole(item) for item in value]
        case _:
            return plain(value)


def truth(value: Any) -> bool:  # noqa: ANN401 -- any value
    """Whether Go's `if` takes a value: not missing, false, zero or empty. Structs are always true."""
    return isinstance(value, Record) or bool(value)


def printed(value: Any) -> str:  # noqa: ANN401 -- any value
    """What `{{ value }}` yields."""
    return NO_VALUE if value is None else shown(value)


def shown(value: Any) -> str:  # noqa: ANN401 -- any value
    """A value as `%v` prints it."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case float():
            return go_number(value)
        case int():
            return str(value)
        case Record() | Properties():
            return to_json(value)
        case Types() if len(value) == 1:
            return value[0]
        case list() if value and isinstance(value[0], Record):
            return to_json(value)
        case list():
            return f"[{' '.join(shown(item) for item in value)}]"
        case dict():
            return f"map[{' '.join(f'{key}:{shown(value[key])}' for key in sorted(value))}]"
    raise Problem(f"can't print a {type(value).__name__}")


def equal(left: Any, right: Any) -> bool:  # noqa: ANN401 -- any values
    """Go's `eq`. Raises Problem for kinds that cannot be compared."""
    if left is None or right is None:
        return left is None and right is None
    if _kind(left) != _kind(right):
        raise Problem("incompatible types for comparison")
    if _kind(left) in ("map", "list", "struct"):
        raise Problem(f"non-comparable type {_kind(left)}")
    return bool(left == right)


def less(left: Any, right: Any) -> bool:  # noqa: ANN401 -- any values
    """Go's `lt`. Raises Problem for kinds that have no order."""
    if left is None or right is None or _kind(left) != _kind(right):
        raise Problem("incompatible types for comparison")
    if _kind(left) not in ("int", "float", "string"):
        raise Problem(f"invalid type for comparison: {_kind(left)}")
    return bool(left < right)


def _kind(value: Any) -> str:  # noqa: ANN401 -- any value
    match value:
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float"
        case str():
            return "string"
        case list():
            return "list"
        case dict():
            return "map"
    return "struct"


def from_json(value: Any) -> Any:  # noqa: ANN401 -- JSON
    """JSON as Go decodes it into `any`: every number is a float, maps print as JSON only at the top."""
    match value:
        case bool():
            return value
        case int():
            return float(value)
        case list():
            return [from_json(item) for item in value]
        case dict():
            return {key: from_json(item) for key, item in value.items()}
    return value
