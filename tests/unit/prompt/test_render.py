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


HARMONY: Final = (
    "{{ range .Messages }}<|start|>{{ .Role }}<|message|>{{ .Content }}{{ range .ToolCalls }}[{{ .Function.Name }}]"
    "{{ end }}<|end|>{{ end }}{{ range .Tools }}<{{ .Function.Name }}>{{ end }}{{ .ThinkLevel }}<|start|>assistant"
)
HARMONY_JINJA: Final = (
    "{% for m in messages %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endfor %}"
    "{# <|channel|> #}{{ reasoning_effort }}<|start|>assistant"
)
MY_TOOL: Final = Tool(name="my-tool")


def test_a_named_renderer_goes_before_every_template() -> None:
    prompt = Prompter(PLAIN).render([USER], renderer="qwen3.5", parser="qwen3.5")
    assert prompt.text == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n"
    assert (prompt.parser, prompt.opened, prompt.think) == ("qwen3.5", True, True)
    off = Prompter(PLAIN).render([USER], renderer="qwen3.5", think=False)
    assert (off.parser, off.opened, off.think) == ("qwen3.5", False, False)


def test_a_renderer_without_parser_is_read_as_the_go_template_beside_it_says() -> None:
    prompt = Prompter().render([USER], renderer="qwen3-coder", template=GO, tools=[MY_TOOL])
    assert prompt.text.endswith("<|im_start|>assistant\n")
    assert (prompt.parser, prompt.thinking, prompt.tool_tag) == ("", ("<t>", "</t>"), "{")


def test_a_named_parser_tells_what_the_engine_must_show() -> None:
    prompt = Prompter().render([USER], template=GO, parser="qwen3", tools=[MY_TOOL])
    assert {"<think>", "<tool_call>"} <= set(prompt.visible)


@pytest.mark.parametrize(
    ("parser", "asked", "opened"),
    [
        ("qwen3", {}, False),
        ("qwen3-thinking", {}, True),
        ("qwen3-thinking", {"think": False}, False),
        ("qwen3-vl-thinking", {"think": False}, True),
        ("cogito", {}, True),
        ("cogito", {"tools": [MY_TOOL]}, False),
        ("glm-4.7", {}, True),
        ("lfm2-thinking", {}, False),
    ],
)
def test_whether_an_answer_begins_with_thinking_is_the_parsers_word(
    parser: str, asked: dict[str, Any], opened: bool
) -> None:
    template = "{{ range .Messages }}{{ .Content }}{{ end }}{{ .Tools }}"
    assert Prompter().render([USER], template=template, parser=parser, **asked).opened is opened
    begun = [USER, Message(role="assistant", content="We")]
    assert Prompter().render(begun, template=template, parser="qwen3-thinking").opened is False


@pytest.mark.parametrize(
    ("mark", "parser"),
    [
        ("<tool_call><function=f><parameter=p>", "qwen3-coder"),
        ("</think><tool_call><function=f><parameter=p>", "qwen3.5"),
        ("</think><seed:tool_call><function=f><parameter=p>", "seed-oss"),
        ("<function=f>", ""),
        ("<tool_call>f<arg_key>", "glm-4.7"),
        ("[TOOL_CALLS]f[ARGS]", "ministral"),
        ("<|tool_call_start|>", "lfm2"),
        ("<｜tool▁sep｜>", "deepseek3"),
        ("<|START_ACTION|>", "cohere"),
        ("<function_calls>", "olmo3"),
        ("<|tool_call>call:f{}<tool_call|>", "gemma4"),
        ("<start_function_call>", "functiongemma"),
        ("<|python_start|>", "pythonic"),
        ("<atem:invoke>", "glimmer"),
        ("<|channel|><|message|>", "harmony"),
        ("<tool_call>{}</tool_call>", ""),
        ("[TOOL_CALLS] [", ""),
    ],
)
def test_a_chat_template_shows_whose_calls_it_teaches(mark: str, parser: str) -> None:
    assert Prompter(PLAIN + "{# " + mark.replace("{}", "") + " #}").render([USER]).parser == parser


def test_harmony_tools_have_names_that_the_model_can_write() -> None:
    called = Message(role="assistant", tool_calls=(ToolCall(name="my-tool", arguments={}),))
    prompt = Prompter().render([USER, called], template=HARMONY, parser="harmony", tools=[MY_TOOL], think="max")
    assert "[my_tool]" in prompt.text
    assert prompt.text.endswith("<my_tool>high<|start|>assistant")
    assert prompt.names == {"my_tool": "my-tool"}
    assert prompt.begun == "<|start|>assistant"


@pytest.mark.parametrize(
    ("begun", "end", "header"),
    [
        (None, "<|start|>assistant", "<|start|>assistant"),
        (
            Message(role="assistant", content="We"),
            "<|start|>assistant<|channel|>final<|message|>We",
            "<|start|>assistant<|channel|>final<|message|>",
        ),
        (
            Message(role="assistant", thinking="hm"),
            "<|start|>assistant<|channel|>analysis<|message|>hm",
            "<|start|>assistant<|channel|>analysis<|message|>",
        ),
        (
            Message(role="assistant", thinking="hm", content="We"),
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>We",
            "<|start|>assistant<|channel|>final<|message|>",
        ),
    ],
)
def test_a_begun_harmony_answer_goes_on_in_its_channel(begun: Message | None, end: str, header: str) -> None:
    prompt = Prompter(HARMONY_JINJA).render([USER, *([begun] if begun else [])])
    assert prompt.text.endswith(end)
    assert (prompt.parser, prompt.begun) == ("harmony", header)
