"""The description of all routes as one page of HTML: no script, no file from elsewhere, every text escaped."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

_Json = Mapping[str, Any]

_STYLE: Final = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}
code,pre{font-family:ui-monospace,monospace;font-size:.9em;overflow-wrap:anywhere}
nav ul{columns:2;padding-left:1.2em}
details{border:1px solid #8886;border-radius:.4rem;margin:.4rem 0;padding:.3rem .8rem}
summary{cursor:pointer}
b.method{display:inline-block;min-width:4.5em}
table{border-collapse:collapse;width:100%;font-size:.9em}
td,th{border-bottom:1px solid #8884;padding:.2rem .6rem .2rem 0;text-align:left;vertical-align:top}
small{opacity:.75}
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy the page is to be sent with: nothing runs, and nothing is fetched."""


def page(description: _Json) -> str:
    """The page of a description as `openapi.describe` makes it."""
    info = description["info"]
    title = f"{_text(info['title'])} {_text(info['version'])}"
    parts = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title>',
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1><p>{_text(info['description'])}</p>",
        '<p>For programs: <a href="openapi.json">openapi.json</a></p>',
        *_routes(description),
        "<h2>Types</h2>",
        *_types(description["components"]["schemas"]),
        "</body></html>",
    )
    return "\n".join(parts)


def _routes(description: _Json) -> Iterator[str]:
    for tag in description["tags"]:
        yield f"<h2>{_text(tag['name'])}</h2><p>{_text(tag['description'])}</p>"
        for path, methods in description["paths"].items():
            for method, operation in methods.items():
                if operation["tags"] == [tag["name"]]:
                    yield from _route(path, method, operation)


def _route(path: str, method: str, operation: _Json) -> Iterator[str]:
    head = f'<b class="method">{_text(method.upper())}</b> <code>{_text(path)}</code> {_text(operation["summary"])}'
    yield f'<details id="{_text(operation["operationId"])}"><summary>{head}</summary>'
    if "description" in operation:
        yield f"<p>{_text(operation['description'])}</p>"
    if "parameters" in operation:
        yield "<table><tr><th>parameter</th><th>in</th><th>type</th><th></th></tr>"
        for each in operation["parameters"]:
            cells = (_code(each["name"]), _text(each["in"]), _type(each["schema"]), _text(each.get("description", "")))
            yield _row(cells)
        yield "</table>"
    for media, content in operation.get("requestBody", {"content": {}})["content"].items():
        yield f"<p>Body: {_code(media)} {_type(content['schema'])}</p>"
    yield "<table><tr><th>status</th><th>meaning</th><th>answer</th></tr>"
    for status, answer in operation["responses"].items():
        kinds = (_content(media, content) for media, content in answer.get("content", {}).items())
        yield _row((_text(status), _text(answer["description"]), "<br>".join(kinds)))
    yield "</table></details>"


def _content(media: str, content: _Json) -> str:
    match media, content["schema"]:
        case "text/event-stream", {"properties": {"data": data}}:
            return f"{_code(media)}, each event {_type(data)}"
        case "application/x-ndjson", item:
            return f"{_code(media)}, each line {_type(item)}"
    return f"{_code(media)} {_type(content['schema'])}"


def _types(schemas: _Json) -> Iterator[str]:
    for name, schema in sorted(schemas.items()):
        yield f'<details id="{_text(name)}"><summary>{_code(name)} {_text(schema.get("description", ""))}</summary>'
        yield "<table><tr><th>field</th><th>type</th><th></th></tr>"
        needed = schema.get("required", ())
        for field, each in schema.get("properties", {}).items():
            notes = ("always there" if field in needed else "", each.get("description", ""))
            yield _row((_code(field), _type(each), "; ".join(_text(note) for note in notes if note)))
        yield "</table></details>"


def _type(schema: _Json) -> str:
    """A type in a few words, with links to those that are described apart."""
    match schema:
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2]
            return f'<a href="#{_text(name)}">{_text(name)}</a>'
        case {"allOf": [whole, *needs]}:
            return f"{_type(whole)} with {', '.join(map(_need, needs))}"
        case {"anyOf": list(options)}:
            return " or ".join(map(_type, options))
        case {"enum": list(values)}:
            return " or ".join(_code(value) for value in values)
        case {"contentSchema": dict(item)}:
            return _type(item)
        case {"const": value}:
            return _code(value)
        case {"type": "array", "items": dict(item)}:
            return f"list of {_type(item)}"
        case {"type": "object", "additionalProperties": dict(item)}:
            return f"object of {_type(item)}"
        case {"type": list(kinds)}:
            return " or ".join(map(_text, kinds))
        case {"type": str(kind)}:
            return _text(kind)
    return "anything"


def _need(schema: _Json) -> str:
    """The field that a body must have, or those of which it must have one."""
    return " or ".join(_code(name) for each in schema.get("anyOf", [schema]) for name in each["required"])


def _row(cells: tuple[str, ...]) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _code(value: object) -> str:
    return f"<code>{_text(value)}</code>"


def _text(value: object) -> str:
    return escape(str(value))
