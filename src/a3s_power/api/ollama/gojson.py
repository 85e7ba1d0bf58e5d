"""JSON bodies read as Go reads them: keys in any case, `null` as absent, and complaints in Go's words."""

import math
from functools import cache
from typing import Annotated, Any, ClassVar, Final, NamedTuple, Self, TypeVar

import msgspec
from msgspec import inspect as shapes

from a3s_power.api.ollama.goscan import first_value_end
from a3s_power.core.errors import BadRequest

_INT64: Final = 2**63

Integer = Annotated[int, msgspec.Meta(ge=-_INT64, le=_INT64 - 1)]
"""A Go `int`."""


def go(name: str) -> msgspec.Meta:
    """Says how Go calls a type whose name does not follow from its parts."""
    return msgspec.Meta(extra={"go": name})


class GoStruct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body, or an object in one. Its class is called as Go's is; a field that is not sent has its default.

    Unknown fields are forbidden only so that the quick reading gives up on them: a key in another case is one.
    """

    alias: ClassVar[str] = ""
    """The name in a complaint that the value is no object at all, where it is not the class's.

    Go reads such a type with a reader of its own: complaints about its fields name the struct around it.
    """


class _Literal(float):
    """A number with a fraction or an exponent, and how it was written."""

    text: str

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)
        number.text = text
        return number


_ANY: Final = msgspec.json.Decoder(float_hook=_Literal)

T = TypeVar("T", bound=GoStruct)


class Place(NamedTuple):
    """Where in a body a value stands: the struct that complaints name, and the path of fields to it."""

    struct: str = ""
    path: str = ""
    fixed: bool = False

    def field(self, owner: type, name: str) -> "Place":
        """The place of a field of `owner`, which stands here."""
        fixed = self.fixed or bool(self.struct and getattr(owner, "alias", ""))
        return Place(self.struct if fixed else owner.__name__, f"{self.path}.{name}" if self.path else name, fixed)

    def refuse(self, value: object, wanted: str) -> BadRequest:
        """The complaint that `value` is not of Go's type `wanted`."""
        kind = _kind(value)
        if wanted in ("int", "float64") and kind == "number":
            kind = f"number {value.text if isinstance(value, _Literal) else value}"
        where = f"struct field {self.struct}.{self.path} of" if self.struct else "value of"
        return BadRequest(f"json: cannot unmarshal {kind} into Go {where} type {wanted}")


def read(body: bytes, kind: type[T]) -> T:
    """The value of a request's body.

    Raises:
        BadRequest: no JSON, or JSON of another shape, in the words of Go's decoder.
    """
    decoder: msgspec.json.Decoder[T] = _decoder(kind)
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _read_slowly(body, kind)


def check(value: dict[str, Any], kind: type[msgspec.Struct], place: Place) -> None:
    """Raise BadRequest unless an object that stands at `place` could be read as a `kind`; it stays as it was sent."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        _as_struct(value, _shape(kind), place)


@cache
def _decoder(kind: type[T]) -> "msgspec.json.Decoder[T]":
    return msgspec.json.Decoder(kind)


@cache
def _shape(kind: type[msgspec.Struct]) -> shapes.StructType:
    shape = shapes.type_info(kind)
    assert isinstance(shape, shapes.StructType)  # noqa: S101 -- of a Struct it is one
    return shape


def _read_slowly(body: bytes, kind: type[T]) -> T:
    value = _first_value(body)
    if value is None:
        return kind()
    found: T = msgspec.convert(_as_struct(value, _shape(kind), Place()), kind)
    return found


def _first_value(body: bytes) -> Any:  # noqa: ANN401 -- any JSON value
    if not body.strip(b" \t\r\n"):
        raise BadRequest("missing request body")
    try:
        return _ANY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        whole = body[: first_value_end(body)]
    try:
        return _ANY.decode(whole)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(_not_for_us(error)) from None


def _not_for_us(error: Exception) -> str:
    """Go takes these and puts U+FFFD for what is wrong; here nothing that was sent is changed in silence."""
    if isinstance(error, UnicodeDecodeError):
        return "invalid UTF-8 in request body"
    if "truncated" in str(error) or "surrogate" in str(error):
        return "invalid surrogate pair in a string of the request body"
    return f"invalid request body: {error}"


def _kind(value: object) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
    return "number"


def _as(value: Any, shape: shapes.Type, place: Place, name: str = "") -> Any:  # noqa: ANN401 -- what the shape says
    """`value` with its keys as declared and without its nulls, or a complaint that it is not of Go's type `name`."""
    match shape:
        case shapes.Metadata() | shapes.UnionType():
            return _as(value, _plain(shape), place, _go_name(shape))
        case shapes.AnyType():
            return _as_anything(value, place)
        case shapes.StructType():
            return _as_struct(value, shape, place)
        case shapes.ListType(item_type=item) | shapes.VarTupleType(item_type=item) if isinstance(value, list):
            return [_zero(item) if each is None else _as(each, item, place) for each in value]
        case shapes.DictType(value_type=item) if isinstance(value, dict):
            return {key: _zero(item) if each is None else _as(each, item, place) for key, each in value.items()}
        case shapes.StrType() if isinstance(value, str):
            return value
        case shapes.BoolType() if isinstance(value, bool):
            return value
        case shapes.IntType() if isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64:
            return value
    raise place.refuse(value, name or _go_name(shape))


def _as_struct(value: Any, shape: shapes.StructType, place: Place) -> dict[str, Any]:  # noqa: ANN401 -- any JSON value
    if not isinstance(value, dict):
        raise place.refuse(value, _go_name(shape))
    fields = {field.encode_name: field for field in shape.fields}
    folded = {name.lower(): field for name, field in fields.items()}
    found: dict[str, Any] = {}
    for key, each in value.items():
        field = fields.get(key) or folded.get(key.lower())
        if field is not None and each is not None:
            found[field.encode_name] = _as(each, field.type, place.field(shape.cls, field.encode_name))
    return found


def _as_anything(value: Any, place: Place) -> Any:  # noqa: ANN401 -- any JSON value
    match value:
        case float():
            if math.isinf(value):
                raise place.refuse(value, "float64")
            return float(value)
        case list():
            return [_as_anything(each, place) for each in value]
        case dict():
            return {key: _as_anything(each, place) for key, each in value.items()}
    return value


def _plain(shape: shapes.Type) -> shapes.Type:
    """Without what Python adds to a Go type: a name for complaints, or the `None` of a field that was not sent."""
    match shape:
        case shapes.Metadata(type=inner):
            return inner
        case shapes.UnionType(types=types):
            return next(each for each in types if not isinstance(each, shapes.NoneType))
    return shape


def _go_name(shape: shapes.Type) -> str:
    """How Go calls a type."""
    match shape:
        case shapes.Metadata(extra={"go": str(name)}):
            return name
        case shapes.Metadata() | shapes.UnionType():
            return _go_name(_plain(shape))
        case shapes.StructType(cls=cls):
            return f"api.{getattr(cls, 'alias', '') or cls.__name__}"
        case shapes.ListType(item_type=item) | shapes.VarTupleType(item_type=item):
            return f"[]api.{item.cls.__name__}" if isinstance(item, shapes.StructType) else f"[]{_go_name(item)}"
        case shapes.DictType(value_type=item):
            return f"map[string]{_go_name(item)}"
    return {shapes.StrType: "string", shapes.BoolType: "bool", shapes.IntType: "int"}.get(type(shape), "interface {}")


def _zero(shape: shapes.Type) -> Any:  # noqa: ANN401 -- what the shape says
    """What Go has where a list or a map holds `null`."""
    match _plain(shape):
        case shapes.StructType() | shapes.DictType():
            return {}
        case shapes.ListType() | shapes.VarTupleType():
            return []
        case shapes.StrType():
            return ""
        case shapes.BoolType():
            return False
        case shapes.IntType():
            return 0
    return None
