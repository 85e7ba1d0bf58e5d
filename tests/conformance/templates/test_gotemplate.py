"""Go's text/template: the golden vectors of the fact sheet, and what hostile templates meet."""

from typing import Any

import pytest

from a3s_power.core.errors import BadTemplate
from a3s_power.prompt.gotemplate import execute, parse, variables
from a3s_power.prompt.gotemplate.values import Record


def _message(role: str, content: str, thinking: str = "") -> Record:
    return Record("*api.Message", {"Role": role, "Content": content, "Thinking": thinking})


DATA: dict[str, Any] = {
    "System": "S",
    "Messages": [_message("user", "u1"), _message("assistant", "a1", "t1"), _message("user", "u2")],
    "Think": True,
    "N": 3,
    "F": 1.0,
    "F2": 1.5,
    "F3": 1e21,
    "Nil": None,
    "E": "",
    "L": ["x", "y"],
    "M": {"b": 2.0, "a": "q", "c": None, "d": [1.0, "z"], "e": True},
    "A": {"a": 1000000.0, "b": 12345678.0, "c": 0.5, "d": 7.0},
}


def run(template: str) -> str:
    return execute(parse(template), DATA)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('a \n{{- "b" -}}\n c', "abc"),
        ("x{{- /* note */ -}} y", "xy"),
        ("x{{/* note */}} y", "x y"),
        ("{{-3}}", "-3"),
        ("{{- 3}}", "3"),
        ("{{ range .Messages }}{{ .Role }}:{{ .Content }};{{ end }}", "user:u1;assistant:a1;user:u2;"),
        (
            (
                "{{ range $i, $m := .Messages }}{{ $i }}{{ $m.Role }}"
                "{{ if eq (len (slice $.Messages $i)) 1 }}!{{ end }}{{ end }}"
            ),
            "0user1assistant2user!",
        ),
        ("{{ range $k, $v := .M }}{{ $k }}={{ $v }} {{ end }}", "a=q b=2 c=<no value> d=[1 z] e=true "),
        ("{{ $n := 0 }}{{ range .Messages }}{{ $n = len .Content }}{{ end }}{{ $n }}", "2"),
        ("{{ $n := 0 }}{{ range .Messages }}{{ $n := 9 }}{{ end }}{{ $n }}", "0"),
        ("{{ if eq .N 1 }}a{{ else if eq .N 3 }}b{{ else }}c{{ end }}", "b"),
        ("{{ if and .System (gt (len .Messages) 2) }}y{{ end }}", "y"),
        ("{{ and 1 0 .Nope.Deep }}", "0"),
        ("{{ or 1 .Nope.Deep }}", "1"),
        ("{{ .Nope }}", "<no value>"),
        ("{{ with .System }}[{{ . }}|{{ $.N }}]{{ end }}", "[S|3]"),
        ("{{ with .E }}a{{ else }}b{{ end }}", "b"),
        ('{{ range .Messages }}{{ if eq .Role "assistant" }}{{ continue }}{{ end }}{{ .Content }}{{ end }}', "u1u2"),
        ("{{ range .Messages }}{{ .Content }}{{ break }}{{ end }}", "u1"),
        ('{{ len "héllo" }} {{ slice "héllo" 0 3 }} {{ index "abc" 0 }}', "6 hé 97"),
        ('{{ index .L 1 }} {{ index .M "a" }} {{ index .M "zz" }}', "y q <no value>"),
        (
            "{{ .F }} {{ .F2 }} {{ .F3 }} {{ .N }} {{ .Think }} {{ .Nil }} {{ .L }}",
            "1 1.5 1e+21 3 true <no value> [x y]",
        ),
        (
            "{{ range $k, $v := .A }}{{ $k }}={{ $v }};{{ end }}{{ json .A }}",
            'a=1e+06;b=1.2345678e+07;c=0.5;d=7;{"a":1000000,"b":12345678,"c":0.5,"d":7}',
        ),
        (
            "{{ json .M }} {{ json .L }} {{ json .Nil }}",
            '{"a":"q","b":2,"c":null,"d":[1,"z"],"e":true} ["x","y"] null',
        ),
        ('{{ json "a<b>&" }}', '"a\\u003cb\\u003e\\u0026"'),
        (
            '{{ printf "%s|%d|%v|%q|%5d|%-4s|%.2f|%%" "a" 3 true "b" 7 "c" 1.234 }}',
            'a|3|true|"b"|    7|c   |1.23|%',
        ),
        ('{{ print "a" "b" 1 2 true }}', "ab1 2 true"),
        (
            '{{ eq .System "S" "T" }} {{ ne .N 3 }} {{ lt .N 4 }} {{ le 3 3 }} {{ ge 2 3 }} {{ gt "b" "a" }}',
            "true false true true false true",
        ),
        ("{{ eq .Nil .Nope }}", "true"),
        (
            '{{ define "m" }}<{{ .Role }}>{{ end }}{{ range .Messages }}{{ template "m" . }}{{ end }}',
            "<user><assistant><user>",
        ),
        ('{{ block "b" .System }}({{ . }}){{ end }}', "(S)"),
        ("{{ (index .Messages 1).Thinking }}", "t1"),
        ('{{ .System | printf "%s-%s" "x" }}', "x-S"),
        ("{{ 'x' }} {{ 1_000 }} {{ 0x1F }} {{ -1 }} {{ 1e3 }}", "120 1000 31 -1 1000"),
        ("{{ if $x := .System }}{{ $x }}{{ end }}", "S"),
        ("{{ slice .L 1 }} {{ slice .Messages 3 | len }}", "[y] 0"),
        ('{{ `raw\\n` }}{{ "\\u00e9\\x41\\101\\n" }}', "raw\\néAA\n"),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
        ("{{ range .Nope }}a{{ else }}none{{ end }}", "none"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ('{{ eq .Missing "x" }} {{ ne .Missing "x" }} {{ eq .Missing nil }}', "false true true"),
        ("{{ with .E }}a{{ else with .System }}{{ . }}{{ end }}", "S"),
        ('{{ html "<a>" }} {{ urlquery "a b" }}', "&lt;a&gt; a+b"),
    ],
)
def test_a_template_yields_what_go_yields(template: str, expected: str) -> None:
    assert run(template) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{{ .Nope.Deep }}",
        '{{ eq .N "3" }}',
        "{{ eq .F 1 }}",
        "{{ len .Missing }}",
        "{{ len 3 }}",
        "{{ slice .L 3 }}",
        "{{ index .L 5 }}",
        '{{ range "text" }}{{ end }}',
        "{{ range .Messages }}{{ .Nope }}{{ end }}",
        '{{ template "nowhere" . }}',
        "{{ not }}",
    ],
)
def test_a_value_that_does_not_fit_is_an_error_with_its_line(template: str) -> None:
    with pytest.raises(BadTemplate, match=r"^template: :2: "):
        run("\n" + template)


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{{ .System", "template: :1: unclosed action"),
        ("a\n{{ end }}", "template: :2: unexpected {{end}}"),
        ("{{ if .A }}", "template: :1: unexpected EOF"),
        ("{{ foo }}", 'template: :1: function "foo" not defined'),
        ("{{ $x }}", 'template: :1: undefined variable "$x"'),
        ("{{ $x = 1 }}", 'template: :1: undefined variable "$x"'),
        ("{{ /* bad */ }}", 'template: :1: unexpected "/" in operand'),
        ('{{ "open }}', "template: :1: unterminated quoted string"),
        ("{{ (1 }}", "template: :1: unclosed left paren"),
        ("{{ 1) }}", "template: :1: unexpected right paren"),
        ("{{ break }}", "template: :1: {{break}} outside {{range}}"),
        ("{{ nil }}", "template: :1: nil is not a command"),
        ("{{ if }}{{ end }}", "template: :1: missing value for if"),
        ("{{/* open", "template: :1: unclosed comment"),
        ("{{ range $a, $b, $c := .L }}{{ end }}", "template: :1: too many declarations in range"),
    ],
)
def test_a_text_that_is_no_template_is_refused_in_gos_words(template: str, complaint: str) -> None:
    with pytest.raises(BadTemplate) as refusal:
        parse(template)
    assert refusal.value.message == complaint


def test_a_template_called_without_a_pipeline_is_refused() -> None:
    with pytest.raises(BadTemplate, match="undefined template specified"):
        parse('{{ define "a" }}{{ end }}{{ template "a" }}')


def test_the_variables_of_a_template_are_all_its_identifiers_in_lower_case() -> None:
    template = parse(
        '{{ define "d" }}{{ .Suffix }}{{ end }}{{ range $i, $m := .Messages }}{{ $m.Role }}{{ $.Tools }}{{ end }}'
        "{{ if (index .Messages 0).Thinking }}{{ end }}"
    )
    assert variables(template) == {"suffix", "messages", "m", "role", "tools", "thinking"}


@pytest.mark.parametrize(
    "template",
    [
        '{{ define "x" }}{{ template "x" . }}{{ end }}{{ template "x" . }}',
        "{{ range 99999 }}{{ range 99999 }}A{{ end }}{{ end }}",
        '{{ printf "%1000000000d" 1 }}',
        "{{ index .Messages 99999 }}",
        "{{ range 9999999 }}{{ end }}{{ range 9999999 }}{{ end }}",
    ],
)
def test_a_hostile_template_ends_in_an_error(template: str) -> None:
    """TPL-05."""
    with pytest.raises(BadTemplate):
        execute(parse(template), DATA, most=100_000)


@pytest.mark.parametrize("text", ["{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "{{ if 1 }}" * 5000, "x" * 1_100_000])
def test_a_template_too_deep_or_too_long_is_refused(text: str) -> None:
    """TPL-05."""
    with pytest.raises(BadTemplate):
        parse(text)
