"""Tokens → tree, by recursive descent; the grammar is that of Go's text/template."""

import re
from collections.abc import Iterator
from typing import Final

from a3s_power.core import limits
from a3s_power.core.errors import BadTemplate
from a3s_power.prompt.gotemplate import nodes
from a3s_power.prompt.gotemplate.functions import FUNCTIONS
from a3s_power.prompt.gotemplate.lexer import Token, error, tokens

_END: Final = Token("end", "", 0)
_DEEPEST: Final = 100
_KEYWORDS: Final = frozenset({"block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"})
_ESCAPE: Final = re.compile(r"\\([abfnrtv\\'\"]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3})")
_SIMPLE: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
}
_CONSTANTS: Final[dict[str, bool | None]] = {"true": True, "false": False, "nil": None}


def parse(source: str) -> nodes.Template:
    """The tree of a template. Raises BadTemplate, in Go's words, and nothing else."""
    if len(source) > limits.TEMPLATE_BYTES:
        raise BadTemplate(f"template is longer than {limits.TEMPLATE_BYTES} characters")
    return _Parser(list(tokens(source))).template()


class _Parser:
    """Reads the tokens once, from left to right."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._at = 0
        self._line = 1
        self._scopes: list[list[str]] = [[""]]
        self._ranges = 0
        self._depth = 0
        self._defines: dict[str, nodes.Body] = {}

    def template(self) -> nodes.Template:
        body, ending = self._body()
        if ending:
            raise self._error(f"unexpected {{{{{ending}}}}}")
        return nodes.Template(body, self._defines)

    # Statements

    def _body(self) -> tuple[nodes.Body, str]:
        """Statements up to the text's end, or up to the `else` or `end` that is returned; its word is taken."""
        found: list[nodes.Statement] = []
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error("max nesting depth exceeded")
        while (token := self._take()) is not None:
            if token.kind == "text":
                found.append(nodes.Text(token.line, token.text))
                continue
            self._at -= 1
            word = self._peek()
            if word.kind == "word" and word.text in ("else", "end"):
                self._take_solid()
                self._depth -= 1
                return tuple(found), word.text
            found.extend(self._statement(word))
        self._depth -= 1
        return tuple(found), ""

    def _statement(self, first: Token) -> Iterator[nodes.Statement]:
        if first.kind != "word" or first.text not in _KEYWORDS:
            yield nodes.Action(first.line, self._pipeline("command"))
            return
        self._take_solid()
        match first.text:
            case "if":
                yield nodes.If(first.line, *self._branch("if"))
            case "with":
                yield nodes.With(first.line, *self._branch("with"))
            case "range":
                yield nodes.Range(first.line, *self._branch("range"))
            case "break" | "continue":
                yield self._jump(first)
            case "define":
                self._define()
            case "template":
                yield self._call(first)
            case _:
                yield self._block(first)

    def _branch(self, word: str) -> tuple[nodes.Pipeline, nodes.Body, nodes.Body]:
        self._scopes.append([])
        pipeline = self._pipeline(word)
        self._ranges += word == "range"
        body, ending = self._scoped_body()
        self._ranges -= word == "range"
        otherwise: nodes.Body = ()
        if ending == "else":
            otherwise = self._else(word)
        else:
            self._close(ending)
        self._scopes.pop()
        return pipeline, body, otherwise

    def _else(self, word: str) -> nodes.Body:
        """`{{else}}`, or `{{else if}}` and `{{else with}}`, which share the outer `end`."""
        following = self._peek()
        if following.kind == "word" and following.text == word and word in ("if", "with"):
            self._take_solid()
            kind = nodes.If if word == "if" else nodes.With
            return (kind(following.line, *self._branch(word)),)
        self._expect_end("else")
        body, ending = self._scoped_body()
        if ending == "else":
            raise self._error("expected end; found {{else}}")
        self._close(ending)
        return body

    def _scoped_body(self) -> tuple[nodes.Body, str]:
        self._scopes.append([])
        found = self._body()
        self._scopes.pop()
        return found

    def _close(self, ending: str) -> None:
        if ending != "end":
            raise self._error("unexpected EOF")
        self._expect_end("end")

    def _jump(self, word: Token) -> nodes.Statement:
        self._expect_end(word.text)
        if not self._ranges:
            raise self._error(f"{{{{{word.text}}}}} outside {{{{range}}}}")
        return nodes.Break(word.line) if word.text == "break" else nodes.Continue(word.line)

    def _define(self) -> None:
        name = self._name("define clause")
        self._expect_end("define clause")
        self._defines[name] = self._outside()

    def _outside(self) -> nodes.Body:
        """The body of a template of its own: no variable of the surroundings is seen in it."""
        scopes, ranges = self._scopes, self._ranges
        self._scopes, self._ranges = [[""]], 0
        body, ending = self._body()
        self._scopes, self._ranges = scopes, ranges
        if ending == "else":
            raise self._error("unexpected {{else}}")
        self._close(ending)
        return body

    def _call(self, word: Token) -> nodes.Statement:
        name = self._name("template clause")
        if self._peek().kind == "end":
            self._take_solid()
            raise error(word.line, f"undefined template specified: {name} is called without a pipeline")
        return nodes.Call(word.line, name, self._pipeline("template clause"))

    def _block(self, word: Token) -> nodes.Statement:
        name = self._name("block clause")
        pipeline = self._pipeline("block clause")
        self._defines[name] = self._outside()
        return nodes.Call(word.line, name, pipeline)

    def _name(self, context: str) -> str:
        token = self._take_solid()
        if token.kind not in ("string", "raw"):
            raise self._error(f"unexpected {_shown(token)} in {context}")
        return str(_literal(token))

    # Pipelines

    def _pipeline(self, context: str, closing: str = "end") -> nodes.Pipeline:
        line = self._peek().line
        names, assigns = self._declaration(context)
        commands: list[nodes.Command] = []
        while True:
            token = self._peek()
            if token.kind == closing or (closing == "sign" and token.text == ")"):
                self._take_solid()
                break
            commands.append(self._command(context))
        if not commands:
            raise self._error(f"missing value for {context}")
        for later in commands[1:]:
            if isinstance(later.operands[0], nodes.Literal | nodes.Dot):
                raise self._error(f"non executable command in pipeline stage {commands.index(later) + 1}")
        if assigns:
            for name in names:
                self._known(name)
        else:
            self._scopes[-1].extend(names)
        return nodes.Pipeline(line, tuple(commands), tuple(names), assigns)

    def _declaration(self, context: str) -> tuple[list[str], bool]:
        """`$x :=`, `$i, $x :=` and `$x =` at the start of a pipeline; nothing is taken where there is none."""
        start = self._at
        names: list[str] = []
        while (token := self._peek()).kind == "variable":
            self._take_solid()
            names.append(token.text[1:])
            following = self._peek()
            if following.kind == "declare" or following.text == "=":
                self._take_solid()
                if len(names) > (2 if context == "range" else 1):
                    raise self._error(f"too many declarations in {context}")
                return names, following.text == "="
            if following.text != "," or context != "range":
                break
            self._take_solid()
        self._at = start
        return [], False

    def _command(self, context: str) -> nodes.Command:
        line = self._peek().line
        operands: list[nodes.Operand] = []
        while True:
            token = self._peek()
            if token.kind == "end" or token.text == ")":
                break
            if token.text == "|":
                self._take_solid()
                if self._peek().kind == "end":
                    raise self._error(f"missing value for {context}")
                break
            operands.append(self._operand())
        if not operands:
            raise self._error("empty command")
        if isinstance(operands[0], nodes.Literal) and operands[0].source == "nil":
            raise self._error("nil is not a command")
        return nodes.Command(line, tuple(operands))

    def _operand(self) -> nodes.Operand:
        token = self._take_solid()
        operand = self._term(token)
        names = self._fields()
        if not names:
            return operand
        match operand:
            case nodes.Field(names=first):
                return nodes.Field(token.line, (*first, *names))
            case nodes.Variable(name=name):
                return nodes.Variable(token.line, name, names)
            case nodes.Pipeline():
                return nodes.Chain(token.line, operand, names)
            case _:
                raise self._error(f"unexpected . after term {_shown(token)}")

    def _term(self, token: Token) -> nodes.Operand:
        match token.kind:
            case "string" | "raw" | "char" | "number":
                return nodes.Literal(token.line, _literal(token), token.text)
            case "field":
                return nodes.Field(token.line, (token.text[1:],))
            case "variable":
                return self._variable(token)
            case "word":
                return self._word(token)
        if token.text == ".":
            return nodes.Dot(token.line)
        if token.text == "(":
            return self._parenthesised()
        raise self._error(f"unexpected {_shown(token)} in operand")

    def _parenthesised(self) -> nodes.Pipeline:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error("max nesting depth exceeded")
        inner = self._pipeline("parenthesized pipeline", "sign")
        self._depth -= 1
        return inner

    def _word(self, token: Token) -> nodes.Operand:
        if token.text in _CONSTANTS:
            return nodes.Literal(token.line, _CONSTANTS[token.text], token.text)
        if token.text in _KEYWORDS:
            raise self._error(f"unexpected <{token.text}> in operand")
        if token.text not in FUNCTIONS:
            raise self._error(f'function "{token.text}" not defined')
        return nodes.Function(token.line, token.text)

    def _variable(self, token: Token) -> nodes.Variable:
        return nodes.Variable(token.line, self._known(token.text[1:]))

    def _known(self, name: str) -> str:
        if not any(name in scope for scope in self._scopes):
            raise self._error(f'undefined variable "${name}"')
        return name

    def _fields(self) -> tuple[str, ...]:
        """Field names that follow without a blank."""
        names: list[str] = []
        while self._at < len(self._tokens) and self._tokens[self._at].kind == "field":
            names.append(self._tokens[self._at].text[1:])
            self._at += 1
        return tuple(names)

    # Tokens

    def _take(self) -> Token | None:
        """The next token that is no blank, taken; `None` at the end of the text."""
        token = self._peek()
        if token is _END:
            return None
        self._at += 1
        self._line = token.line
        return token

    def _take_solid(self) -> Token:
        token = self._take()
        if token is None:
            raise self._error("unexpected EOF")
        return token

    def _peek(self) -> Token:
        at = self._at
        while at < len(self._tokens) and self._tokens[at].kind == "space":
            at += 1
        self._at = at
        return self._tokens[at] if at < len(self._tokens) else _END

    def _expect_end(self, context: str) -> None:
        token = self._take_solid()
        if token.kind != "end":
            raise self._error(f"unexpected {_shown(token)} in {context}")

    def _error(self, complaint: str) -> BadTemplate:
        return error(self._line, complaint)


def _shown(token: Token) -> str:
    return f"<{token.text}>" if token.kind == "word" else f'"{token.text}"' if token.kind != "string" else token.text


def _literal(token: Token) -> str | int | float:
    match token.kind:
        case "raw":
            return token.text[1:-1].replace("\r", "")
        case "string":
            return _unquoted(token)
        case "char":
            return ord(_unquoted(token))
    digits = token.text.replace("_", "")
    if re.fullmatch(r"[+-]?[0-9]+", digits):
        return int(digits)
    if re.fullmatch(r"[+-]?0[xXbBoO].*", digits):
        return int(digits, 0)
    return float(digits)


def _unquoted(token: Token) -> str:
    r"""The text of a Go string or character constant; `\\x` and octal escapes are bytes of UTF-8."""
    if "\\" in _ESCAPE.sub("", token.text):
        raise error(token.line, f"bad string syntax: {token.text}")
    content = _ESCAPE.sub(lambda escape: _unescaped(escape[1]), token.text[1:-1])
    return content.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _unescaped(escape: str) -> str:
    """The text of what follows a backslash; a byte from 0x80 stands as a lone surrogate until all are put together."""
    if escape in _SIMPLE:
        return _SIMPLE[escape]
    if escape[0] in "uU":
        code = int(escape[1:], 16)
        return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
    byte = int(escape[1:], 16) if escape[0] == "x" else int(escape, 8) & 0xFF
    return chr(byte) if byte < 0x80 else chr(0xDC00 + byte)
