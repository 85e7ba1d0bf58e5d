"""How many readings of a pattern an engine must keep at once: it does so one by one, and many of them halt it."""

from typing import Final

from a3s_power.output.grammar.gbnf import Ranges
from a3s_power.output.grammar.regex import Alt, Edge, Node, Repeat, Seq, Signs, Unusable

MOST_READINGS: Final = 100
_MOST_LINKS: Final = 100_000
_STEPS: Final = 120
_TRIED: Final = 12

_Part = tuple[set[int], set[int], bool]
"""The places with which a part may begin and end, and whether it may be nothing."""


def check(tree: Node) -> None:
    """Raise Unusable for a pattern of which a text has too many readings. Texts that keep most of them are tried."""
    places = _Places()
    active = places.of(tree)[0]
    for _ in range(_STEPS):
        if len(active) > MOST_READINGS:
            raise Unusable("can be read in too many ways at once")
        active = max((places.after(active, code) for code in places.codes(active)), key=len, default=set())


class _Places:
    """The signs of a pattern with every bounded repetition written out, and which may follow which."""

    def __init__(self) -> None:
        self._signs: list[Ranges] = []
        self._follow: list[set[int]] = []
        self._links = 0

    def of(self, node: Node) -> _Part:
        match node:
            case Signs(ranges):
                self._signs.append(ranges)
                self._follow.append(set())
                place = {len(self._signs) - 1}
                return place, place, False
            case Seq(parts):
                whole: _Part = (set(), set(), True)
                for part in parts:
                    whole = self._behind(whole, self.of(part))
                return whole
            case Alt(parts):
                each = [self.of(part) for part in parts]
                firsts = set[int]().union(*(first for first, _, _ in each))
                lasts = set[int]().union(*(last for _, last, _ in each))
                return firsts, lasts, any(nothing for _, _, nothing in each)
            case Repeat():
                return self._repeated(node)
            case Edge():
                return set(), set(), True

    def _repeated(self, node: Repeat) -> _Part:
        whole: _Part = (set(), set(), True)
        for _ in range(node.least):
            whole = self._behind(whole, self.of(node.part))
        ends, before = set(whole[1]), whole
        for _ in range(1 if node.most is None else node.most - node.least):
            # Each may only follow the one before it, unless that may be nothing.
            first, last, nothing = self.of(node.part)
            before = self._behind(before, (first, last, nothing))
            ends |= last
            if node.most is None:
                self._link(last, first)
        return before[0], ends, whole[2]

    def _behind(self, one: _Part, other: _Part) -> _Part:
        self._link(one[1], other[0])
        firsts = one[0] | other[0] if one[2] else one[0]
        lasts = one[1] | other[1] if other[2] else other[1]
        return firsts, lasts, one[2] and other[2]

    def _link(self, lasts: set[int], firsts: set[int]) -> None:
        self._links += len(lasts) * len(firsts)
        if self._links > _MOST_LINKS:
            raise Unusable("can be read in too many ways at once")
        for last in lasts:
            self._follow[last] |= firsts

    def codes(self, active: set[int]) -> set[int]:
        """Some signs that may come next."""
        return {self._signs[place][0][0] for place in sorted(active)[:_TRIED] if self._signs[place]}

    def after(self, active: set[int], code: int) -> set[int]:
        """The places that may come behind this sign."""
        read = (place for place in active if any(low <= code <= high for low, high in self._signs[place]))
        return set[int]().union(*(self._follow[place] for place in read))
