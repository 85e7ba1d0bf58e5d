"""The tree of a parsed template."""

from collections.abc import Iterator
from typing import ClassVar

import msgspec


class Node(msgspec.Struct, frozen=True):
    """Something of a template; `line` is where it stands, counted from 1."""

    line: int


class Text(Node, frozen=True):
    """Text between actions, as it comes out."""

    text: str


class Literal(Node, frozen=True):
    """A string, number, boolean or nil as it stands in the template; `source` is how it was written."""

    value: str | int | float | bool | None
    source: str


class Dot(Node, frozen=True):
    """The value at hand."""


class Function(Node, frozen=True):
    """A function, by its name."""

    name: str


class Field(Node, frozen=True):
    """`.A.B`: fields of the value at hand."""

    names: tuple[str, ...]


class Variable(Node, frozen=True):
    """`$x.A.B`: a variable, and fields of it. `$` alone has an empty name."""

    name: str
    names: tuple[str, ...] = ()


class Chain(Node, frozen=True):
    """`(pipeline).A.B`: fields of a pipeline's value."""

    inner: "Pipeline"
    names: tuple[str, ...]


class Pipeline(Node, frozen=True):
    """`a | b`: commands, each the last argument of the next; perhaps declaring or setting variables."""

    commands: tuple["Command", ...]
    variables: tuple[str, ...] = ()
    assigns: bool = False


Operand = Literal | Dot | Function | Field | Variable | Chain | Pipeline


class Command(Node, frozen=True):
    """A function or value, and its arguments."""

    operands: tuple[Operand, ...]


class Action(Node, frozen=True):
    """A pipeline whose value is printed, unless it sets a variable."""

    pipeline: Pipeline


class Branch(Node, frozen=True):
    """What `if`, `with` and `range` share."""

    word: ClassVar[str] = ""
    pipeline: Pipeline
    body: "Body"
    otherwise: "Body"


class If(Branch, frozen=True):
    """The body when the value is true."""

    word = "if"


class With(Branch, frozen=True):
    """The same, with the value at hand inside."""

    word = "with"


class Range(Branch, frozen=True):
    """The body for each element."""

    word = "range"


class Break(Node, frozen=True):
    """Leaves the innermost range."""


class Continue(Node, frozen=True):
    """Goes on with its next element."""


class Call(Node, frozen=True):
    """Another template, with a value at hand."""

    name: str
    pipeline: Pipeline | None


Statement = Text | Action | If | With | Range | Break | Continue | Call
Body = tuple[Statement, ...]


class Template(msgspec.Struct, frozen=True):
    """A parsed text: its body, and the templates it defines."""

    body: Body
    defines: dict[str, Body]


def variables(template: Template) -> frozenset[str]:
    """Every identifier in fields and variables, in lower case, over the text and all that it defines."""
    bodies = (template.body, *template.defines.values())
    return frozenset(name.lower() for body in bodies for statement in body for name in names_of(statement))


def names_of(node: Node | None) -> Iterator[str]:
    """The identifiers below a node, in the order in which they stand."""
    match node:
        case Field(names=names):
            yield from names
        case Variable(name=name, names=names):
            yield from (name, *names) if name else names
        case Chain(inner=inner, names=names):
            yield from names_of(inner)
            yield from names
        case Pipeline(commands=commands):
            for command in commands:
                for operand in command.operands:
                    yield from names_of(operand)
        case Action(pipeline=pipeline) | Call(pipeline=pipeline):
            yield from names_of(pipeline)
        case Branch(pipeline=pipeline, body=body, otherwise=otherwise):
            yield from names_of(pipeline)
            for statement in (*body, *otherwise):
                yield from names_of(statement)
