"""What a request becomes before it reaches the model's child."""

from typing import Any

import pytest

from a3s_power.core.errors import InvalidOption
from a3s_power.core.manifest import ConfigBlob
from a3s_power.core.messages import Message
from a3s_power.core.options import Asked, Options
from a3s_power.service import runs
from tests.asking import IMAGE, USER, chat, generate, model


@pytest.mark.parametrize("raw", [False, True])
def test_the_images_of_a_prompt_come_with_its_text(raw: bool) -> None:
    run = runs.generate_run(generate(images=(IMAGE,), raw=raw), model(), Options(), template="")
    assert [run.images, *(message.images for message in run.messages)] == ([(IMAGE,)] if raw else [(), (IMAGE,)])


def test_a_request_beats_the_model_and_the_model_beats_the_defaults() -> None:
    shown = model(parameters={"temperature": 0.5, "top_k": 7, "stop": ["a", "b"]})
    asked = Asked.read({"temperature": 0.25, "stop": ["c"]})
    options = runs.request_options(chat(asked=asked), shown)
    assert (options.temperature, options.top_k, options.stop, options.top_p) == (0.25, 7, ("c",), 0.9)


def test_a_wrong_option_in_the_model_fails_at_first_use() -> None:
    with pytest.raises(InvalidOption, match='option "num_ctx" must be of type integer'):
        runs.request_options(chat(), model(parameters={"num_ctx": "big"}))


def test_the_models_system_message_comes_first_then_its_history() -> None:
    shown = model(system="be kind", messages=(Message(role="assistant", content="hello"),))
    roles = [(m.role, m.content) for m in runs.conversation((USER,), shown)]
    assert roles == [("system", "be kind"), ("assistant", "hello"), ("user", "hi")]


def test_a_request_that_brings_a_system_message_keeps_the_models_out() -> None:
    own = Message(role="system", content="mine")
    shown = model(system="be kind", messages=(Message(role="assistant", content="hello"),))
    assert [m.content for m in runs.conversation((own, USER), shown)] == ["hello", "mine", "hi"]


def test_a_context_replaces_the_models_history() -> None:
    shown = model(messages=(Message(role="assistant", content="hello"),))
    without = runs.generate_run(generate(), shown, Options(), template="")
    with_one = runs.generate_run(generate(context=()), shown, Options(), template="")
    assert [m.content for m in without.messages] == ["hello", "hi"]
    assert [m.content for m in with_one.messages] == ["hi"]


def test_a_raw_prompt_goes_to_the_engine_as_it_is() -> None:
    run = runs.generate_run(generate(raw=True, suffix="ignored"), model(system="s"), Options(), template="t")
    assert (run.text, run.messages, run.suffix, run.want_context) == ("hi", (), "", False)


def test_a_template_in_the_request_replaces_the_models() -> None:
    run = runs.generate_run(generate(template="{{ .Prompt }}"), model(), Options(), template="other")
    assert run.template == "{{ .Prompt }}"


@pytest.mark.parametrize(
    ("family", "asked", "shifts"),
    [("llama", None, True), ("deepseek2", None, False), ("deepseek2", True, True), ("llama", False, False)],
)
def test_shifting_is_on_unless_said_otherwise(family: str, asked: bool | None, shifts: bool) -> None:
    run = runs.chat_run(chat(shift=asked), model(config=ConfigBlob(model_family=family)), Options(), template="")
    assert run.shift is shifts


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
    run = runs.chat_run(request, model(parameters={"logit_bias": models}), Options(), template="")
    assert run.logit_bias == bias
