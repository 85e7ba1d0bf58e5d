"""Conversations through Go templates: collation, the way from before messages, suffixes, and tools."""

import pytest

from a3s_power.core.errors import BadTemplate
from a3s_power.core.messages import Message, Tool, ToolCall
from a3s_power.prompt.gotemplate.prompt import collated, render, render_suffix


def turns(*pairs: tuple[str, str]) -> list[Message]:
    return [Message(role=role, content=content) for role, content in pairs]


WEATHER = Tool(
    name="get_weather",
    description="d",
    parameters={
        "type": "object",
        "required": ["city"],
        "properties": {
            "city": {"type": "string", "default": "Paris", "description": "a <city>"},
            "days": {"type": ["integer", "null"]},
        },
        "additionalProperties": False,
    },
)


def test_neighbours_of_one_role_become_one_but_tool_results_stay_apart() -> None:
    found = collated(turns(("user", "Hello"), ("user", "How are you?"), ("tool", "1"), ("tool", "2")))
    assert [(turn.role, turn.content) for turn in found] == [
        ("user", "Hello\n\nHow are you?"),
        ("tool", "1"),
        ("tool", "2"),
    ]


def test_joined_messages_keep_the_calls_of_both() -> None:
    call = ToolCall(name="f", arguments={})
    found = collated(
        [Message(role="assistant", content="a"), Message(role="assistant", content="b", tool_calls=(call,))]
    )
    assert found[0].tool_calls == (call,)


def test_the_system_of_a_template_with_messages_is_all_of_them() -> None:
    template = "{{ .System }}|{{ range .Messages }}{{ .Role }} {{ end }}"
    assert render(template, turns(("system", "A"), ("user", "u"), ("system", "B"))) == "A\n\nB|system user system "


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("A{{ .Prompt }}B{{ .Response }}C", "APBR"),
        ("A{{ if .Response }}x{{ .Response }}y{{ end }}Z", "AxR"),
        ("A{{ .Response }}{{ if .Response }}END{{ end }}Z", "AR"),
        ("A{{ if .Prompt }}{{ .Response }}!{{ else }}none{{ end }}Z", "AR"),
        ("{{ .System }} {{ .Prompt }}", "S PR"),
    ],
)
def test_an_answer_can_be_gone_on_with(template: str, expected: str) -> None:
    conversation = turns(("system", "S"), ("user", "P"), ("assistant", "R"))
    assert render(template, conversation) == expected


def test_a_template_without_messages_is_executed_for_each_turn() -> None:
    template = "[{{ .System }}|{{ .Prompt }}|{{ .Response }}]"
    conversation = turns(("system", "S"), ("user", "u1"), ("assistant", "a1"), ("user", "u2"))
    assert render(template, conversation) == "[S|u1|a1][|u2|"


def test_a_suffix_fills_in_the_middle() -> None:
    template = "{{ if .Suffix }}<PRE>{{ .Prompt }}<SUF>{{ .Suffix }}<MID>{{ else }}{{ .Prompt }}{{ end }}"
    assert render_suffix(template, "def f(", "return 1") == "<PRE>def f(<SUF>return 1<MID>"


def test_a_tool_prints_as_the_json_it_came_as_with_the_keywords_ollama_knows() -> None:
    assert render(
        "{{ range .Tools }}{{ . }}{{ end }}{{ if .Messages }}{{ end }}", turns(("user", "u")), tools=[WEATHER]
    ) == (
        '{"type":"function","function":{"name":"get_weather","description":"d","parameters":{"type":"object",'
        '"required":["city"],"properties":{"city":{"type":"string","description":"a \\u003ccity\\u003e"},'
        '"days":{"type":["integer","null"]}}}}}'
    )


def test_the_idioms_of_published_templates_work_on_tools() -> None:
    template = (
        "{{ if .Messages }}{{ end }}{{ range .Tools }}{{ .Function.Name }}("
        "{{ range $name, $prop := .Function.Parameters.Properties }}"
        "{{ $name }}: {{ $prop | toTypeScriptType }} {{ $prop.Type }};"
        "{{ end }}) {{ index .Function.Parameters.Required 0 }}{{ end }}"
        ' "function": {{ (index .Tools 0).Function.Parameters.Type }}'
    )
    assert render(template, turns(("user", "u")), tools=[WEATHER]) == (
        'get_weather(city: string string;days: number | null [integer null];) city "function": object'
    )


def test_the_arguments_of_a_call_print_as_json_with_sorted_keys() -> None:
    call = ToolCall(name="f", arguments={"b": 1000000, "a": [1, "<"]}, id="call_1")
    template = (
        "{{ range .Messages }}{{ range .ToolCalls }}"
        "{{ .Function.Name }} {{ .Function.Arguments }} {{ .ID }}{{ end }}{{ end }}"
    )
    answer = Message(role="assistant", tool_calls=(call,))
    assert render(template, [answer]) == 'f {"a":[1,"\\u003c"],"b":1000000} call_1'


@pytest.mark.parametrize(
    ("think", "expected"),
    [(None, "false||false"), (True, "true|medium|true"), (False, "false||true"), ("high", "true|high|true")],
)
def test_a_template_sees_whether_to_think(think: bool | None, expected: str) -> None:
    template = "{{ .Think }}|{{ .ThinkLevel }}|{{ .IsThinkSet }}{{ if .Messages }}{{ end }}"
    assert render(template, turns(("user", "u")), think=think) == expected


def test_a_field_no_message_has_is_an_error() -> None:
    with pytest.raises(BadTemplate, match="can't evaluate field Nope in type"):
        render("{{ range .Messages }}{{ .Nope }}{{ end }}", turns(("user", "u")))
