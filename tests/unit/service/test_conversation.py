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
from a3s_power.core.requests import Chat, Generate, Rerank
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
        ({"bad_format": "nope"}, BadFormat, 500),
        ({"messages": (Message(role="user", images=(b"x",)),)}, NotCapable, 400),
    ],
)
def test_what_cannot_be_kept_is_refused_and_not_dropped(fields: Any, error: type[PowerError], status: int) -> None:
    with pytest.raises(error) as refusal:
        conversation.check_content(chat(**fields), model())
    assert refusal.value.status == status


_IMAGE, _SOUND = b"\x89PNG\r\n\x1a\n", b"ID3\x04\0"
_SEEING = {"capabilities": ("completion", "vision"), "files": ModelFiles(weights="w.gguf", projectors=("p.gguf",))}


@pytest.mark.parametrize(
    ("changes", "images", "rendered", "complaint"),
    [
        ({}, (_IMAGE,), False, "does not support images: image input is not supported - hint: if this is unexpected,"),
        ({}, (_IMAGE,), True, "does not support images: Multimodal data provided, but model does not support"),
        (_SEEING, (_IMAGE, _SOUND), False, '"M" does not support audio'),
        (_SEEING | {"capabilities": ("completion", "audio")}, (_SOUND, _IMAGE), False, '"M" does not support images'),
        (_SEEING | {"files": ModelFiles(weights="w")}, (_IMAGE,), False, "inside the file of its weights"),
        (
            _SEEING | {"config": ConfigBlob(model_family="mllama")},
            (_IMAGE, _IMAGE),
            False,
            "this model only supports one image while more than one image requested",
        ),
    ],
)
def test_what_a_model_cannot_see_or_hear_is_refused(
    changes: dict[str, Any], images: tuple[bytes, ...], rendered: bool, complaint: str
) -> None:
    request = chat(messages=(_USER, Message(role="user", images=images)))
    with pytest.raises(BadRequest) as refusal:
        conversation.check_content(request, model(**changes), rendered=rendered)
    assert complaint in refusal.value.message


def test_what_a_model_can_see_and_hear_is_taken() -> None:
    able = model(**_SEEING | {"capabilities": ("completion", "vision", "audio")})
    conversation.check_content(generate(images=(_IMAGE, _SOUND)), able)


@pytest.mark.parametrize("raw", [False, True])
def test_the_images_of_a_prompt_come_with_its_text(raw: bool) -> None:
    run = conversation.generate_run(generate(images=(_IMAGE,), raw=raw), model(), Options(), template="")
    assert [run.images, *(message.images for message in run.messages)] == ([(_IMAGE,)] if raw else [(), (_IMAGE,)])


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


@pytest.mark.parametrize(
    ("name", "capabilities", "ranks"),
    [
        ("m", ("rerank",), True),
        ("Qwen3-Reranker", ("completion",), True),
        ("m", ("completion",), False),
        ("qwen3-reranker", ("embedding",), False),
    ],
)
def test_a_model_ranks_by_a_head_of_its_own_or_by_saying_yes_or_no(name: str, capabilities: Any, ranks: bool) -> None:
    asked = Rerank(model=_NAME, shown="M", query="q", documents=("d",))
    chosen = model(name=ModelName.parse(name), capabilities=capabilities)
    if ranks:
        conversation.check_rerank(asked, chosen)
        return
    with pytest.raises(NotSupported, match='"M" does not support reranking'):
        conversation.check_rerank(asked, chosen)


@pytest.mark.parametrize(
    ("dialect", "option", "models", "bias"),
    [
        (((1, 2.0),), {"3": 4}, {"5": 6}, ((1, 2.0),)),
        ((), {"3": 4}, {"5": 6}, ((3, 4.0),)),
        ((), {}, {"5": 6}, ((5, 6.0),)),
    ],
)
def test_a_bias_of_the_dialect_beats_the_options_and_those_the_models(
    dialect: Any, option: Any, models: Any, bias: Any
) -> None:
    request = chat(logit_bias=dialect, asked=Asked.read({"logit_bias": option}))
    run = conversation.chat_run(request, model(parameters={"logit_bias": models}), Options(), template="")
    assert run.logit_bias == bias
