"""Marks of thinking and of tool calls, found in templates."""

import pytest

from a3s_power.prompt import tags
from a3s_power.prompt.gotemplate import parse

INSIDE = "{{{{ range .Messages }}}}{}{{{{ end }}}}"


@pytest.mark.parametrize(
    ("template", "found"),
    [
        (INSIDE.format("{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}"), ("<think>", "</think>")),
        (
            "{{ range $i, $_ := .Messages }}{{ if (and .Thinking 1) -}}\n<t>\n{{ .Thinking }}\n</t>{{ end }}{{ end }}",
            ("<t>", "</t>"),
        ),
        (INSIDE.format("{{ with .Thinking }}a{{ . }}b{{ end }}"), None),
        (INSIDE.format("a{{ .Thinking }}b{{ .Content }}"), None),
        (INSIDE.format("{{ .Thinking }}"), None),
        (INSIDE.format(" {{ .Thinking }}</think>"), None),
        ("<think>{{ .Thinking }}</think>", None),
        ("{{ range $.Messages }}<think>{{ .Thinking }}</think>{{ end }}", None),
        ("{{ range $m := .Messages }}<think>{{ $m.Thinking }}</think>{{ end }}", None),
        (INSIDE.format("{{ range .ToolCalls }}<a>{{ .Thinking }}</a>{{ end }}"), None),
        (INSIDE.format("<a>{{ .Thinking }}</a>{{ if .X }}<b>{{ .Thinking }}</b>{{ end }}"), ("<b>", "</b>")),
        ("plain", None),
    ],
)
def test_thinking_in_a_go_template(template: str, found: tuple[str, str] | None) -> None:
    assert tags.thinking_of_go(parse(template)) == found


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ('{{ if .ToolCalls }}<tool_call>\n{{ range .ToolCalls }}{"name": "{{ . }}"}{{ end }}{{ end }}', "<tool_call>"),
        ('{{ if .ToolCalls }}{{ range .ToolCalls }}<tool_call>\n{"name": "{{ . }}"}{{ end }}{{ end }}', "<tool_call>"),
        ('{{ if .ToolCalls }}{{ range .ToolCalls }}{"name": "{{ . }}"}{{ end }}{{ end }}', "{"),
        ("{{ if .ToolCalls }}[TOOL_CALLS] [{{ range .ToolCalls }}x{{ end }}{{ end }}", "[TOOL_CALLS] ["),
        ("{{ if .Content }}a{{ else if .ToolCalls }} Action: ```json\r\n[{{ end }}", "Action: ```json\n["),
        ("{{ if .ToolCalls }}{{ .Content }}<tool_call>{{ end }}", "{"),
        ("{{ if .ToolCalls }}{{ $x := 1 }}<tool_call>{{ end }}", "<tool_call>"),
        ("{{ if .ToolCalls }}{{ if .X }} {{ end }}<tool_call>{{ end }}", "{"),
        ("{{ if $m.ToolCalls }}<a>{{ end }}", "{"),
        ("{{ if (gt (len .ToolCalls) 0) }}<a>{{ end }}", "{"),
        ("{{ if and .Content .ToolCalls }}<a>{{ end }}", "<a>"),
        ("none", "{"),
    ],
)
def test_calls_in_a_go_template(template: str, found: str) -> None:
    declared = "{{ $m := . }}" if "$m" in template else ""
    assert tags.calls_of_go(parse(declared + template)) == found


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("x <tool_call> y", "<tool_call>"),
        ("{{ '[TOOL_CALLS]' }}", "[TOOL_CALLS]"),
        ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁begin｜>"),
        ("{{ 'Action: ```json\\n[' }}", "Action: ```json"),
        ("tools without a mark", "{"),
    ],
)
def test_calls_in_a_jinja_template(template: str, found: str) -> None:
    assert tags.calls_of_jinja(template) == found


@pytest.mark.parametrize(
    ("marks", "tokens"),
    [
        (("<tool_call>",), ("<tool_call>", "</tool_call>")),
        (("[TOOL_CALLS][",), ("[TOOL_CALLS]",)),
        (("<|tool_call|>[",), ("<|tool_call|>",)),
        (("{",), ()),
        (("[",), ()),
        (("Action: ```json\n[",), ()),
        (("<think>", "</think>", "<tool_call>"), ("<think>", "</think>", "<tool_call>", "</tool_call>")),
    ],
)
def test_the_tokens_in_marks(marks: tuple[str, ...], tokens: tuple[str, ...]) -> None:
    assert tags.visible(*marks) == tokens
