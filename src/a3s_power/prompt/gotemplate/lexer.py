"""Template text → tokens, with the trimming of `{{-` and `-}}` done."""

import re
from collections.abc import Generator, Iterator
from typing import NamedTuple

from a3s_power.core.errors import BadTemplate

_SPACES = " \t\r\n"
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<string>"(?:\\.|[^"\\\n])*")
    |(?P<raw>`[^`]*`)
    |(?P<char>'(?:\\(?:[0-7]{3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)|[^'\\\n])')
    |(?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?))(?![A-Za-z0-9_])
    |(?P<field>\.[^\W\d]\w*)
    |(?P<variable>\$\w*)
    |(?P<word>[^\W\d]\w*)
    |(?P<declare>:=)
    |(?P<sign>[=|(),.])""",
    re.VERBOSE,
)
_CLOSING = re.compile(r"(?:[ \t\r\n]+-)?\}\}")
_NAMED = {
    ":": "expected :=",
    '"': "unterminated quoted string",
    "`": "unterminated raw quoted string",
    "'": "unterminated character constant",
}


class Token(NamedTuple):
    """A piece of the template: `text` (outside actions), `end` (of an action), or what its name says inside one."""

    kind: str
    text: str
    line: int


def error(line: int, complaint: str) -> BadTemplate:
    """A template that cannot be parsed, in Go's form."""
    return BadTemplate(f"template: :{line}: {complaint}")


def tokens(source: str) -> Iterator[Token]:
    """The tokens of a template. Raises BadTemplate, and nothing else."""
    at, line, trim = 0, 1, False
    while True:
        start = source.find("{{", at)
        text = source[at:] if start < 0 else source[at:start]
        opening = start >= 0 and source.startswith("{{-", start) and source[start + 3 : start + 4] in tuple(_SPACES)
        shown = text.lstrip(_SPACES) if trim else text
        shown = shown.rstrip(_SPACES) if opening else shown
        if shown:
            yield Token("text", shown, line)
        line += text.count("\n")
        if start < 0:
            return
        inside = start + (3 if opening else 2)
        comment = _comment(source, inside, line)
        end = comment if comment is not None else (yield from _action(source, inside, line))
        line += source.count("\n", start, end)
        trim = source.startswith("-}}", end - 3) and source[end - 4] in _SPACES
        at = end


def _comment(source: str, inside: int, line: int) -> int | None:
    """Where a comment's action ends; `None` when there is no comment."""
    at = inside + 1 if source[inside - 1] == "-" else inside
    if not source.startswith("/*", at):
        return None
    close = source.find("*/", at)
    if close < 0:
        raise error(line, "unclosed comment")
    ending = _CLOSING.match(source, close + 2)
    if ending is None:
        raise error(line, "comment ends before closing delimiter")
    return ending.end()


def _action(source: str, at: int, line: int) -> Generator[Token, None, int]:
    """The tokens of one action; its generator's value is where it ends."""
    depth = 0
    while True:
        closing = _CLOSING.match(source, at)
        if closing is not None:
            if depth:
                raise error(line, "unclosed left paren")
            yield Token("end", "", line)
            return closing.end()
        token = _TOKEN.match(source, at)
        if token is None:
            raise error(line, _complaint(source, at))
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth < 0:
            raise error(line, "unexpected right paren")
        yield Token(token.lastgroup or "", token[0], line)
        line += token[0].count("\n")
        at = token.end()


def _complaint(source: str, at: int) -> str:
    if at >= len(source):
        return "unclosed action"
    character = source[at]
    if character in "0123456789+-":
        number = re.compile(r"[+-]?\w*").match(source, at)
        return f'bad number syntax: "{number[0] if number else character}"'
    if character == "/":
        return 'unexpected "/" in operand'
    return _NAMED.get(character, f"unexpected bad character U+{ord(character):04X} '{character}' in command")
