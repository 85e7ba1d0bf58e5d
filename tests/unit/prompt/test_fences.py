"""Fences: around what users and tools write where it holds control tokens, and nowhere else."""

from collections.abc import Callable
from typing import Final

import pytest

from a3s_power.core.messages import Message
from a3s_power.prompt.fences import Fences
from a3s_power.prompt.render import Prompter

FENCES: Final = Fences("secret")
TRIMMING: Final = "{% for m in messages %}[{{ m.content | trim }}]{% endfor %}"


def holds(text: str) -> bool:
    return "<|end|>" in text


@pytest.mark.parametrize("role", ["user", "tool"])
def test_a_text_with_control_tokens_is_kept_apart(role: str) -> None:
    said = " a <|end|> b\n"
    prompt = Prompter(TRIMMING).render(FENCES.put([Message(role=role, content=said)], holds)).text
    assert FENCES.split(prompt) == ["[", "a <|end|> b", "]"]


@pytest.mark.parametrize(
    "message",
    [
        Message(role="user", content="<div> and [x]"),
        Message(role="system", content="<|end|>"),
        Message(role="assistant", content="<|end|>"),
    ],
)
def test_other_texts_are_left_alone(message: Message) -> None:
    messages = [message]
    assert FENCES.put(messages, holds) is messages


def test_texts_that_look_like_no_token_are_not_even_asked_about() -> None:
    def never(text: str) -> bool:
        raise AssertionError(text)

    messages = [Message(role="user", content="2 < 3 and a[0 ] > b")]
    assert FENCES.put(messages, never) is messages


@pytest.mark.parametrize("cut", [lambda text: text[:20], lambda text: text[-20:]])
def test_a_template_that_takes_texts_apart_gets_none(cut: Callable[[str], str]) -> None:
    (message,) = FENCES.put([Message(role="user", content="<|end|>")], holds)
    assert FENCES.split(cut(message.content)) == []
