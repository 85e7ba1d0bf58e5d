"""The description of all routes as OpenAPI 3.1, from the table of endpoints and what each dialect tells of them."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from a3s_power.api.endpoint import Endpoint

JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"

_Json = dict[str, Any]

_STATUSES: Final = {
    301: "The same path, written properly",
    307: "The same path, written properly",
    400: "The request cannot be read or followed",
    401: "Nobody is signed in",
    403: "Understood, and refused; without a body where the caller's page or name for this server is not welcome",
    404: "No such thing",
    409: "Still in use",
    413: "The body is too large",
    415: "The body is compressed",
    416: "The range is not within the content",
    431: "The request's head is too large",
    500: "It could not be done",
    501: "Not offered by this version, or by this model",
    503: "Not now",
    507: "No room on the disk",
}
_ABOUT: Final = (
    "Local models under one address, in the words of several APIs. Fields of a request that are not described are "
    "ignored, and an answer may get further ones. Bodies are read as JSON whatever their Content-Type says."
)
_ALWAYS: Final = (403, 431, 500)
_WITH_BODY: Final = (400, 413, 415)
_WITHOUT_BODY: Final = frozenset({301, 307, 416, 431})
_WITH_PATH: Final = (301, 307, 404)
_NOT_EMPTY: Final[_Json] = {"not": {"enum": [None, "", []]}}
_PARAMETER: Final = re.compile(r"\{(\w+)(?::\w+)?\}")
_WORD: Final = re.compile(r"[a-z0-9]+")


class Parameter(NamedTuple):
    """A parameter beside the body: where it stands (`query`, `path`, `header`), what it may be, what it does."""

    name: str
    where: str
    schema: _Json
    description: str = ""


class Told(NamedTuple):
    """What the table does not say of a route.

    `answers` are the types of its JSON answer, `item` the types of one piece of its stream. `media` is its answers of
    other media types, `sent` its body where that is no JSON object of the table, each with a schema. `required` are the
    fields that a body cannot do without; of those with a bar between them one is enough. `statuses` are those of its
    errors, beside the ones that every route has; `fine` is the status when all went well. `last` is what ends its
    stream of events, where that is no JSON.
    """

    answers: tuple[Any, ...] = ()
    item: tuple[Any, ...] = ()
    media: Mapping[str, _Json] = {}
    sent: Mapping[str, _Json] = {}
    required: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    fine: tuple[int, ...] = (200,)
    summary: str = ""
    last: str = ""


class Dialect(NamedTuple):
    """What one dialect tells of its routes: by method and path, as in `GET /api/tags`.

    `errors` are the types of its errors, before an answer and in a stream. `shapes` says what may stand in a field: by
    its name in one that is read as anything, by its struct's name and its own in any; and by a struct's name what else
    holds for it. `more` are types that only those refer to, as in `{"$ref": "core.Options"}`.
    """

    name: str
    title: str
    routes: Mapping[str, Told]
    errors: tuple[Any, ...]
    shapes: Mapping[str, _Json] = {}
    more: tuple[Any, ...] = ()

    def kinds(self) -> Iterator[Any]:
        """All types that it tells of."""
        for told in self.routes.values():
            yield from (*told.answers, *told.item)
        yield from (*self.errors, *self.more)


def describe(endpoints: Iterable[Endpoint], dialects: Sequence[Dialect], version: str) -> _Json:
    """The description of every route of the table.

    Raises:
        KeyError: a route that no dialect tells of.
    """
    told = {route: each for each in dialects for route in each.routes}
    table = tuple(endpoints)
    schemas = _Schemas(dialects, [each.body for each in table if each.body is not None])
    paths: dict[str, _Json] = {}
    for endpoint in table:
        route = _Route(endpoint, told[key(endpoint)], schemas)
        for method in endpoint.methods:
            paths.setdefault(plain(endpoint.path), {})[method.lower()] = route.operation(method)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "A3S Power",
            "version": version,
            "description": _ABOUT,
        },
        "servers": [{"url": "/"}, {"url": "/ollama", "description": "The same behind a gateway's prefix"}],
        "tags": [{"name": each.name, "description": each.title} for each in dialects],
        "paths": paths,
        "components": {"schemas": schemas.components},
    }


def key(endpoint: Endpoint) -> str:
    """What a dialect's table of routes calls this one; HEAD goes with GET."""
    return f"{endpoint.methods[-1]} {endpoint.path}"


def plain(path: str) -> str:
    """The path as a description writes it: its parameters without what they match."""
    return _PARAMETER.sub(r"{\1}", path)


class _Schemas:
    """The schemas of all types: `components` are those of structs, by their package and their name."""

    def __init__(self, dialects: Iterable[Dialect], bodies: Iterable[type[msgspec.Struct]]) -> None:
        told = [kind for each in dialects for kind in each.kinds()]
        kinds = list(dict.fromkeys([*bodies, *told]))
        self._shapes = {each.name: each.shapes for each in dialects}
        self._names = _names(kinds)
        found, parts = msgspec.json.schema_components(kinds, ref_template="{name}")
        self.components = {self._names[name]: self._component(part, self._names[name]) for name, part in parts.items()}
        self._found = {kind: self._polished(schema, "") for kind, schema in zip(kinds, found, strict=True)}

    def of(self, kinds: Iterable[Any]) -> _Json:
        """A schema for a value of one of these types."""
        found = [self._found[kind] for kind in kinds]
        return found[0] if len(found) == 1 else {"anyOf": found}

    def _component(self, schema: _Json, owner: str) -> _Json:
        package, _, struct = owner.partition(".")
        more = self._shapes.get(package, {}).get(struct, {})
        return dict(self._polished(schema, owner) | self._polished(more, owner))

    def _polished(self, schema: Any, owner: str) -> Any:  # noqa: ANN401 -- any part of a schema
        """With our names and shapes, and open: what is not described is ignored."""
        match schema:
            case list():
                return [self._polished(each, owner) for each in schema]
            case {"$ref": str(name)}:
                return {"$ref": f"#/components/schemas/{self._names.get(name, name)}"}
            case {"properties": dict(fields), "title": str()}:
                kept = {name: each for name, each in schema.items() if name not in ("additionalProperties", "title")}
                return kept | {"properties": {name: self._field(owner, name, each) for name, each in fields.items()}}
            case dict():
                return {name: self._polished(each, owner) for name, each in schema.items()}
        return schema

    def _field(self, owner: str, name: str, schema: _Json) -> _Json:
        package, _, struct = owner.partition(".")
        shapes = self._shapes.get(package, {})
        shape = shapes.get(f"{struct}.{name}") or (None if set(schema) - {"default"} else shapes.get(name))
        default = {"default": schema["default"]} if schema.get("default") is not None else {}
        return dict(self._polished(schema if shape is None else shape | default, owner))


def _names(kinds: Iterable[Any]) -> dict[str, str]:
    """What the structs of these types are called, by what msgspec calls them."""
    found: dict[type, None] = {}
    for kind in kinds:
        _collect(msgspec.inspect.type_info(kind), found)
    plain_names = Counter(struct.__name__ for struct in found)
    names = {struct: f"{struct.__module__.split('.')[-2]}.{struct.__name__.lstrip('_')}" for struct in found}
    ours = Counter(names.values())
    return {
        struct.__name__ if plain_names[struct.__name__] == 1 else f"{struct.__module__}.{struct.__qualname__}": (
            name if ours[name] == 1 else f"{name}.{struct.__module__.rpartition('.')[2]}"
        )
        for struct, name in names.items()
    }


def _collect(shape: object, found: dict[type, None]) -> None:
    """Note the structs that a type is made of."""
    match shape:
        case msgspec.inspect.StructType(cls=struct, fields=fields):
            if struct not in found:
                found[struct] = None
                for field in fields:
                    _collect(field.type, found)
        case msgspec.inspect.Type():
            for name in shape.__struct_fields__:
                part = getattr(shape, name)
                for each in part if isinstance(part, tuple) else (part,):
                    _collect(each, found)


class _Route:
    """One row of the table, described."""

    def __init__(self, endpoint: Endpoint, dialect: Dialect, schemas: _Schemas) -> None:
        self._endpoint = endpoint
        self._dialect = dialect
        self._schemas = schemas
        self._told = dialect.routes[key(endpoint)]

    def operation(self, method: str) -> _Json:
        """What a description says of a method of the path."""
        doc = self._told.summary or (self._endpoint.handler.__doc__ or "").strip()
        summary, _, rest = doc.partition("\n\n")
        described: _Json = {
            "operationId": "_".join([method.lower(), *_WORD.findall(self._endpoint.path.lower())]),
            "tags": [self._dialect.name],
            "summary": " ".join(summary.split()),
            "x-scope": self._endpoint.scope,
        }
        if rest:
            described["description"] = " ".join(rest.split())
        if parameters := list(self._parameters()):
            described["parameters"] = parameters
        if body := self._body():
            described["requestBody"] = {"required": True, "content": body}
        described["responses"] = dict(self._responses(with_body=method != "HEAD"))
        return described

    def _parameters(self) -> Iterator[_Json]:
        told = {each.name: each for each in self._told.parameters}
        for name in _PARAMETER.findall(self._endpoint.path):
            yield _parameter(told.pop(name, Parameter(name, "path", {"type": "string", "minLength": 1})))
        yield from map(_parameter, told.values())

    def _body(self) -> _Json:
        if self._endpoint.body is None:
            return {media: {"schema": schema} for media, schema in self._told.sent.items()}
        schema = self._schemas.of([self._endpoint.body])
        needs = [_needed(each.split("|")) for each in self._told.required]
        return {JSON: {"schema": {"allOf": [schema, *needs]} if needs else schema}}

    def _responses(self, *, with_body: bool) -> Iterator[tuple[str, _Json]]:
        content = self._content()
        for status in self._told.fine:
            yield str(status), {"description": "Done"} | ({"content": content} if content and with_body else {})
        error = {JSON: {"schema": self._schemas.of(self._dialect.errors)}}
        for status in sorted({*_ALWAYS, *self._also(), *self._told.statuses}):
            described: _Json = {"description": _STATUSES[status]}
            if with_body and status not in _WITHOUT_BODY:
                strange = {"text/plain": {"schema": {"type": "string"}}} if self._strange(status) else {}
                described["content"] = error | strange
            yield str(status), described

    def _content(self) -> _Json:
        content: _Json = {media: {"schema": schema} for media, schema in self._told.media.items()}
        if self._told.answers:
            content[JSON] = {"schema": self._schemas.of(self._told.answers)}
        if self._endpoint.stream:
            item = self._schemas.of((*self._told.item, *self._dialect.errors))
            events = self._endpoint.stream == _EVENTS
            content[self._endpoint.stream] = {"schema": _event(item, self._told.last) if events else item}
        return content

    def _also(self) -> tuple[int, ...]:
        reads = self._endpoint.body is not None or bool(self._told.sent)
        return (*(_WITH_BODY if reads else ()), *(_WITH_PATH if "{" in self._endpoint.path else ()))

    def _strange(self, status: int) -> bool:
        """Whether a path that only looks like this one is answered so, and not by a dialect."""
        return status == 404 and "{" in self._endpoint.path


def _event(item: _Json, last: str) -> _Json:
    """An event of a stream, whose data is JSON: before OpenAPI 3.2 a stream's schema is that of its pieces."""
    data: _Json = {"type": "string", "contentMediaType": JSON, "contentSchema": item}
    if last:
        data = {"anyOf": [{"const": last}, data]}
    return {"type": "object", "required": ["data"], "properties": {"event": {"type": "string"}, "data": data}}


def _needed(names: list[str]) -> _Json:
    """That one of the fields is there, and not empty."""
    each = [{"required": [name], "properties": {name: _NOT_EMPTY}} for name in names]
    return each[0] if len(each) == 1 else {"anyOf": each}


def _parameter(told: Parameter) -> _Json:
    described = {"description": told.description} if told.description else {}
    needed = {"required": True} if told.where == "path" else {}
    return {"name": told.name, "in": told.where, **needed, **described, "schema": told.schema}
