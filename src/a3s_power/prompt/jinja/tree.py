"""A template's tree, before it is compiled: checked against what is harmless, and questions to the budget put in."""

import re
from collections.abc import Iterator
from typing import Any, Final, cast

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from jinja2.parser import Parser
from jinja2.visitor import NodeTransformer

from a3s_power.core.errors import BadTemplate
from a3s_power.prompt.jinja.budget import NOT_ALLOWED
from a3s_power.prompt.jinja.filters import FORBIDDEN

TOO_LONG: Final = "template is too long"
PIECE: Final = 8
"""Bytes of a place in the list of pieces that an output becomes."""
_MOST_TOKENS: Final = 20_000
"""Several times the longest published template; compiling so many takes less than a second."""
_OUTWARD: Final = frozenset({"include", "import", "from", "extends", "block", "autoescape"})
_INTERNAL_NAME = re.compile(r"\s*__\w+__\s*")

_ALLOWED: Final = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name, nodes.NSRef, nodes.Tuple, nodes.List),
    *(nodes.Dict, nodes.Pair, nodes.Keyword, nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Call, nodes.Getitem),
    *(nodes.Getattr, nodes.Slice, nodes.Concat, nodes.Compare, nodes.Operand, nodes.BinExpr, nodes.UnaryExpr),
    *(nodes.For, nodes.If, nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.With, nodes.Assign),
    *(nodes.AssignBlock, nodes.Break, nodes.Continue, nodes.Scope),
)


class Generation(Extension):
    """`{% generation %}`: marks what a model said, for training. Nothing changes by it."""

    tags = {"generation"}  # noqa: RUF012 -- as Extension declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class Watch(Extension):
    """Counts tokens, and refuses tags that reach out before they are parsed."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        before = ""
        for count, token in enumerate(stream):
            if count > _MOST_TOKENS:
                raise BadTemplate(TOO_LONG)
            if before == "block_begin" and token.value in _OUTWARD:
                raise BadTemplate(NOT_ALLOWED)
            before = token.type
            yield token


class Rewriter(NodeTransformer):
    """Puts a question to the budget wherever something repeats or is put together.

    `names` are the variables that were read so far. Raises BadTemplate for what a template may not hold.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- as NodeTransformer
        self._check(node)
        return _asking(self.generic_visit(node, *args, **kwargs))

    def _check(self, node: nodes.Node) -> None:
        match node:
            case nodes.Const(value=str(text)) if _INTERNAL_NAME.fullmatch(text):
                raise BadTemplate(NOT_ALLOWED)
            case nodes.Getattr(attr=name) if name.startswith("__"):
                raise BadTemplate(NOT_ALLOWED)
            case nodes.Name(name=name) if name == "self" or name.startswith("__"):
                raise BadTemplate(NOT_ALLOWED)
            case nodes.Filter(name=name) if name in FORBIDDEN:
                raise BadTemplate(NOT_ALLOWED)
            case nodes.Name(ctx="load"):
                self.names.add(node.name)
            case _ if not isinstance(node, _ALLOWED):
                raise BadTemplate(NOT_ALLOWED)


def _asking(node: nodes.Node) -> nodes.Node:
    """The node, whose children have been seen to, with its question."""
    match node:
        case nodes.For():
            pieces = 1 + sum(len(output.nodes) for output in node.find_all(nodes.Output))
            step = _through(nodes.Const(PIECE * pieces, lineno=node.lineno), " step")
            node.body.insert(0, nodes.ExprStmt(step, lineno=node.lineno))
            node.iter = _through(cast("nodes.Expr", node.iter), " value")
        case nodes.Concat():
            return _through(nodes.List(node.nodes, lineno=node.lineno), " concat")
        case nodes.Tuple(ctx="store"):
            return node
        case nodes.List() | nodes.Tuple() if not all(isinstance(item, nodes.Const) for item in node.items):
            return _through(node, " keep")
        case nodes.Dict() | nodes.Getitem(arg=nodes.Slice()):
            return _through(node, " keep")
        case nodes.Pair() if not isinstance(node.key, nodes.Const):
            node.key = _through(node.key, " key")
        case nodes.Compare() if any(operand.op in ("in", "notin") for operand in node.ops):
            node.expr = _through(node.expr, " key")
        case nodes.Compare() if not any(isinstance(part, nodes.Const) for part in (node.expr, node.ops[0].expr)):
            node.expr = _through(node.expr, " value")
    return node


def _through(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
