"""Bodies are read as Go reads them, quickly when they are plain and exactly when they are not."""

import json
from typing import Any

import pytest

from a3s_power.api.ollama.chat import ChatRequest
from a3s_power.api.ollama.create import CreateRequest
from a3s_power.api.ollama.generate import GenerateRequest
from a3s_power.api.ollama.gojson import GoStruct, read
from a3s_power.core.errors import BadRequest

_PLAIN: list[dict[str, Any]] = [
    {},
    {"model": "m", "messages": [{"role": "user", "content": "hé"}], "stream": False},
    {
        "model": "m",
        "messages": [{"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"a": [1.5, None]}}}]}],
    },
    {"model": "m", "tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": {"b": 1e-9}}}}]},
    {"model": "m", "options": {"Temperature": 1, "temperature": 0.1, "stop": ["a"]}, "keep_alive": 1.5, "think": "low"},
    {"format": {"Type": "object", "nested": [None, 1, True]}, "top_logprobs": 2**62, "logprobs": True, "shift": False},
]


@pytest.mark.parametrize("body", _PLAIN)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text + b" garbage",
        lambda text: text[:-1] + (b"," if len(text) > 2 else b"") + b'"unknown":[{"a":null}]}',
        lambda text: text[:-1] + (b"," if len(text) > 2 else b"") + b'"truncate":null}',
        lambda text: (
            text.replace(b'"model"', b'"MoDeL"').replace(b'"content"', b'"Content"').replace(b'"name"', b'"NAME"')
        ),
    ],
)
def test_a_slow_reading_finds_what_the_quick_one_does(body: dict[str, Any], spoil: Any) -> None:
    text = json.dumps(body).encode()
    assert read(spoil(text), ChatRequest) == read(text, ChatRequest)


def test_keys_of_maps_keep_their_case_and_nulls_of_values_stay() -> None:
    body = read(b'{"OPTIONS":{"Top_K":null,"top_k":1},"x":1}', ChatRequest)
    assert body.options == {"Top_K": None, "top_k": 1}


def test_null_in_a_list_is_an_empty_value() -> None:
    body = read(b'{"messages":[null,{"images":[null]}],"tools":[null],"unknown":1}', ChatRequest)
    assert (len(body.messages), body.messages[1].images, len(body.tools)) == (2, ("",), 1)
    assert read(b'{"context":[null,3]}', GenerateRequest).context == (0, 3)


@pytest.mark.parametrize("body", [b"null", b" null ", b"null x", b"{}", b"{} {"])
def test_null_is_an_empty_object(body: bytes) -> None:
    assert read(body, ChatRequest) == ChatRequest()


_FIELD = "json: cannot unmarshal {} into Go struct field {} of type {}"
_WHOLE = "json: cannot unmarshal {} into Go value of type api.{}"


@pytest.mark.parametrize(
    ("kind", "body", "error"),
    [
        (ChatRequest, b'"x"', _WHOLE.format("string", "ChatRequest")),
        (ChatRequest, b"1", _WHOLE.format("number", "ChatRequest")),
        (GenerateRequest, b"true", _WHOLE.format("bool", "GenerateRequest")),
        (CreateRequest, b"[]", _WHOLE.format("array", "CreateRequest")),
        (ChatRequest, b'{"Model":{}}', _FIELD.format("object", "ChatRequest.model", "string")),
        (ChatRequest, b'{"stream":"x"}', _FIELD.format("string", "ChatRequest.stream", "bool")),
        (ChatRequest, b'{"shift":1}', _FIELD.format("number", "ChatRequest.shift", "bool")),
        (ChatRequest, b'{"top_logprobs":1.50}', _FIELD.format("number 1.50", "ChatRequest.top_logprobs", "int")),
        (ChatRequest, b'{"top_logprobs":1e2}', _FIELD.format("number 1e2", "ChatRequest.top_logprobs", "int")),
        (ChatRequest, b'{"top_logprobs":true}', _FIELD.format("bool", "ChatRequest.top_logprobs", "int")),
        (
            ChatRequest,
            b'{"top_logprobs":9223372036854775808}',
            _FIELD.format("number 9223372036854775808", "ChatRequest.top_logprobs", "int"),
        ),
        (ChatRequest, b'{"messages":"x"}', _FIELD.format("string", "ChatRequest.messages", "[]api.Message")),
        (ChatRequest, b'{"messages":["x"]}', _FIELD.format("string", "ChatRequest.messages", "api.Alias")),
        (ChatRequest, b'{"messages":[{"role":1}]}', _FIELD.format("number", "ChatRequest.messages.role", "string")),
        (
            ChatRequest,
            b'{"messages":[{"images":"x"}]}',
            _FIELD.format("string", "ChatRequest.messages.images", "[]api.ImageData"),
        ),
        (
            ChatRequest,
            b'{"messages":[{"tool_calls":{}}]}',
            _FIELD.format("object", "ChatRequest.messages.tool_calls", "[]api.ToolCall"),
        ),
        (ChatRequest, b'{"tools":"x"}', _FIELD.format("string", "ChatRequest.tools", "api.Tools")),
        (ChatRequest, b'{"tools":["x"]}', _FIELD.format("string", "ChatRequest.tools", "api.Tool")),
        (ChatRequest, b'{"tools":[{"type":1}]}', _FIELD.format("number", "Tool.tools.type", "string")),
        (ChatRequest, b'{"options":"x"}', _FIELD.format("string", "ChatRequest.options", "map[string]interface {}")),
        (GenerateRequest, b'{"context":"x"}', _FIELD.format("string", "GenerateRequest.context", "[]int")),
        (GenerateRequest, b'{"context":["x"]}', _FIELD.format("string", "GenerateRequest.context", "int")),
        (GenerateRequest, b'{"images":[1]}', _FIELD.format("number", "GenerateRequest.images", "api.ImageData")),
        (CreateRequest, b'{"files":[]}', _FIELD.format("array", "CreateRequest.files", "map[string]string")),
        (CreateRequest, b'{"from":1}', _FIELD.format("number", "CreateRequest.from", "string")),
    ],
)
def test_a_wrong_type_is_refused_in_gos_words(kind: type[GoStruct], body: bytes, error: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        read(body, kind)
    assert refusal.value.message == error


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        (
            {"required": "x"},
            _FIELD.format("string", "ToolFunctionParameters.tools.function.parameters.required", "[]string"),
        ),
        (
            {"required": [1]},
            _FIELD.format("number", "ToolFunctionParameters.tools.function.parameters.required", "string"),
        ),
        ({"type": []}, _FIELD.format("array", "ToolFunctionParameters.tools.function.parameters.type", "string")),
        ([], _FIELD.format("array", "ToolFunction.tools.function.parameters", "api.ToolFunctionParameters")),
    ],
)
def test_a_wrong_schema_of_a_tool_is_refused_in_gos_words(parameters: Any, error: str) -> None:
    body = json.dumps({"model": "m", "tools": [{"function": {"parameters": parameters}}]}).encode()
    with pytest.raises(BadRequest) as refusal:
        read(body, ChatRequest).to_domain()
    assert refusal.value.message == error


def test_a_schema_of_a_tool_stays_as_it_was_sent() -> None:
    parameters = {
        "type": "object",
        "x-own": 1,
        "properties": {"z": {"type": ["a", "b"], "default": None}, "a": {}},
        "required": None,
    }
    body = json.dumps({"model": "m", "tools": [{"function": {"name": "f", "parameters": parameters}}]}).encode()
    (tool,) = read(body, ChatRequest).to_domain().tools
    assert json.dumps(tool.parameters) == json.dumps(parameters)
