"""Laws of the Modelfile: what was read is printed so that it reads the same, and nothing else is ever raised."""

import contextlib
from typing import get_args

from hypothesis import example, given
from hypothesis import strategies as st

from a3s_power.core.errors import BadModelfile
from a3s_power.core.modelfile import ROLES, Instruction, Modelfile, Name

_WORDS = st.sampled_from(
    ["FROM m\n", "from ", "SYSTEM ", "system\t", "PARAMETER stop ", "PARAMETER x ", "MESSAGE user ", "TEMPLATE "]
) | st.sampled_from(
    ['"', '"""', "a", "b c", " ", "\t", "\n", "\r", "\r\n", "#", "# c\n", "é", "\u200b", "{{ .Prompt }}", "'", ":"]
)
_TEXTS = st.lists(_WORDS, max_size=30).map("".join)
_VALUES = st.text(alphabet=st.sampled_from('"\n\r\t ab#é\u200b\xa0\x1b'), max_size=12) | st.text(max_size=20)


@st.composite
def _instructions(draw: st.DrawFn) -> Instruction:
    name: Name = draw(st.sampled_from(get_args(Name)))
    keys = {"parameter": st.from_regex(r"[A-Za-z0-9_]+", fullmatch=True), "message": st.sampled_from(ROLES)}
    return Instruction(name, draw(_VALUES), draw(keys[name]) if name in keys else "")


@given(_TEXTS)
@example('FROM m\nSYSTEM "a"\nb"\n')
@example('FROM m\nSYSTEM """a" """ \n"""')
def test_what_was_read_reads_the_same_when_printed(text: str) -> None:
    try:
        modelfile = Modelfile.parse(text)
    except BadModelfile:
        return
    assert Modelfile.parse(str(modelfile)) == modelfile


@given(st.lists(_instructions(), max_size=6))
@example([Instruction("system", 'x"""\nFROM evil'), Instruction("parameter", 'y"\n"""\nSYSTEM z', "stop")])
def test_no_value_ever_reads_as_another_instruction(instructions: list[Instruction]) -> None:
    modelfile = Modelfile((Instruction("from", "m"), *instructions))
    text = str(modelfile)
    read = Modelfile.parse(text)
    assert [(one.name, one.key) for one in read.instructions] == [(one.name, one.key) for one in modelfile.instructions]
    assert read == modelfile or "# The next value is not exact" in text


@given(st.binary(max_size=200) | _TEXTS.map(str.encode))
def test_any_bytes_are_a_modelfile_or_a_complaint(content: bytes) -> None:
    with contextlib.suppress(BadModelfile):
        Modelfile.parse(content).parameters()
