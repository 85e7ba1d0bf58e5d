"""Slots: to which of llama.cpp's slots a prompt goes, so that it finds what it has in common with earlier ones.

Left alone, llama.cpp gives a prompt the slot with the longest common beginning and forgets what stood behind that,
unless it is more than half: two chats with one long system message would forget each other's turns for ever. Told that
no two prompts are alike, it keeps what a slot holds in its prompt cache before it gives the slot to a prompt, and looks
there for what is nearest. With several slots it then takes the one that rested longest; so the slot is named here.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from a3s_power.engines.engine import Piece

ANY: Final = -1
"""Stands for the slot that the engine chooses."""

_LEAST_COMMON: Final = 0.1
"""With a smaller share of it in common, a prompt goes to the slot that rested longest instead."""
_NEVER: Final = 1.0

Prompt = str | Sequence[int]


class Slot:
    """A slot while a prompt has it. `number` is the engine's."""

    def __init__(self, number: int, prompt: Prompt) -> None:
        self.number = number
        self._prompt = prompt
        self._said: list[str] = []

    def hearing(self, emit: Callable[[Piece], None]) -> Callable[[Piece], None]:
        """`emit`, with the answer kept for those that go on from it."""
        if self.number == ANY or not isinstance(self._prompt, str):
            return emit
        keep = self._said.append

        def heard(piece: Piece) -> None:
            keep(piece.text)
            emit(piece)

        return heard

    @property
    def holds(self) -> Prompt:
        """What is in it by now."""
        return self._prompt + "".join(self._said) if isinstance(self._prompt, str) else self._prompt


class Slots:
    """All slots of an engine: what each of them was given last. Threads may share it."""

    def __init__(self, count: int) -> None:
        self._looking = threading.Lock()
        # The one that rested longest first.
        self._free: dict[int, Prompt] = dict.fromkeys(range(count), "") if count > 1 else {}
        self.used = False

    def hold(self, prompts: dict[int, str]) -> None:
        """These are in the slots already."""
        self._free |= {number: prompt for number, prompt in prompts.items() if number in self._free}

    @property
    def held(self) -> dict[int, str]:
        """The texts in the free slots."""
        with self._looking:
            return {number: prompt for number, prompt in self._free.items() if isinstance(prompt, str)}

    @contextmanager
    def taken(self, prompt: Prompt) -> Iterator[Slot]:
        """A slot for a prompt; the engine's choice where there is no choice, or none is free."""
        slot = Slot(self._take(prompt), prompt)
        try:
            yield slot
        finally:
            if slot.number != ANY:
                with self._looking:
                    self._free[slot.number] = slot.holds

    def _take(self, prompt: Prompt) -> int:
        with self._looking:
            self.used = True
            if not self._free:
                return ANY
            number = max(self._free, key=lambda each: common(self._free[each], prompt))
            if common(self._free[number], prompt) <= _LEAST_COMMON * len(prompt):
                number = next(iter(self._free))
            del self._free[number]
            return number


def similarity(*, on_gpu: bool) -> float:
    """What share of a prompt must be in a slot, or more, for llama.cpp to choose it by that and to keep no copy of it.

    On a CPU, copying what a slot holds takes as long as reading a few tokens. A GPU reads hundreds meanwhile.
    """
    return _LEAST_COMMON if on_gpu else _NEVER


def common(one: Prompt, other: Prompt) -> int:
    """How long the common beginning of two prompts is; a text and token ids have none."""
    if type(one) is not type(other):
        return 0
    least, most = 0, min(len(one), len(other))
    while least < most:
        middle = (least + most + 1) // 2
        if one[least:middle] == other[least:middle]:
            least = middle
        else:
            most = middle - 1
    return least
