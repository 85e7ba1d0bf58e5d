"""Rules: a GBNF grammar as it is written, within bounds; and the texts that its parts are written with."""

from collections.abc import Iterable, Sequence
from typing import Final

from a3s_power.core.errors import BadRequest

MOST_RULES: Final = 8_000
MOST_CHARACTERS: Final = 400_000
MOST_REPEATS: Final = 100_000
"""How many rules the engine may make of all bounded repetitions together; it makes one for each possible time."""

_STEP: Final = 500
"""The engine refuses repetitions from 2000 times on; longer ones are written as repetitions of repetitions."""
_FEW: Final = 8
_DEEPEST: Final = 60
_LAST: Final = 0x10FFFF
_SURROGATES: Final = (0xD800, 0xDFFF)
_NAMED: Final = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x22: '\\"', 0x5C: "\\\\"}
_IN_CLASS: Final = _NAMED | {ord("]"): "\\]", ord("["): "\\["}
_AS_THEY_ARE: Final = frozenset(range(0x20, 0x7F)) - {ord("^"), ord("-"), ord('"')}

Ranges = tuple[tuple[int, int], ...]
"""Code points, from and to, in order and apart."""


class Rules:
    """Rules by name. Equal ones are written once. `known` is for names of what refers to itself.

    Raises:
        BadRequest: it becomes larger than an engine should be given.
    """

    def __init__(self) -> None:
        self.known: dict[str, tuple[str, ...]] = {}
        self._bodies: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._size = 0
        self._repeats = 0

    def add(self, hint: str, body: str) -> str:
        """The name of the rule with this body; `hint` is what it is called when it is new."""
        name = self._names.get(body)
        if name is None:
            name = self._names[body] = self.reserve(hint)
            self.define(name, body)
        return name

    def reserve(self, hint: str) -> str:
        """A name for a rule whose body will follow."""
        name = f"{hint}-{len(self._bodies)}"
        self._bodies[name] = ""
        self._within(len(self._bodies), MOST_RULES)
        return name

    def define(self, name: str, body: str) -> None:
        """Give a reserved name its body."""
        self._bodies[name] = body
        self._size += len(name) + len(body) + 6
        self._within(self._size, MOST_CHARACTERS)

    def repeat(self, part: str, least: int, most: int | None) -> str:
        """`part`, a name or a class, so many times; `None` for no end."""
        if most is None:
            return self._exactly(part, least) + f" {part}*"
        return f"{self._exactly(part, least)} {self._up_to(part, most - least)}"

    def _exactly(self, part: str, times: int) -> str:
        if times <= _STEP:
            self._count(times)
            return f"{part}{{{times}}}" if times else ""
        block = self.add("block", self._exactly(part, _STEP))
        return f"{self._exactly(block, times // _STEP)} {self._exactly(part, times % _STEP)}"

    def _up_to(self, part: str, times: int) -> str:
        if times <= _STEP:
            self._count(times)
            return f"{part}{{0,{times}}}" if times else ""
        block, blocks = self.add("block", self._exactly(part, _STEP)), times // _STEP
        fewer = f"{self._up_to(block, blocks - 1)} {self._up_to(part, _STEP - 1)}"
        return f"({fewer} | {self._exactly(block, blocks)} {self._up_to(part, times % _STEP)})"

    def _count(self, times: int) -> None:
        self._repeats += times
        self._within(self._repeats, MOST_REPEATS)

    def _within(self, size: int, most: int) -> None:
        if size > most:
            raise BadRequest("the structure that the answer shall have is too large to be enforced")

    def text(self, root: str) -> str:
        """The whole grammar; `root` is the body of the rule it starts with."""
        lines = [f"root ::= {root}", *(f"{name} ::= {body}" for name, body in self._bodies.items())]
        return "\n".join(lines) + "\n"


def literal(text: str) -> str:
    """A text that stands as it is."""
    return '"' + "".join(map(_sign, text)) + '"'


def _sign(sign: str) -> str:
    code = ord(sign)
    return _NAMED.get(code) or (sign if code >= 0x20 and code != 0x7F else f"\\x{code:02x}")


def either(bodies: Iterable[str]) -> str:
    """One of these, in parentheses where there are several. Equal ones are said once."""
    different = list(dict.fromkeys(bodies))
    return different[0] if len(different) == 1 else f"({' | '.join(different)})"


def one_text(texts: Sequence[str], rules: Rules, depth: int = 0) -> str:
    """One of these texts. Of many, what they share is said once: an engine follows each alternative by itself."""
    if len(texts) <= _FEW or depth > _DEEPEST:
        return either(map(literal, texts))
    first, last = min(texts), max(texts)
    shared = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    behind: dict[str, list[str]] = {}
    for text in texts:
        behind.setdefault(text[shared : shared + 1], []).append(text[shared + 1 :])
    ways = [f"{literal(sign)} {one_text(rest, rules, depth + 1)}" if sign else '""' for sign, rest in behind.items()]
    return rules.add("text", f"{literal(first[:shared])} {either(ways)}" if shared else " | ".join(ways))


def one_of(ranges: Ranges) -> str:
    """A sign within these ranges."""
    return "[" + "".join(_code(low) + (f"-{_code(high)}" if high > low else "") for low, high in ranges) + "]"


def _code(code: int) -> str:
    named = _IN_CLASS.get(code)
    if named is not None and code != 0x22:
        return named
    if code in _AS_THEY_ARE:
        return chr(code)
    return f"\\x{code:02X}" if code < 0x80 else f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def ranges_of(pairs: Iterable[tuple[int, int]]) -> Ranges:
    """Ranges in order, joined where they touch."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(pairs):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return tuple(joined)


def others(ranges: Ranges) -> Ranges:
    """All signs that are not in these ranges; surrogates are none."""
    found, next_code = [], 0
    for low, high in ranges_of((*ranges, _SURROGATES)):
        if low > next_code:
            found.append((next_code, low - 1))
        next_code = high + 1
    return (*found, (next_code, _LAST)) if next_code <= _LAST else tuple(found)


def common(some: Ranges, more: Ranges) -> Ranges:
    """The signs that are in both."""
    return others(ranges_of((*others(some), *others(more))))


ANY: Final = others(())
