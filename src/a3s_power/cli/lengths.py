"""Prompts of an exact length in a model's own tokens, no two of which begin alike."""

import random
from collections.abc import Callable
from typing import Final

_TEXT: Final = (
    "the river carries old boats past houses where people sing and children count stars above a quiet harbour while "
    "winter light falls slowly on stone walls green fields long roads small gardens open windows and warm bread"
)
_FILLERS: Final = (" a", ".", "!", " I", "1")
_TRIES: Final = 40


class Prompts:
    """Makes texts by chance, the same ones for the same seed. `count` says how many tokens a text is as a prompt."""

    def __init__(self, count: Callable[[str], int], seed: int = 1) -> None:
        self._count = count
        self._random = random.Random(seed)  # noqa: S311 -- words, not secrets
        self._words = _TEXT.split()
        self._made = 0

    def make(self, tokens: int) -> str:
        """A text of so many tokens, or of as many below as the vocabulary lets it have."""
        self._made += 1
        words = [f"{self._random.randrange(10**6)}-{self._made}"]
        least = have = self._count(words[0])
        for _ in range(_TRIES):
            if have >= tokens:
                break
            each = max(1.0, (have - least) / max(1, len(words) - 1))
            words += self._random.choices(self._words, k=max(1, int((tokens - have) / each)))
            have = self._count(" ".join(words))
        while have > tokens and len(words) > 1:
            words.pop()
            have = self._count(" ".join(words))
        return self._filled(" ".join(words), have, tokens)

    def _filled(self, text: str, have: int, tokens: int) -> str:
        """Text and as many single tokens as are missing."""
        while have < tokens:
            found = next((text + filler for filler in _FILLERS if self._count(text + filler) == have + 1), None)
            if found is None:
                break
            text, have = found, have + 1
        return text
