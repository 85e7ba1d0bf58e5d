"""A description is made of a table and of what dialects tell: names, shapes, needs, and a page that is safe to read."""

from typing import Any

import msgspec
import pytest
from starlette.responses import Response

from a3s_power.api.endpoint import Call, Endpoint
from a3s_power.api.openapi import Dialect, Parameter, Told, describe
from a3s_power.api.page import POLICY, page
from a3s_power.core.errors import PowerError


class _Error(msgspec.Struct):
    error: str


class _Inner(msgspec.Struct):
    """What stands inside."""

    value: Any = None


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """What is <sent>."""

    name: str = "x"
    inner: _Inner | None = None
    free: Any = None


class Answer(msgspec.Struct, omit_defaults=True):
    """What comes back."""

    said: str
    more: int = 0


async def _handler(_call: Call) -> Response:
    """Does it.

    With care.
    """
    return Response()


def _dress(_error: PowerError) -> Response:
    return Response()


def _at(method: str, path: str, body: type[msgspec.Struct] | None = None, stream: str | None = None) -> Endpoint:
    return Endpoint((method,), path, "infer", _handler, _dress, body, stream)


def _described(endpoint: Endpoint, told: Told, **shapes: dict[str, Any]) -> dict[str, Any]:
    name = f"{endpoint.methods[-1]} {endpoint.path}"
    return describe([endpoint], [Dialect("api", "An API", {name: told}, (_Error,), shapes)], "1.2")


def _operation(description: dict[str, Any]) -> dict[str, Any]:
    (methods,) = description["paths"].values()
    (operation,) = methods.values()
    assert isinstance(operation, dict)
    return operation


def test_a_route_that_nobody_tells_of_is_a_mistake() -> None:
    with pytest.raises(KeyError, match="GET /x"):
        describe([_at("GET", "/x")], [], "1")


def test_a_route_is_told_with_its_handlers_words() -> None:
    operation = _operation(_described(_at("GET", "/a/b"), Told((Answer,))))
    assert operation["summary"] == "Does it."
    assert operation["description"] == "With care."
    assert (operation["operationId"], operation["tags"], operation["x-scope"]) == ("get_a_b", ["api"], "infer")


def test_a_type_is_called_by_its_package_and_is_open_to_more() -> None:
    schemas = _described(_at("POST", "/x", Body), Told((Answer,)))["components"]["schemas"]
    assert sorted(schemas) == ["api.Answer", "api.Body", "api.Error", "api.Inner"]
    assert "additionalProperties" not in schemas["api.Body"]
    assert {"$ref": "#/components/schemas/api.Inner"} in schemas["api.Body"]["properties"]["inner"]["anyOf"]
    assert schemas["api.Answer"]["required"] == ["said"]


def test_two_types_of_one_name_are_told_apart() -> None:
    def another() -> type[msgspec.Struct]:
        return msgspec.defstruct("Answer", [("other", int)], module="a3s_power.api.else_.where")

    told = Told((Answer, another()))
    found = _described(_at("GET", "/x"), told)
    assert sorted(found["components"]["schemas"]) == ["api.Answer", "api.Error", "else_.Answer"]
    assert len(_operation(found)["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"]) == 2


def test_a_field_read_as_anything_may_have_a_shape_by_its_name_or_its_struct() -> None:
    number = {"type": "number"}
    schemas = _described(_at("POST", "/x", Body), Told(), value=number, name=number)["components"]["schemas"]
    assert schemas["api.Inner"]["properties"]["value"] == number
    assert schemas["api.Body"]["properties"]["name"] == {"type": "string", "default": "x"}
    shapes: dict[str, Any] = {"Body.name": number, "Body": {"minProperties": 1}}
    changed = _described(_at("POST", "/x", Body), Told(), **shapes)["components"]["schemas"]["api.Body"]
    assert changed["properties"]["name"] == {"type": "number", "default": "x"}
    assert changed["minProperties"] == 1


def test_a_body_says_what_it_cannot_do_without() -> None:
    operation = _operation(_described(_at("POST", "/x", Body), Told(required=("name", "inner|free"))))
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert [each.get("required") for each in schema["allOf"]] == [None, ["name"], None]
    assert [each["required"] for each in schema["allOf"][2]["anyOf"]] == [["inner"], ["free"]]
    assert {"400", "413", "415"} <= set(operation["responses"])


def test_a_stream_says_what_its_pieces_are() -> None:
    operation = _operation(_described(_at("POST", "/x", Body, "text/event-stream"), Told((Answer,), (Answer,))))
    content = operation["responses"]["200"]["content"]
    assert content["text/event-stream"]["schema"]["properties"]["data"]["contentSchema"]["anyOf"] == [
        {"$ref": "#/components/schemas/api.Answer"},
        {"$ref": "#/components/schemas/api.Error"},
    ]


def test_a_parameter_of_a_path_is_told_without_what_it_matches() -> None:
    told = Told((Answer,), parameters=(Parameter("q", "query", {"type": "string"}, "asks"),))
    description = _described(_at("GET", "/x/{name:path}"), told)
    assert list(description["paths"]) == ["/x/{name}"]
    first, second = _operation(description)["parameters"]
    assert (first["name"], first["in"], first["required"]) == ("name", "path", True)
    assert (second["name"], second["in"], second["description"]) == ("q", "query", "asks")
    assert {"301", "307", "404"} <= set(_operation(description)["responses"])


def test_what_answers_head_has_no_body() -> None:
    operation = _operation(_described(_at("HEAD", "/x"), Told((Answer,))))
    assert all("content" not in answer for answer in operation["responses"].values())


def test_a_page_escapes_every_text_and_runs_nothing() -> None:
    told = Told((Answer,), required=("name", "inner|free"), summary="<script>alert(1)</script>")
    whole = page(_described(_at("POST", "/x", Body), told, free={"enum": ["<b>", '"']}))
    assert "<script" not in whole
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in whole
    assert "What is &lt;sent&gt;." in whole
    assert "<code>&lt;b&gt;</code> or <code>&quot;</code>" in whole
    link = '<a href="#api.Body">api.Body</a>'
    assert f"{link} with <code>name</code>, <code>inner</code> or <code>free</code></p>" in whole


def test_the_policy_of_a_page_lets_in_its_style_and_nothing_else() -> None:
    assert POLICY.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in POLICY
    assert "script-src" not in POLICY
