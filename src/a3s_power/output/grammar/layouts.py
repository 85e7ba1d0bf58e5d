"""How the answers of families are laid out: where thinking stands in them, and what is around the rest."""

from typing import Final

from a3s_power.core.errors import BadRequest
from a3s_power.output.grammar.answer import Layout

_HARMONY_MARKS: Final = ("<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|call|>", "<|return|>")
_HARMONY: Final = Layout(
    thinking=("<|channel|>analysis<|message|>", "<|end|>"),
    joint="<|start|>assistant",
    before="<|channel|>final<|message|>",
    without=_HARMONY_MARKS,
)
_COHERE_TEXT: Final = ("<|START_TEXT|>", "<|END_TEXT|>")


def layout(parser: str, thinking: tuple[str, str] | None, *, opened: bool, begun: str, thinks: bool) -> Layout:
    """The layout of an answer.

    `parser`, `thinking`, `opened` and `begun` are as in a prompt; `thinks` is false when the client wants none.

    Raises:
        BadRequest: the family's answers cannot be forced into a form yet.
    """
    match parser:
        case "glimmer":
            raise BadRequest("this model's answers have a form of their own, on which nothing can be enforced yet")
        case "harmony":
            return _channels(begun, thinks=thinks)
    before, after = _COHERE_TEXT if parser == "cohere" else ("", "")
    may_think = thinking if opened or thinks else None
    return Layout(thinking=may_think, opened=opened, before=before, after=after)


def _channels(begun: str, *, thinks: bool) -> Layout:
    """Harmony's, which goes on in the message that the prompt has begun."""
    if "<|channel|>final" in begun:
        return Layout()
    if "<|channel|>analysis" in begun:
        return Layout(
            thinking=_HARMONY.thinking,
            opened=True,
            joint=_HARMONY.joint,
            before=_HARMONY.before,
            without=_HARMONY_MARKS,
        )
    return _HARMONY if thinks else Layout(before=_HARMONY.before)
