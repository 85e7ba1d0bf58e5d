"""Where images stand in a prompt: marks are put into the messages, rendered with them, and found again in the text."""

import re
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from a3s_power.core.errors import BadTemplate
from a3s_power.core.messages import Message

Style = Literal["tags", "raw", "renderer", "parts"]
"""How a message's images get to their places.

`tags`: each takes the first `[img]` of the text; those left over go in front of it (Ollama's Go templates). `raw`: the
same, after the text's own `[img-N]` have got theirs. `renderer`: as `raw`, but a blank parts those in front from the
text (Ollama's built-in renderers). `parts`: all stand behind the text, as in a message of parts that begins with it.
"""

_TAG: Final = "[img]"
_NUMBERED: Final = "[img-"


class Marks:
    """Marks of one conversation's images. `secret` keeps them apart from whatever a user may write: letters, digits."""

    def __init__(self, secret: str) -> None:
        self._begin = f"IMG{secret}N"
        self._found = re.compile(rf"{self._begin}(\d+)E")

    def put(self, messages: Sequence[Message], style: Style) -> list[Message]:
        """The messages with a mark in their texts for each image, numbered from 0 over all of them."""
        marked, first = list[Message](), 0
        for message in messages:
            numbers = range(first, first + len(message.images))
            first = numbers.stop
            content = self._placed(message.content, numbers, style) if numbers else message.content
            marked.append(msgspec.structs.replace(message, content=content))
        return marked

    def _placed(self, text: str, numbers: range, style: Style) -> str:
        left = list(numbers)
        if style == "parts":
            return text + self._row(left)
        if style != "tags" and _NUMBERED in text:
            for number in numbers:
                if f"{_NUMBERED}{number}]" in text:
                    text = text.replace(f"{_NUMBERED}{number}]", self._mark(number), 1)
                    left.remove(number)
        while left and _TAG in text:
            text = text.replace(_TAG, self._mark(left.pop(0)), 1)
        blank = " " if style == "renderer" and left and text and not text[0].isspace() else ""
        return self._row(left) + blank + text

    def _row(self, numbers: Sequence[int]) -> str:
        return "".join(map(self._mark, numbers))

    def _mark(self, number: int) -> str:
        return f"{self._begin}{number}E"

    def find(self, text: str, count: int) -> tuple[list[str], list[int]]:
        """The pieces of a rendered text around the marks, and the number of the image between each two of them.

        Raises:
            BadTemplate: one of the `count` images is nowhere in it.
        """
        pieces = self._found.split(text)
        order = [int(number) for number in pieces[1::2]]
        lost = set(range(count)).difference(order)
        if lost:
            raise BadTemplate(f"the model's template leaves out image {min(lost) + 1} of {count}")
        return pieces[::2], order


def shown(pieces: Sequence[str], order: Sequence[int]) -> str:
    """The prompt as people read it, with `[img-N]` for each image."""
    tags = [f"{_NUMBERED}{number}]" for number in order]
    return "".join(piece + tag for piece, tag in zip(pieces, [*tags, ""], strict=True))
