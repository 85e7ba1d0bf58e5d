"""Modelfile: parse and print, each the other's inverse but for comments; the grammar is Ollama's."""

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, Self

import msgspec

from a3s_power.core.errors import BadModelfile
from a3s_power.core.options import KINDS
from a3s_power.core.sizes import go_number

Name = Literal[
    "from",
    "license",
    "template",
    "system",
    "adapter",
    "draft",
    "renderer",
    "parser",
    "parameter",
    "message",
    "requires",
]

NAMES: Final[tuple[Name, ...]] = (
    *("from", "license", "template", "system", "adapter", "draft"),
    *("renderer", "parser", "parameter", "message", "requires"),
)
ROLES: Final = ("system", "user", "assistant")
DROPPED: Final = frozenset({"penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "tfs_z", "numa"})
"""Parameters of older versions that mean nothing any more."""

_LINE_ENDS: Final = "\n\r"
_BLANKS: Final = " \t"
_SHOWN: Final = frozenset("LMNPS")


class Instruction(msgspec.Struct, frozen=True):
    """One line of a Modelfile. `key` is the parameter's name or the message's role, else empty."""

    name: Name
    value: str
    key: str = ""


class Modelfile(msgspec.Struct, frozen=True):
    """Instructions in the order of the file. str() prints them; see `parse` and `printed`."""

    instructions: tuple[Instruction, ...]

    @classmethod
    def parse(cls, content: str | bytes) -> Self:
        """Read a Modelfile; bytes may be UTF-8, or UTF-16 with its mark.

        Raises:
            BadModelfile: with the line where there is one, in Ollama's words.
        """
        text = decode(content) if isinstance(content, bytes) else content.removeprefix("\ufeff")
        instructions = tuple(_Reader(text).instructions())
        if not any(one.name == "from" for one in instructions):
            raise BadModelfile("no FROM line")
        return cls(instructions)

    def all(self, name: Name) -> list[str]:
        """The values of every instruction of this name."""
        return [one.value for one in self.instructions if one.name == name]

    def last(self, name: Name) -> str:
        """The value that counts where an instruction may stand only once; empty without one."""
        return next((one.value for one in reversed(self.instructions) if one.name == name), "")

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation the model starts with, as JSON wants it."""
        return [{"role": one.key, "content": one.value} for one in self.instructions if one.name == "message"]

    def parameters(self) -> tuple[dict[str, Any], list[str]]:
        """Typed parameters, `stop` as a list; and the names of those that mean nothing any more.

        Raises:
            BadModelfile: an unknown parameter, or a value of a wrong type.
        """
        values: dict[str, Any] = {}
        dropped = []
        for one in self.instructions:
            if one.name != "parameter":
                continue
            if one.key in DROPPED:
                dropped.append(one.key)
            elif KINDS.get(one.key) == "array":
                values.setdefault(one.key, []).append(one.value)
            else:
                values[one.key] = typed(one.key, one.value)
        return values, dropped

    def __str__(self) -> str:
        return "".join(f"{printed(one)}\n" for one in self.instructions)


def decode(content: bytes) -> str:
    """Text of a Modelfile's bytes; bytes that are no text become replacement characters, as in Go."""
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8")):
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    return content.decode("utf-8", "replace")


def typed(name: str, text: str) -> int | float | bool | str:
    """A parameter's value from its text. Raises BadModelfile."""
    kind = KINDS.get(name)
    if kind is None:
        raise BadModelfile(f"unknown parameter '{name}'")
    if kind == "integer":
        if not re.fullmatch(r"[-+]?[0-9]+", text) or not -(2**63) <= int(text) < 2**63:
            raise BadModelfile(f"invalid int value [{text}]")
        return int(text)
    if kind == "float32":
        return _float(text)
    if kind == "boolean":
        if text not in _TRUTHS:
            raise BadModelfile(f"invalid bool value [{text}]")
        return _TRUTHS[text]
    return text


def _float(text: str) -> float:
    value = float(text) if _FLOAT.fullmatch(text) else math.inf
    if not abs(value) <= _LARGEST_FLOAT32:
        raise BadModelfile(f"invalid float value [{text}]")
    return value


_FLOAT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_LARGEST_FLOAT32: Final = 3.4028235677973366e38
_TRUTHS: Final = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "FALSE", "false", "False"), False
)


class _Reader:
    """Walks over a text once. Lines are counted as Ollama counts them: a carriage return begins one, too."""

    def __init__(self, text: str) -> None:
        self._text = printable(text)
        self._at = 0

    def instructions(self) -> Iterator[Instruction]:
        while self._skip():
            name = self._name()
            key = self._key(name) if name in ("parameter", "message") else ""
            value, self._at = read_value(self._text, self._at)
            yield Instruction(name, value, key)

    def _skip(self) -> bool:
        """Go to the next instruction; False when there is none."""
        self._word(_BETWEEN)
        return self._at < len(self._text)

    def _name(self) -> Name:
        word = self._word(_NAME)
        blank = self._next()
        if not blank:
            raise BadModelfile("unexpected EOF")
        name = next((known for known in NAMES if known == word.lower()), None)
        if name is None or blank not in _BLANKS:
            listed = ", ".join(f'"{known}"' for known in NAMES[:-1])
            raise self._error(f'command must be one of {listed}, or "{NAMES[-1]}"')
        return name

    def _key(self, name: Name) -> str:
        self._word(_BLANK_RUN)
        key = self._word(_KEY if name == "parameter" else _ROLE)
        blank = self._next()
        if not blank or blank not in _BLANKS:
            raise BadModelfile(f"unexpected EOF: {key}" if blank else "unexpected EOF")
        if name == "message" and key not in ROLES:
            raise self._error('message role must be one of "system", "user", or "assistant"')
        return key

    def _word(self, form: re.Pattern[str]) -> str:
        start, self._at = self._at, _end_of(form, self._text, self._at)
        return self._text[start : self._at]

    def _next(self) -> str:
        char = self._text[self._at : self._at + 1]
        self._at += 1
        return char

    def _error(self, complaint: str) -> BadModelfile:
        line = 1 + sum(char in _LINE_ENDS for char in self._text[: self._at])
        return BadModelfile(f"(line {line}): {complaint}")


_BETWEEN = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_NAME = re.compile(r"[^\r\n][A-Za-z]*")
_KEY = re.compile(r"[A-Za-z0-9_]*")
_ROLE = re.compile(r"[A-Za-z]*")
_BLANK_RUN = re.compile(r"[ \t]*")
_LINE = re.compile(r"[^\r\n]*")


def printable(text: str) -> str:
    """The text without the characters that a Modelfile drops: all that are not printable but line ends and tabs."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char for char in text if char in " \n\r\t" or unicodedata.category(char)[0] in _SHOWN)


def read_value(text: str, at: int) -> tuple[str, int]:
    """The value that begins at `at`, and where it ends. Raises BadModelfile for a quote that is not closed."""
    start = _end_of(_BLANK_RUN, text, at)
    quote = '"""' if text.startswith('"""', start) else '"' if text.startswith('"', start) else ""
    line = start
    while True:
        line_end = _end_of(_LINE, text, line)
        last = line + len(text[line:line_end].rstrip())
        if last - start >= 2 * len(quote) and text.endswith(quote, start, last):
            return text[start + len(quote) : last - len(quote)], line_end
        if line_end == len(text):
            raise BadModelfile("unexpected EOF")
        line = line_end + 1


def _end_of(form: re.Pattern[str], text: str, at: int) -> int:
    found = form.match(text, at)
    return found.end() if found else at


def printed(one: Instruction) -> str:
    """The instruction as a line, or as lines when its value has some.

    What no Modelfile can hold exactly, such as a value with a closing quote at the end of a line, is changed so that
    it can, and a comment before it says so. Whatever it holds, it never reads as another instruction.
    """
    if one.key and not (_KEY.fullmatch(one.key) if one.name == "parameter" else one.key in ROLES):
        return f"# A {one.name} is left out: its name cannot stand in a Modelfile."
    head = f"{one.name.upper()} {one.key} " if one.key else f"{one.name.upper()} "
    exact = _quoted(one.value)
    if exact is not None:
        return head + exact
    near = _quoted(printable(one.value).replace('"""', "'''"))
    return f"# The next value is not exact: it holds what a Modelfile cannot.\n{head}{near}"


def _quoted(value: str) -> str | None:
    """The value in the quotes it needs, or `None` when no quotes make it read back as it is."""
    single, triple = f'"{value}"', f'"""{value}"""'
    quoted = (triple, single) if '"' in value else (single, triple)
    forms = (*quoted, value) if not value or "\n" in value or value != value.strip(" ") else (value, *quoted)
    return next((form for form in forms if _reads_back(form, value)), None)


def _reads_back(form: str, value: str) -> bool:
    try:
        return read_value(printable(f"{form}\n"), 0) == (value, len(form))
    except BadModelfile:
        return False


def parameter_lines(parameters: Mapping[str, Any]) -> Iterator[Instruction]:
    """PARAMETER instructions of a params layer: one for each value, sorted by name."""
    for name, value in sorted(parameters.items()):
        for each in value if isinstance(value, list | tuple) else (value,):
            yield Instruction("parameter", shown(each), name)


def shown(value: object) -> str:
    """A parameter's value as a Modelfile shows it: numbers and truths as Go prints them, other things as they are."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return go_number(value) if isinstance(value, int | float) else str(value)
