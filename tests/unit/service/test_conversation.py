"""What a request becomes before it reaches the model's child, and the order in which it is refused."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadFormat, BadRequest, InvalidOption, NotCapable, NotSupported, PowerError
from a3s_power.core.manifest import ConfigBlob, Layer, Manifest
from a3s_power.core.messages import Message, Tool
from a3s_power.core.model import Facts, Model, ModelFiles
from a3s_power.core.names import ModelName
from a3s_power.core.options import Asked, Options
from a3s_power.core.requests import Chat, Generate
from a3s_power.service import conversation

_NAME = ModelName.parse("m")
_USER = Message(role="user", content="hi")


def model(**changes: Any) -> Model:
    digest = Digest.of(b"")
    whole = Model(
        name=_NAME,
        digest=digest,
        modified=datetime.now(UTC),
        manifest=Manifest(config=Layer(media_type="c", digest=str(digest), size=0), layers=()),
        config=ConfigBlob(model_family="llama"),
        weights=digest,
        files=ModelFiles(weights="w.gguf"),
        facts=Facts(architecture="llama"),
        capabilities=("completion",),
    )
    return msgspec.structs.replace(whole, **changes)


def chat(**fields: Any) -> Chat:
    return msgspec.structs.replace(Chat(model=_NAME, shown="M", messages=(_USER,)), **fields)


def generate(**fields: Any) -> Generate:
    return msgspec.structs.replace(Generate(model=_NAME, shown="M", prompt="hi"), **fields)


@pytest.mark.parametrize(
    ("request_fields", "capabilities", "complaint"),
    [
        ({}, ("embedding",), '"M" does not support chat'),
        ({"messages": ()}, ("embedding",), '"M" does not support chat'),
        ({"tools": (Tool(name="t"),)}, ("completion",), "registry.ollama.ai/library/m:latest does not support tools"),
        ({"think": True}, ("completion",), '"M" does not support thinking'),
        ({"think": "low"}, ("completion",), '"M" does not support thinking'),
    ],
)
def test_a_chat_is_refused_in_ollamas_words(request_fields: Any, capabilities: Any, complaint: str) -> None:
    with pytest.raises(NotCapable) as refusal:
        conversation.check_chat(chat(**request_fields), model(capabilities=capabilities))
    assert refusal.value.message == complaint


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"files": ModelFiles(weights="")}, '"M" has no GGUF weights, and this version runs no others'),
        ({"config": ConfigBlob(remote_host="h.example", remote_model="m")}, '"M" runs on h.example, not here'),
    ],
)
def test_a_model_that_no_engine_here_can_run_says_so(changes: Any, complaint: str) -> None:
    with pytest.raises(NotSupported) as refusal:
        conversation.check_runnable(chat(), model(**changes))
    assert refusal.value.message == complaint


@pytest.mark.parametrize("think", [None, False])
def test_not_thinking_needs_no_capability(think: Any) -> None:
    conversation.check_chat(chat(think=think), model())


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"raw": True, "template": "x", "think": True}, "raw mode does not support template, system, or context"),
        ({"raw": True, "system": "x"}, "raw mode does not support template, system, or context"),
        ({"raw": True, "context": (1,)}, "raw mode does not support template, system, or context"),
        ({"think": True}, '"M" does not support thinking'),
        ({"suffix": "x"}, "registry.ollama.ai/library/m:latest does not support insert"),
    ],
)
def test_a_prompt_is_refused_in_ollamas_words_and_order(fields: Any, complaint: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        conversation.check_generate(generate(**fields), model())
    assert refusal.value.message == complaint


def test_a_raw_prompt_with_an_empty_context_is_allowed() -> None:
    conversation.check_generate(generate(raw=True, context=()), model())


@pytest.mark.parametrize(
    ("fields", "error", "status"),
    [
        ({"format": "json"}, BadRequest, 400),
        ({"format": {"type": "object"}}, BadRequest, 400),
        ({"bad_format": "nope"}, BadFormat, 500),
        ({"messages": (Message(role="user", images=(b"x",)),)}, NotCapable, 400),
    ],
)
def test_what_cannot_be_kept_is_refused_and_not_dropped(fields: Any, error: type[PowerError], status: int) -> None:
    with pytest.raises(error) as refusal:
        conversation.check_content(chat(**fields), model())
    assert refusal.value.status == status


def test_a_request_beats_the_model_and_the_model_beats_the_defaults() -> None:
    shown = model(parameters={"temperature": 0.5, "top_k": 7, "stop": ["a", "b"]})
    asked = Asked.read({"temperature": 0.25, "stop": ["c"]})
    options = conversation.request_options(chat(asked=asked), shown)
    assert (options.temperature, options.top_k, options.stop, options.top_p) == (0.25, 7, ("c",), 0.9)


def test_a_wrong_option_in_the_model_fails_at_first_use() -> None:
    with pytest.raises(InvalidOption, match='option "num_ctx" must be of type integer'):
        conversation.request_options(chat(), model(parameters={"num_ctx": "big"}))


def test_the_models_system_message_comes_first_then_its_history() -> None:
    shown = model(system="be kind", messages=(Message(role="assistant", content="hello"),))
    roles = [(m.role, m.content) for m in conversation.conversation((_USER,), shown)]
    assert roles == [("system", "be kind"), ("assistant", "hello"), ("user", "hi")]


def test_a_request_that_brings_a_system_message_keeps_the_models_out() -> None:
    own = Message(role="system", content="mine")
    shown = model(system="be kind", messages=(Message(role="assistant", content="hello"),))
    assert [m.content for m in conversation.conversation((own, _USER), shown)] == ["hello", "mine", "hi"]


def test_a_context_replaces_the_models_history() -> None:
    shown = model(messages=(Message(role="assistant", content="hello"),))
    without = conversation.generate_run(generate(), shown, Options(), template="")
    with_one = conversation.generate_run(generate(context=()), shown, Options(), template="")
    assert [m.content for m in without.messages] == ["hello", "hi"]
    assert [m.content for m in with_one.messages] == ["hi"]


def test_a_raw_prompt_goes_to_the_engine_as_it_is() -> None:
    run = conversation.generate_run(generate(raw=True, suffix="ignored"), model(system="s"), Options(), template="t")
    assert (run.text, run.messages, run.suffix, run.want_context) == ("hi", (), "", False)


def test_a_template_in_the_request_replaces_the_models() -> None:
    run = conversation.generate_run(generate(template="{{ .Prompt }}"), model(), Options(), template="other")
    assert run.template == "{{ .Prompt }}"


@pytest.mark.parametrize(
    ("family", "asked", "shifts"),
    [("llama", None, True), ("deepseek2", None, False), ("deepseek2", True, True), ("llama", False, False)],
)
def test_shifting_is_on_unless_said_otherwise(family: str, asked: bool | None, shifts: bool) -> None:
    run = conversation.chat_run(
        chat(shift=asked), model(config=ConfigBlob(model_family=family)), Options(), template=""
    )
    assert run.shift is shifts
