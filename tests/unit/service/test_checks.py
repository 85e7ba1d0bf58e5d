"""What keeps a model from a request, and in which order it is refused."""

from typing import Any

import pytest

from a3s_power.core.errors import BadFormat, BadRequest, NotCapable, NotSupported, PowerError
from a3s_power.core.manifest import FILE, ConfigBlob, Layer, Manifest
from a3s_power.core.messages import Message, Tool
from a3s_power.core.model import Facts, ModelFiles
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Rerank
from a3s_power.service import checks
from tests.asking import IMAGE, NAME, USER, chat, generate, model


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
        checks.check_chat(chat(**request_fields), model(capabilities=capabilities))
    assert refusal.value.message == complaint


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"files": ModelFiles(weights="")}, '"M" has no GGUF weights, and this version runs no others'),
        ({"config": ConfigBlob(remote_host="h.example", remote_model="m")}, '"M" runs on h.example, not here'),
        (
            {
                "files": ModelFiles(weights=""),
                "facts": Facts(architecture="Foo"),
                "manifest": Manifest(
                    config=Layer(media_type="", digest="", size=0),
                    layers=(Layer(media_type=FILE, digest="", size=0, name="config.json"),),
                ),
            },
            '"M" is kept as safetensors: this version has no engine for "Foo"',
        ),
    ],
)
def test_a_model_that_no_engine_here_can_run_says_so(changes: Any, complaint: str) -> None:
    with pytest.raises(NotSupported) as refusal:
        checks.check_runnable(chat(), model(**changes))
    assert refusal.value.message == complaint


def test_a_model_that_cannot_be_in_memory_may_be_told_to_leave_it() -> None:
    nothing = model(files=ModelFiles(weights=""))
    checks.check_runnable(chat(messages=(), keep_alive=0), nothing)
    with pytest.raises(NotSupported):
        checks.check_runnable(chat(messages=()), nothing)


@pytest.mark.parametrize("think", [None, False])
def test_not_thinking_needs_no_capability(think: Any) -> None:
    checks.check_chat(chat(think=think), model())


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
        checks.check_generate(generate(**fields), model())
    assert refusal.value.message == complaint


def test_a_raw_prompt_with_an_empty_context_is_allowed() -> None:
    checks.check_generate(generate(raw=True, context=()), model())


@pytest.mark.parametrize(
    ("fields", "error", "status"),
    [
        ({"bad_format": "nope"}, BadFormat, 500),
        ({"messages": (Message(role="user", images=(b"x",)),)}, NotCapable, 400),
    ],
)
def test_what_cannot_be_kept_is_refused_and_not_dropped(fields: Any, error: type[PowerError], status: int) -> None:
    with pytest.raises(error) as refusal:
        checks.check_content(chat(**fields), model())
    assert refusal.value.status == status


_SOUND = b"ID3\x04\0"
_SEEING = {"capabilities": ("completion", "vision"), "files": ModelFiles(weights="w.gguf", projectors=("p.gguf",))}


@pytest.mark.parametrize(
    ("changes", "images", "rendered", "complaint"),
    [
        ({}, (IMAGE,), False, "does not support images: image input is not supported - hint: if this is unexpected,"),
        ({}, (IMAGE,), True, "does not support images: Multimodal data provided, but model does not support"),
        (_SEEING, (IMAGE, _SOUND), False, '"M" does not support audio'),
        (_SEEING | {"capabilities": ("completion", "audio")}, (_SOUND, IMAGE), False, '"M" does not support images'),
        (_SEEING | {"files": ModelFiles(weights="w")}, (IMAGE,), False, "inside the file of its weights"),
        (
            _SEEING | {"config": ConfigBlob(model_family="mllama")},
            (IMAGE, IMAGE),
            False,
            "this model only supports one image while more than one image requested",
        ),
    ],
)
def test_what_a_model_cannot_see_or_hear_is_refused(
    changes: dict[str, Any], images: tuple[bytes, ...], rendered: bool, complaint: str
) -> None:
    request = chat(messages=(USER, Message(role="user", images=images)))
    with pytest.raises(BadRequest) as refusal:
        checks.check_content(request, model(**changes), rendered=rendered)
    assert complaint in refusal.value.message


def test_what_a_model_can_see_and_hear_is_taken() -> None:
    able = model(**_SEEING | {"capabilities": ("completion", "vision", "audio")})
    checks.check_content(generate(images=(IMAGE, _SOUND)), able)


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
    asked = Rerank(model=NAME, shown="M", query="q", documents=("d",))
    chosen = model(name=ModelName.parse(name), capabilities=capabilities)
    if ranks:
        checks.check_rerank(asked, chosen)
        return
    with pytest.raises(NotSupported, match='"M" does not support reranking'):
        checks.check_rerank(asked, chosen)
