"""Prompter: which template is taken, how thinking is told, how an answer is begun."""

from typing import Any, Final

import pytest

from a3s_power.core.errors import BadTemplate
from a3s_power.core.messages import Message, Think, Tool, ToolCall
from a3s_power.prompt.render import Prompter

USER: Final = Message(role="user", content="hi")
PLAIN: Final = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[model]{% endif %}"
)
THINKING: Final = PLAIN + "{# <think></think> #}"
OPENING: Final = PLAIN + "<think>{{ '\\n\\n' }}{# </think> #}"
GO: Final = (
    "{{ range .Messages }}[{{ .Role }}]{{ if .Thinking }}<t>{{ .Thinking }}</t>{{ end }}{{ .Content }}{{ end }}"
    "{{ if .Think }}[think {{ .ThinkLevel }}]{{ end }}"
)


def text(own: str, *messages: Message, **asked: Any) -> str:
    return Prompter(own).render(messages or (USER,), **asked).text


def test_without_any_template_chatml_is_used() -> None:
    system = Message(role="system", content="S")
    expected = "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert text("", system, USER) == expected


def test_a_go_template_is_taken_where_it_is_given() -> None:
    assert text(PLAIN, template="{{ .System }}|{{ range .Messages }}{{ .Content }}{{ end }}") == "|hi"


@pytest.mark.parametrize(
    ("template", "think", "told"),
    [
        (PLAIN, None, ""),
        (PLAIN, True, "True"),
        (PLAIN, False, "False"),
        (THINKING, None, "True"),
        (THINKING, False, "False"),
        (THINKING, "low", "Truelow"),
        (THINKING, "max", "Truemax"),
        ("{# <|channel|> #}" + THINKING, "max", "Truehigh"),
    ],
)
def test_how_a_jinja_template_is_told_to_think(template: str, think: Think, told: str) -> None:
    shown = template + "{{ enable_thinking }}{{ reasoning_effort }}"
    assert text(shown, think=think) == f"[user]hi[model]{told}"


@pytest.mark.parametrize(
    ("switch", "told"),
    [
        ("{{ thinking }}", "True"),
        ("{{ thinking }}{{ enable_thinking }}", "True"),
        ("{{ m.thinking }}", ""),
    ],
)
def test_templates_that_call_the_switch_thinking_are_told_by_that_name(switch: str, told: str) -> None:
    assert text("{% set m = {} %}" + switch, think=True) == told


@pytest.mark.parametrize(("think", "told"), [(None, "[think medium]"), ("low", "[think low]"), (False, "")])
def test_how_a_go_template_is_told_to_think(think: Think, told: str) -> None:
    prompt = Prompter().render([USER], template=GO, think=think)
    assert prompt.text == f"[user]hi{told}"
    assert prompt.thinking == (("<t>", "</t>") if told else None)


@pytest.mark.parametrize(("template", "opened"), [(OPENING, True), (THINKING, False), (PLAIN + "<think>", False)])
def test_whether_the_prompt_ends_inside_the_thinking(template: str, opened: bool) -> None:
    assert Prompter(template).render([USER]).opened is opened


@pytest.mark.parametrize(
    ("template", "begun", "end"),
    [
        (PLAIN, Message(role="assistant", content="Well"), "[model]Well"),
        (THINKING, Message(role="assistant", content="Well", thinking="hm"), "[model]Well"),
        (OPENING, Message(role="assistant", content="Well", thinking="hm"), "[model]<think>\n\nhm</think>\n\nWell"),
        (OPENING, Message(role="assistant", content=""), "[model]<think>\n\n"),
    ],
)
def test_a_last_answer_is_gone_on_with(template: str, begun: Message, end: str) -> None:
    prompt = Prompter(template).render([USER, begun])
    assert prompt.text == f"[user]hi{end}"
    assert prompt.opened is (end.endswith("<think>\n\n"))


def test_a_last_message_with_calls_is_no_beginning() -> None:
    called = Message(role="assistant", tool_calls=(ToolCall(name="f", arguments={}),))
    assert text(PLAIN, USER, called) == "[user]hi[assistant][model]"


@pytest.mark.parametrize("template", ["", GO])
def test_thinking_of_earlier_answers_can_be_taken_out(template: str) -> None:
    tags = ("<t>", "</t>") if template else ("<think>", "</think>")
    turns = [Message(role="assistant", content=f"{tags[0]}hm{tags[1]} yes"), USER]
    prompter = Prompter(PLAIN)
    assert "hm" in prompter.render(turns, template=template, think=False).text
    cleaned = prompter.render(turns, template=template, think=False, clean_thinking=True).text
    assert cleaned.startswith("[assistant]yes[user]hi")


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("{{ messages[0].reasoning_content }}", "hm"),
        ("{{ messages[0]['thinking'] }}", "hm"),
        ("{{ messages[0].reasoning }}", "hm"),
        ("{{ messages[0].thinking }}{{ messages[0].reasoning_content }}", "hm"),
    ],
)
def test_what_was_thought_is_shown_by_the_name_the_template_uses(template: str, found: str) -> None:
    assert text(template, Message(role="assistant", content="a", thinking="hm"), USER) == found


def test_no_content_is_none_only_where_the_template_asks_for_it() -> None:
    called = Message(role="assistant", tool_calls=(ToolCall(name="f", arguments={}),))
    assert text("{{ messages[0].content }}", called, USER) == ""
    asks = "{% if messages[0].content is not none %}text{% else %}none{% endif %}"
    assert text(asks, called, USER) == "none"
    assert text(asks, Message(role="assistant"), USER) == "text"


def test_special_tokens_are_handed_to_the_template() -> None:
    assert Prompter("{{ bos_token }}|{{ eos_token }}", bos="<s>", eos="</s>").render([USER]).text == "<s>|</s>"


def test_tools_are_none_when_there_are_none() -> None:
    assert text("{{ tools is none }}") == "True"
    assert text("{{ tools[0].function.name }}", tools=[Tool(name="f")]) == "f"


def test_a_suffix_goes_into_a_go_template_and_nowhere_else() -> None:
    assert text(PLAIN, template="{{ .Prompt }}<mid>{{ .Suffix }}", suffix="end") == "hi<mid>end"
    with pytest.raises(BadTemplate, match=r"^the model's chat template has no place for a suffix$"):
        text(PLAIN, suffix="end")


def test_a_broken_template_is_told_before_the_first_request_and_with_it() -> None:
    prompter = Prompter("{% if %}")
    problem = prompter.prepare()
    assert problem.startswith("the model's chat template cannot be used: template error: ")
    with pytest.raises(BadTemplate, match=r"^template error: Expected an expression, got 'end of statement block'"):
        prompter.render([USER])
    assert Prompter(PLAIN).prepare() == Prompter("").prepare() == ""
