"""Pieces: long lists of texts, cut so that the engine can take others' in between, and be asked to stop. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

_MOST_TEXTS: Final = 32
_MOST_BYTES: Final = 8192
"""About two thousand tokens: a second's work for a small model, and enough to use all slots of one."""


def pieces(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """The texts in order, some at a time, with the place of the first of them; a long text is alone."""
    start = size = 0
    for place, text in enumerate(texts):
        added = len(text.encode(errors="replace"))
        if place > start and (place - start == _MOST_TEXTS or size + added > _MOST_BYTES):
            yield start, texts[start:place]
            start, size = place, 0
        size += added
    if start < len(texts):
        yield start, texts[start:]
