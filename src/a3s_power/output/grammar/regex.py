"""Regular expressions: read into a tree, matched in bounded time, and written as GBNF."""

import re
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

import msgspec

from a3s_power.output.grammar.gbnf import ANY, Ranges, Rules, common, either, one_of, others, ranges_of

LONGEST_PATTERN: Final = 4_000
MOST_SIGNS: Final = 4_000
"""How many signs a pattern may stand for when every bounded repetition is written out."""
_DEEPEST: Final = 40


class Unusable(Exception):
    """A pattern that cannot be read, or uses what no grammar can say."""


class Signs(msgspec.Struct, frozen=True):
    """One sign out of these ranges."""

    ranges: Ranges


class Seq(msgspec.Struct, frozen=True):
    """One after the other."""

    parts: tuple["Node", ...]


class Alt(msgspec.Struct, frozen=True):
    """One of these."""

    parts: tuple["Node", ...]


class Repeat(msgspec.Struct, frozen=True):
    """The same, some times; `most` is `None` for no end."""

    part: "Node"
    least: int
    most: int | None


class Edge(msgspec.Struct, frozen=True):
    """`^` or `$`."""

    sign: str


Node = Signs | Seq | Alt | Repeat | Edge

EVERYTHING: Final = Repeat(Signs(ANY), 0, None)
_DIGITS: Final = ((48, 57),)
_WORDS: Final = ((48, 57), (65, 90), (95, 95), (97, 122))
_BLANKS: Final = ranges_of(
    [
        *((9, 13), (32, 32), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F)),
        *((0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
    ]
)
_LINE_ENDS: Final = ((10, 10), (13, 13), (0x2028, 0x2029))
_CLASSES: Final = {
    "d": _DIGITS,
    "D": others(_DIGITS),
    "w": _WORDS,
    "W": others(_WORDS),
    "s": _BLANKS,
    "S": others(_BLANKS),
}
_CONTROLS: Final = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11, "0": 0}
_COUNTS = re.compile(r"\{([0-9]+)(,([0-9]*))?\}")
_HEX = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}")


def read(pattern: str, *, whole: bool) -> Node:
    """The tree of a pattern, without its edges: it matches whole texts.

    `whole` says that the pattern means these already; otherwise it may match anywhere inside, as a schema's does.

    Raises:
        Unusable: no pattern, too large, or with what only a matcher that looks around could do.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise Unusable(f"is longer than {LONGEST_PATTERN} signs")
    parser = _Parser(pattern)
    tree = parser.alternatives(0)
    if parser.at < len(pattern):
        raise Unusable(f"has a {pattern[parser.at]!r} too many at {parser.at}")
    around = () if whole else (EVERYTHING,)
    tree = _edged(_edged(tree, "^", around), "$", around)
    if _has_edge(tree):
        raise Unusable("has a ^ or $ in the middle")
    if _signs(tree) > MOST_SIGNS:
        raise Unusable("repeats too much")
    return tree


class _Parser:
    """Reads one pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self.at = 0

    def alternatives(self, depth: int) -> Node:
        if depth > _DEEPEST:
            raise Unusable("has too many groups inside each other")
        found = [self._sequence(depth)]
        while self._take("|"):
            found.append(self._sequence(depth))
        return found[0] if len(found) == 1 else Alt(tuple(found))

    def _sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self.at < len(self._pattern) and self._pattern[self.at] not in "|)":
            parts.append(self._repeated(self._atom(depth)))
        return parts[0] if len(parts) == 1 else Seq(tuple(parts))

    def _repeated(self, node: Node) -> Node:
        counts = self._counts()
        if counts is None:
            return node
        if isinstance(node, Edge):
            self._refuse("repeats an edge")
        self._take("?")
        if self._pattern[self.at : self.at + 1] in ("*", "+", "?") or self._counts() is not None:
            self._refuse("has one repetition behind another")
        return Repeat(node, *counts)

    def _counts(self) -> tuple[int, int | None] | None:
        for sign, counts in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return counts
        found = _COUNTS.match(self._pattern, self.at)
        if found is None:
            return None
        self.at = found.end()
        least = int(found[1])
        most = (int(found[3]) if found[3] else None) if found[2] else least
        if most is not None and most < least:
            self._refuse("repeats from more to fewer times")
        return least, most

    def _atom(self, depth: int) -> Node:
        sign = self._next()
        match sign:
            case "^" | "$":
                return Edge(sign)
            case ".":
                return Signs(others(_LINE_ENDS))
            case "[":
                return Signs(self._class())
            case "(":
                return self._group(depth)
            case "\\":
                return Signs(self._escape())
            case "*" | "+" | "?":
                self._refuse(f"has a {sign} with nothing before it")
        return Signs(((ord(sign), ord(sign)),))

    def _group(self, depth: int) -> Node:
        if self._take("?") and not self._take(":"):
            named = re.compile(r"P?<[A-Za-z_]\w*>").match(self._pattern, self.at)
            if named is None:
                self._refuse("looks around, or has a group of a kind that no grammar can say")
            self.at = named.end()
        inside = self.alternatives(depth + 1)
        if not self._take(")"):
            self._refuse("does not close a group")
        return inside

    def _escape(self) -> Ranges:
        found = _HEX.match(self._pattern, self.at)
        if found is not None:
            self.at = found.end()
            code = int(found[1] or found[2] or found[3], 16)
            if code not in range(0x110000) or code in range(0xD800, 0xE000):
                self._refuse("names a sign that there is not")
            return ((code, code),)
        sign = self._next()
        if sign in _CLASSES:
            return _CLASSES[sign]
        if sign in _CONTROLS:
            return ((_CONTROLS[sign], _CONTROLS[sign]),)
        if sign.isalnum():
            self._refuse(f"uses \\{sign}, which no grammar can say")
        return ((ord(sign), ord(sign)),)

    def _class(self) -> Ranges:
        negated, found = self._take("^"), list[tuple[int, int]]()
        while not self._take("]"):
            low = self._member()
            single = len(low) == 1 and low[0][0] == low[0][1]
            if (
                single
                and self._pattern[self.at : self.at + 1] == "-"
                and self._pattern[self.at + 1 : self.at + 2] != "]"
            ):
                self.at += 1
                high = self._member()
                if len(high) != 1 or high[0][0] != high[0][1] or high[0][0] < low[0][0]:
                    self._refuse("has a range that is none")
                low = ((low[0][0], high[0][0]),)
            found += low
        ranges = ranges_of(found)
        return others(ranges) if negated else common(ranges, ANY)

    def _member(self) -> Ranges:
        sign = self._next()
        if sign == "\\":
            if self._take("b"):
                return ((8, 8),)
            return self._escape()
        return ((ord(sign), ord(sign)),)

    def _take(self, sign: str) -> bool:
        if self._pattern.startswith(sign, self.at):
            self.at += len(sign)
            return True
        return False

    def _next(self) -> str:
        if self.at >= len(self._pattern):
            self._refuse("ends too early")
        self.at += 1
        return self._pattern[self.at - 1]

    def _refuse(self, why: str) -> NoReturn:
        raise Unusable(f"{why} at {self.at}")


def _edged(node: Node, sign: str, around: tuple[Node, ...]) -> Node:
    """The tree that begins (or ends) at the edge where it says so, and with `around` where it does not."""
    if isinstance(node, Alt):
        return Alt(tuple(_edged(part, sign, around) for part in node.parts))
    parts = node.parts if isinstance(node, Seq) else (node,)
    outer, rest = (parts[:1], parts[1:]) if sign == "^" else (parts[-1:], parts[:-1])
    if not any(_has_edge(part, sign) for part in outer):
        new: tuple[Node, ...] = (*around, *parts) if sign == "^" else (*parts, *around)
    else:
        inner = () if outer == (Edge(sign),) else (_edged(outer[0], sign, around),)
        new = (*inner, *rest) if sign == "^" else (*rest, *inner)
    return new[0] if len(new) == 1 else Seq(new)


def _has_edge(node: Node, sign: str = "^$") -> bool:
    match node:
        case Edge():
            return node.sign in sign
        case Seq(parts) | Alt(parts):
            return any(_has_edge(part, sign) for part in parts)
        case Repeat():
            return _has_edge(node.part, sign)
    return False


def _signs(node: Node) -> int:
    match node:
        case Seq(parts) | Alt(parts):
            return 1 + sum(map(_signs, parts))
        case Repeat():
            return _signs(node.part) * max(node.least, node.most or 1, 1)
    return 1


def lengths(node: Node) -> tuple[int, int | None]:
    """How long the texts are that it matches; `None` for no end."""
    match node:
        case Seq(parts):
            each = [lengths(part) for part in parts]
            return sum(low for low, _ in each), _total(high for _, high in each)
        case Alt(parts):
            each = [lengths(part) for part in parts]
            highs = [high for _, high in each]
            return min(low for low, _ in each), None if None in highs else max(high or 0 for high in highs)
        case Repeat():
            low, high = lengths(node.part)
            return low * node.least, 0 if high == 0 else None if high is None or node.most is None else high * node.most
        case Signs():
            return 1, 1
    return 0, 0


def _total(numbers: Iterable[int | None]) -> int | None:
    total = 0
    for number in numbers:
        if number is None:
            return None
        total += number
    return total


def within(node: Node, least: int, most: int | None) -> Node | None:
    """The same texts, but only those of these lengths; `None` where that cannot be written."""
    low, high = lengths(node)
    if low >= least and (most is None or (high is not None and high <= most)):
        return node
    parts = node.parts if isinstance(node, Seq) else (node,)
    sizes = [lengths(part) for part in parts]
    loose = [at for at, size in enumerate(sizes) if size[0] != size[1]]
    if len(loose) != 1:
        return None
    part, fixed = parts[loose[0]], low - sizes[loose[0]][0]
    if not isinstance(part, Repeat) or lengths(part.part) != (1, 1):
        return None
    fewest, most_times = max(part.least, least - fixed), part.most
    if most is not None:
        most_times = most - fixed if most_times is None else min(most_times, most - fixed)
    if most_times is not None and most_times < fewest:
        return None
    return Seq((*parts[: loose[0]], Repeat(part.part, fewest, most_times), *parts[loose[0] + 1 :]))


def matches(node: Node, text: str) -> bool:
    """Whether it matches the whole text, in time bounded by their sizes."""
    return len(text) in _ends(node, text, frozenset({0}))


def _ends(node: Node, text: str, starts: frozenset[int]) -> frozenset[int]:
    match node:
        case Signs(ranges):
            return frozenset(at + 1 for at in starts if at < len(text) and _within(ranges, ord(text[at])))
        case Seq(parts):
            for part in parts:
                starts = _ends(part, text, starts) if starts else starts
            return starts
        case Alt(parts):
            return frozenset().union(*(_ends(part, text, starts) for part in parts))
        case Repeat(part, least, most):
            for _ in range(least):
                starts = _ends(part, text, starts) if starts else starts
            found, fresh, times = starts, starts, least
            while fresh and (most is None or times < most):
                fresh = _ends(part, text, fresh) - found
                found, times = found | fresh, times + 1
            return found
    return frozenset()


def _within(ranges: Ranges, code: int) -> bool:
    return any(low <= code <= high for low, high in ranges)


def write(node: Node, rules: Rules, signs: Callable[[Ranges], str] = one_of) -> str:
    """The tree as the body of a GBNF rule; `signs` writes one sign out of some.

    Raises:
        Unusable: it matches nothing that can be written.
    """
    match node:
        case Signs(ranges):
            body = signs(ranges)
            if body in ("", "[]"):
                raise Unusable("has a place for which there is no sign")
            return body
        case Seq(parts):
            return " ".join(write(part, rules, signs) for part in parts) or '""'
        case Alt(parts):
            return either(write(part, rules, signs) for part in parts)
        case Repeat(part, least, most):
            inside = write(part, rules, signs)
            one = inside if inside.startswith("[") and inside.find("]") == len(inside) - 1 else rules.add("re", inside)
            return rules.repeat(one, least, most).strip() or '""'
    return '""'
