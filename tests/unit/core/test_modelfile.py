"""Modelfiles: the grammar, what is said of mistakes, typed parameters, and printing."""

from typing import Any

import pytest

from a3s_power.core.errors import BadModelfile
from a3s_power.core.modelfile import Instruction, Modelfile, parameter_lines, printed

_COMMANDS = (
    'command must be one of "from", "license", "template", "system", "adapter", "draft", "renderer", "parser", '
    '"parameter", "message", or "requires"'
)


def _read(text: str) -> list[tuple[str, ...]]:
    """Name, key where there is one, and value of each instruction after the first."""
    instructions = Modelfile.parse(f"FROM m\n{text}").instructions[1:]
    return [(one.name, *((one.key,) if one.key else ()), one.value) for one in instructions]


@pytest.mark.parametrize(
    ("text", "instructions"),
    [
        ("", []),
        ("# FROM x\n  # more", []),
        ("SYSTEM a b", [("system", "a b")]),
        ("system a\nSyStEm b", [("system", "a"), ("system", "b")]),
        ("  SYSTEM \t a \t\n", [("system", "a")]),
        ("SYSTEM a # b", [("system", "a # b")]),
        ("SYSTEM a\tb", [("system", "a\tb")]),
        ("SYSTEM 'a'", [("system", "'a'")]),
        ("SYSTEM a\rLICENSE b\r\nPARSER c", [("system", "a"), ("license", "b"), ("parser", "c")]),
        ('SYSTEM "a"', [("system", "a")]),
        ('SYSTEM "quo"ted"', [("system", 'quo"ted')]),
        ('SYSTEM " a "  ', [("system", " a ")]),
        ('SYSTEM "a\n b\n"', [("system", "a\n b\n")]),
        ('SYSTEM "a" b\nc"\nPARSER p', [("system", 'a" b\nc'), ("parser", "p")]),
        ('SYSTEM """\na "b"\n"""', [("system", '\na "b"\n')]),
        ('SYSTEM """ a """ ', [("system", " a ")]),
        ('SYSTEM ""', [("system", "")]),
        ('SYSTEM """"""', [("system", "")]),
        ('SYSTEM """"a""""', [("system", '"a"')]),
        ("SYSTEM \nPARSER p", [("system", ""), ("parser", "p")]),
        ("SYSTEM a\u200bb\xa0c\x00d", [("system", "abcd")]),
        ("SYSTEM \u4f60\u597d \U0001f600", [("system", "\u4f60\u597d \U0001f600")]),
        ('SYSTEM "a\tb\r\nc"', [("system", "a\tb\r\nc")]),
        ("PARAMETER num_ctx 1\nPARAMETER stop x y", [("parameter", "num_ctx", "1"), ("parameter", "stop", "x y")]),
        ("PARAMETER   stop\t\tx", [("parameter", "stop", "x")]),
        ("MESSAGE user hi: there", [("message", "user", "hi: there")]),
        ('MESSAGE assistant """a\nb"""', [("message", "assistant", "a\nb")]),
    ],
)
def test_the_grammar_is_read(text: str, instructions: list[tuple[str, ...]]) -> None:
    assert _read(text) == instructions


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no FROM line"),
        ("SYSTEM a", "no FROM line"),
        ("FROM m\nBOGUS x", f"(line 2): {_COMMANDS}"),
        ("FROM m\r\nBOGUS x", f"(line 3): {_COMMANDS}"),
        ("FROM m\nSYSTEM\n", f"(line 3): {_COMMANDS}"),
        ("FROM m\nSYS-TEM x", f"(line 2): {_COMMANDS}"),
        ("1FROM m", f"(line 1): {_COMMANDS}"),
        ("FROM m\nMESSAGE User x", '(line 2): message role must be one of "system", "user", or "assistant"'),
        ("FROM m\nMESSAGE tool x", '(line 2): message role must be one of "system", "user", or "assistant"'),
        ("FROM", "unexpected EOF"),
        ("FROM m\nSYS", "unexpected EOF"),
        ('FROM m\nSYSTEM "a', "unexpected EOF"),
        ('FROM m\nSYSTEM "', "unexpected EOF"),
        ('FROM m\nSYSTEM """a"\n"""b', "unexpected EOF"),
        ("FROM m\nPARAMETER num_ctx\n", "unexpected EOF: num_ctx"),
        ("FROM m\nPARAMETER num-ctx 1", "unexpected EOF: num"),
        ("FROM m\nMESSAGE user\n", "unexpected EOF: user"),
        ("FROM m\nMESSAGE user: x", "unexpected EOF: user"),
    ],
)
def test_mistakes_are_told_in_ollamas_words(text: str, complaint: str) -> None:
    with pytest.raises(BadModelfile) as failed:
        Modelfile.parse(text)
    assert str(failed.value) == complaint


@pytest.mark.parametrize(
    "content",
    [
        "FROM m\nSYSTEM é".encode(),
        "\ufeffFROM m\nSYSTEM é".encode(),
        "\ufeffFROM m\nSYSTEM é".encode("utf-16-le"),
        "\ufeffFROM m\nSYSTEM é".encode("utf-16-be"),
    ],
)
def test_bytes_are_read_by_their_mark(content: bytes) -> None:
    assert Modelfile.parse(content).last("system") == "é"


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert Modelfile.parse(b"FROM m\nSYSTEM a\xffb").last("system") == "a\ufffdb"


def test_a_blank_value_of_from_names_the_folder() -> None:
    assert Modelfile.parse("FROM \n").all("from") == [""]


def test_the_last_counts_where_one_may_stand_and_all_where_several_may() -> None:
    modelfile = Modelfile.parse("FROM a\nFROM b\nSYSTEM x\nSYSTEM y\nMESSAGE user hi\nMESSAGE assistant ho")
    assert (modelfile.all("from"), modelfile.last("system"), modelfile.last("parser")) == (["a", "b"], "y", "")
    assert modelfile.messages == [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]


@pytest.mark.parametrize(
    ("lines", "values"),
    [
        ("PARAMETER num_ctx 1\nPARAMETER num_ctx +2", {"num_ctx": 2}),
        ("PARAMETER temperature 0.5", {"temperature": 0.5}),
        ("PARAMETER temperature 1e-3", {"temperature": 0.001}),
        ("PARAMETER top_p .5", {"top_p": 0.5}),
        ("PARAMETER use_mmap T\nPARAMETER use_mlock 0", {"use_mmap": True, "use_mlock": False}),
        ('PARAMETER stop a\nPARAMETER stop "b c "', {"stop": ["a", "b c "]}),
        ("PARAMETER seed -9223372036854775808", {"seed": -(2**63)}),
    ],
)
def test_parameters_have_types(lines: str, values: dict[str, Any]) -> None:
    assert Modelfile.parse(f"FROM m\n{lines}").parameters() == (values, [])


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("num_ctx 1.0", "invalid int value [1.0]"),
        ("num_ctx 1_000", "invalid int value [1_000]"),
        ("num_ctx 99999999999999999999", "invalid int value [99999999999999999999]"),
        ("num_ctx \u0661", "invalid int value [\u0661]"),
        ("temperature warm", "invalid float value [warm]"),
        ("temperature nan", "invalid float value [nan]"),
        ("temperature 1e39", "invalid float value [1e39]"),
        ("use_mmap yes", "invalid bool value [yes]"),
        ("bogus 1", "unknown parameter 'bogus'"),
    ],
)
def test_parameters_of_a_wrong_type_are_refused(line: str, complaint: str) -> None:
    with pytest.raises(BadModelfile) as failed:
        Modelfile.parse(f"FROM m\nPARAMETER {line}").parameters()
    assert str(failed.value) == complaint


def test_parameters_of_old_versions_are_named_and_dropped() -> None:
    assert Modelfile.parse("FROM m\nPARAMETER low_vram x\nPARAMETER top_k 1").parameters() == (
        {"top_k": 1},
        ["low_vram"],
    )


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("a b", "SYSTEM a b"),
        ("a\nb", 'SYSTEM "a\nb"'),
        (" a", 'SYSTEM " a"'),
        ('a "b"\nc', 'SYSTEM """a "b"\nc"""'),
        ('"a', 'SYSTEM """"a"""'),
        ('a"\nb"', 'SYSTEM """a"\nb""""'),
        ('x"""\ny', "# The next value is not exact: it holds what a Modelfile cannot.\nSYSTEM \"x'''\ny\""),
        ("a\x00b", "# The next value is not exact: it holds what a Modelfile cannot.\nSYSTEM ab"),
        ("", 'SYSTEM ""'),
    ],
)
def test_a_value_is_printed_in_the_quotes_it_needs(value: str, line: str) -> None:
    assert printed(Instruction("system", value)) == line


def test_a_hostile_name_does_not_become_an_instruction() -> None:
    hostile = (Instruction("parameter", "1", "a\nFROM evil"), Instruction("message", "hi", "user\nFROM evil"))
    text = "FROM m\n" + "".join(f"{printed(one)}\n" for one in hostile)
    assert Modelfile.parse(text).instructions == (Instruction("from", "m"),)


def test_parameters_are_printed_sorted_and_lists_line_by_line() -> None:
    lines = parameter_lines({"top_p": 0.7, "stop": ["<|eot|>", " b"], "num_ctx": 1048576, "use_mmap": True, "x": 1e6})
    assert [printed(line) for line in lines] == [
        "PARAMETER num_ctx 1048576",
        "PARAMETER stop <|eot|>",
        'PARAMETER stop " b"',
        "PARAMETER top_p 0.7",
        "PARAMETER use_mmap true",
        "PARAMETER x 1e+06",
    ]
