"""What a user or a tool writes stays text: fences around it are rendered with it, and found again in the prompt.

Between them the text of a control token is no control token, so that nobody can end his turn and begin another's.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from a3s_power.core.messages import Message

_ROLES: Final = frozenset({"user", "tool"})
_LIKE_A_TOKEN: Final = re.compile(r"<[^<>\s]{1,80}>|\[[^\[\]\s]{1,80}\]|〈")
"""What control tokens look like; most texts hold nothing of the kind, and need not be tokenised to know it."""


class Fences:
    """Fences of one model's prompts. `secret` keeps them apart from whatever a user may write: letters, digits."""

    def __init__(self, secret: str) -> None:
        self._begin = f"FROM{secret}H"
        self._end = f"TILL{secret}H"
        self._found = re.compile(f"{self._begin}(.*?){self._end}", re.DOTALL)

    def put(self, messages: Sequence[Message], holds_control: Callable[[str], bool]) -> Sequence[Message]:
        """The messages, those fenced whose text `holds_control` tokens; the very same where there are none."""
        fenced = [
            self._fenced(message)
            if message.role in _ROLES and _LIKE_A_TOKEN.search(message.content) and holds_control(message.content)
            else message
            for message in messages
        ]
        return fenced if any(new is not old for new, old in zip(fenced, messages, strict=True)) else messages

    def _fenced(self, message: Message) -> Message:
        """Blanks at the ends stay outside: many templates take them away."""
        text = message.content
        core = text.strip()
        begin = text.index(core)
        whole = f"{text[:begin]}{self._begin}{core}{self._end}{text[begin + len(core) :]}"
        return msgspec.structs.replace(message, content=whole)

    def split(self, text: str) -> list[str]:
        """A rendered text without its fences: in turns what the template says and what stood inside a fence.

        Empty for a template that takes texts apart, fences and all.
        """
        pieces = self._found.split(text)
        broken = any(fence in piece for piece in pieces for fence in (self._begin, self._end))
        return [] if broken else pieces
