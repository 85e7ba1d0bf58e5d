"""The marks by which a model's output is read, found in its template: around thinking, and before tool calls."""

import re
from collections.abc import Iterator
from typing import Final

from a3s_power.prompt.gotemplate import nodes

THINK: Final = ("<think>", "</think>")
THINKING: Final = (
    THINK,
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
)
"""The tags between which published models think."""

CALLS: Final = (
    *("<tool_call>", "[TOOL_CALLS]", "<｜tool▁calls▁begin｜>", "<|tool_calls_section_begin|>", "<|tool_call|>"),
    *("<|START_ACTION|>", "<tool_calls>", "<TOOLCALL>", "<function_call>", "<functioncall>", "Action: ```json"),
)
"""What announces tool calls in published templates."""
BARE_CALL: Final = "{"
"""The mark of models that announce a call by nothing but its JSON."""

_SPLIT_AT_THINKING = re.compile(r"""content\.split\(['"]</think>['"]\)""")
_TOKEN = re.compile(r"<[^<>]+>|\[[^\[\]]+\]")

Tags = tuple[str, str]


def thinking_of_jinja(chat_template: str) -> Tags | None:
    """The tags of a Jinja template whose model thinks, by Ollama's rule and by the table above."""
    for opening, closing in THINKING:
        if opening in chat_template and closing in chat_template:
            return opening, closing
    known = "reasoning_content" in chat_template or "<SPECIAL_12>" in chat_template
    return THINK if not known and _SPLIT_AT_THINKING.search(chat_template) else None


def calls_of_jinja(chat_template: str) -> str:
    """What announces a call for the model of a Jinja template."""
    return next((tag for tag in CALLS if tag in chat_template), BARE_CALL)


def thinking_of_go(template: nodes.Template) -> Tags | None:
    """The texts around the last `.Thinking` that stands in a range over `.Messages`, if there are both."""
    match [(), *_around_thinking(template.body, in_messages=False)][-1]:
        case [nodes.Text(text=opening), *_, nodes.Text(text=closing)] if opening.strip() and closing.strip():
            return opening.strip(), closing.strip()
    return None


def _around_thinking(body: nodes.Body, *, in_messages: bool) -> Iterator[nodes.Body]:
    """The statements among which `.Thinking` is read, in the order of the text."""
    for statement in body:
        match statement:
            case nodes.Action(pipeline=pipeline) | nodes.Branch(pipeline=pipeline):
                if in_messages and any(field[0] == "Thinking" for field in _fields(pipeline)):
                    yield body
        if isinstance(statement, nodes.Branch):
            inside = in_messages
            if isinstance(statement, nodes.Range):
                inside = any(field[0] == "Messages" for field in _fields(statement.pipeline))
            yield from _around_thinking(statement.body, in_messages=inside)
            yield from _around_thinking(statement.otherwise, in_messages=inside)


def calls_of_go(template: nodes.Template) -> str:
    """What a Go template prints before the first call of a message, up to its JSON."""
    for branch in _branches(template.body):
        if isinstance(branch, nodes.If) and any("ToolCalls" in field for field in _arguments(branch.pipeline)):
            text = _first_text(branch.body).replace("\r\n", "\n")
            return text.partition("{")[0].strip() or BARE_CALL
    return BARE_CALL


def _branches(body: nodes.Body) -> Iterator[nodes.Branch]:
    for statement in body:
        if isinstance(statement, nodes.Branch):
            yield statement
            yield from _branches(statement.body)
            yield from _branches(statement.otherwise)


def _first_text(body: nodes.Body) -> str:
    """The first text that is more than blanks, unless something is printed before it."""
    for statement in body:
        match statement:
            case nodes.Text(text=text) if text.strip():
                return text
            case nodes.Branch(body=inner):
                return _first_text(inner)
            case nodes.Action(pipeline=nodes.Pipeline(variables=())) | nodes.Call():
                return ""
    return ""


def _arguments(pipeline: nodes.Pipeline) -> Iterator[tuple[str, ...]]:
    """The fields that stand in a pipeline by themselves, not in parentheses."""
    for command in pipeline.commands:
        for operand in command.operands:
            if isinstance(operand, nodes.Field):
                yield operand.names


def _fields(pipeline: nodes.Pipeline) -> Iterator[tuple[str, ...]]:
    """The fields of the value at hand, in parentheses too."""
    for command in pipeline.commands:
        for operand in command.operands:
            match operand:
                case nodes.Field(names=names):
                    yield names
                case nodes.Pipeline() | nodes.Chain(inner=nodes.Pipeline()):
                    yield from _fields(operand.inner if isinstance(operand, nodes.Chain) else operand)


def visible(*tags: str) -> tuple[str, ...]:
    """The special tokens in these tags: of `[TOOL_CALLS][` the first part, of a bare bracket nothing.

    Where `</x>` closes `<x>`, that one is among them.
    """
    tokens = [token[0] for tag in tags if (token := _TOKEN.match(tag))]
    closing = [f"</{token[1:]}" for token in tokens if re.match(r"<\w", token)]
    return tuple(dict.fromkeys((*tokens, *closing)))
