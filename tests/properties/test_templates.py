"""Laws of the template languages: whatever is written, it renders to a text or is refused in one kind of error."""

import random
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_power.core.errors import BadTemplate
from a3s_power.core.messages import Message
from a3s_power.prompt.gotemplate import execute, parse
from a3s_power.prompt.gotemplate.prompt import render
from a3s_power.prompt.jinja import JinjaTemplate
from a3s_power.prompt.render import Prompter

GO: Final = (
    *(
        "{{",
        "}}",
        "{{-",
        "-}}",
        "{{ ",
        " }}",
        "/*",
        "*/",
        "(",
        ")",
        "|",
        ",",
        ":=",
        "=",
        "$",
        "$x",
        "$i",
        ".",
        "..",
        "-",
    ),
    *(".Messages", ".System", ".Role", ".Content", ".Nope", ".N", ".M", ".L", "$.Tools", "if", "else", "end", "range"),
    *(
        "with",
        "define",
        "template",
        "block",
        "break",
        "continue",
        "and",
        "or",
        "not",
        "eq",
        "lt",
        "len",
        "index",
        "slice",
    ),
    *("print", "printf", "json", "html", "js", "call", "true", "nil", "0", "1_0", "0x", "1e", "'a'", "'", '"', '"a"'),
    *("`", "`a`", '"%d"', '"%999999d"', "\\", "\n", " ", "a", "é", "\x00", "\ud7ff"),
)
JINJA: Final = (
    *(
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "{{-",
        "-}}",
        "{%-",
        "-%}",
        "if",
        "else",
        "endif",
        "for",
        "endfor",
        "in",
        "set",
    ),
    *("macro", "endmacro", "m()", "messages", "message", ".content", "['role']", "loop.index", "namespace(a=1)", "x.a"),
    *("|", "trim", "tojson", "join(',')", "map('upper')", "~", "+", "*", "**", "(", ")", "[", "]", "{", "}", ":", ","),
    *(
        "range(9)",
        "'a'",
        "'",
        '"',
        "1",
        "9999999",
        "is",
        "defined",
        "none",
        "not",
        "recursive",
        "call",
        "filter",
        "=",
        "\n",
    ),
    *("raise_exception('x')", "strftime_now('%Y')", "__class__", "{% raw %}", "{% endraw %}", " ", "é"),
)
DATA: Final[dict[str, Any]] = {"System": "S", "Messages": [], "N": 3, "M": {"a": 1.0}, "L": ["x"], "Tools": None}
TURNS: Final = (Message(role="user", content="hi"),)
MOST: Final = 20_000


def written(pieces: tuple[str, ...], count: int, seed: int) -> Iterator[str]:
    """Texts that look like templates, for the most part inside their delimiters."""
    dice = random.Random(seed)
    opening, closing = pieces[0], pieces[1]
    for _ in range(count):
        inner = dice.choices(pieces, k=dice.randint(1, 14))
        yield f"{opening} {' '.join(inner)} {closing}" if dice.random() < 0.7 else "".join(inner)


WHOLE: Final = (
    '{{- $last := -1 }}{{ range $i, $m := .Messages }}{{ if eq .Role "user" }}{{ $last = $i }}{{ end }}{{ end }}'
    "{{ if or .System .Tools }}<|im_start|>system\n{{ .System }}{{ range .Tools }}{{ json . }}{{ end }}{{- end -}}"
    '{{ range $i, $_ := .Messages }}{{ if eq .Role "user" }}U{{ .Content }}{{ else if and .Thinking (lt $i $last) }}'
    '{{ with .ToolCalls }}{{ len . }}{{ else }}{{ printf "%s-%d" .Content 1 }}{{ end }}{{ break }}{{ end }}{{ end }}'
    '{{ define "x" }}[{{ . }}]{{ end }}{{ template "x" .System }}{{/* c */}}{{ index .L 0 | print "a" }}'
)


def mutated(whole: str, pieces: tuple[str, ...], count: int, seed: int) -> Iterator[str]:
    """The same template with a few places cut out, doubled, or written over."""
    dice = random.Random(seed)
    for _ in range(count):
        text = whole
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(text) + 1)
            end = min(len(text), at + dice.randint(0, 12))
            text = text[:at] + dice.choice(("", text[at:end] * 2, dice.choice(pieces))) + text[end:]
        yield text


def ends(template: str) -> bool:
    """Whether it came to a text. Raises what is no refusal."""
    try:
        assert isinstance(execute(parse(template), DATA, most=MOST), str)
    except BadTemplate:
        return False
    return True


def test_thousands_of_go_templates_end() -> None:
    templates = (*written(GO, 3_000, 20_261), *mutated(WHOLE, GO, 1_000, 20_263))
    outcomes = [ends(template) for template in templates]
    assert 20 < sum(outcomes) < len(outcomes)


def test_thousands_of_jinja_templates_end() -> None:
    outcomes: set[type] = set()
    for template in written(JINJA, 1_000, 20_262):
        try:
            outcomes.add(type(JinjaTemplate(template).render({"messages": [{"role": "user", "content": "hi"}]})))
        except BadTemplate as error:
            outcomes.add(type(error))
    assert outcomes == {str, BadTemplate}


@given(st.text(max_size=60), st.sampled_from(["{{ range .Messages }}{{ .Content }}{{ end }}", "{{ .Prompt }}"]))
def test_what_is_said_comes_through_a_go_template_unchanged(said: str, template: str) -> None:
    assert render(template, [Message(role="user", content=said)]) == said


@given(st.text(max_size=60))
def test_what_is_said_comes_through_jinja_unchanged(said: str) -> None:
    text = Prompter("{{ messages[0].content }}").render([Message(role="user", content=said)]).text
    assert text == said


@pytest.mark.parametrize("template", ["{{ .Prompt }}", "{{ range .Messages }}{{ .Content }}{{ end }}"])
def test_a_template_is_the_same_however_often_it_is_used(template: str) -> None:
    assert len({render(template, TURNS) for _ in range(3)}) == 1
