"""ThinkingParser: what stands between the model's thinking tags, told apart from the answer."""

from collections.abc import Callable


class ThinkingParser:
    """Fed text in pieces of any size; what comes out, put together, is the same for every cutting.

    Thinking must come first: an answer that begins with anything but blanks and the opening tag is all answer. Blanks
    after either tag are swallowed. `opened` says that the prompt ended inside the tags.
    """

    def __init__(self, opening: str, closing: str, *, opened: bool = False) -> None:
        self._opening = opening
        self._closing = closing
        self._blanks: list[str] = []
        self._held = ""
        self._state: Callable[[str], tuple[str, str]] = self._swallow_before if opened else self._look
        self.done = False

    def feed(self, text: str) -> tuple[str, str]:
        """The thinking and the answer that this piece makes sure of."""
        return self._state(text)

    def close(self) -> tuple[str, str]:
        """What was held back at the end: the beginning of a tag that never came, or blanks."""
        held, self._held = self._held, ""
        if self._state == self._look:
            return "", "".join((*self._blanks, held))
        return held, ""

    def _look(self, text: str) -> tuple[str, str]:
        rest = self._held + text
        if not self._held:
            rest = text.lstrip()
            self._blanks.append(text[: len(text) - len(rest)])
        if rest.startswith(self._opening):
            self._held, self._state = "", self._swallow_before
            return self._swallow_before(rest[len(self._opening) :])
        if self._opening.startswith(rest):
            self._held = rest
            return "", ""
        self._held = ""
        return "", self._answer("".join((*self._blanks, rest)))

    def _swallow_before(self, text: str) -> tuple[str, str]:
        rest = text.lstrip()
        if not rest:
            return "", ""
        self._state = self._think
        return self._think(rest)

    def _think(self, text: str) -> tuple[str, str]:
        text = self._held + text
        thinking, closing, rest = text.partition(self._closing)
        if closing:
            self._held, self._state = "", self._swallow_after
            return thinking, self._swallow_after(rest)[1]
        sure = len(text) - overlap(text, self._closing)
        self._held = text[sure:]
        return text[:sure], ""

    def _swallow_after(self, text: str) -> tuple[str, str]:
        rest = text.lstrip()
        return "", self._answer(rest) if rest else ""

    def _answer(self, text: str) -> str:
        self.done = True
        self._state = _all_answer
        return text


def _all_answer(text: str) -> tuple[str, str]:
    return "", text


def overlap(text: str, tag: str) -> int:
    """How many of the last characters of `text` may be the beginning of `tag`."""
    at = text.find(tag[0], max(0, len(text) - len(tag) + 1))
    while at >= 0:
        if tag.startswith(text[at:]):
            return len(text) - at
        at = text.find(tag[0], at + 1)
    return 0
