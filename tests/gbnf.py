"""GBNF read, walked and matched: what an engine does with a grammar, small enough to be seen through."""

import random
import re
from typing import Any

_TOKEN = re.compile(
    r"""\s*(?:(?P<name>[A-Za-z0-9-]+)|"(?P<text>(?:[^"\\]|\\.)*)"|\[(?P<signs>(?:[^\]\\]|\\.)*)\]"""
    r"""|\{(?P<least>\d+)(?P<to>,(?P<most>\d*))?\}|(?P<mark>[*+?|()]))\s*"""
)
_SIGN = re.compile(r"\\x([0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|\\U([0-9A-Fa-f]{8})|\\(.)|(.)", re.DOTALL)
_NAMED = {"n": "\n", "r": "\r", "t": "\t"}

Node = tuple[Any, ...]


class Grammar:
    """A grammar's rules as trees: text, signs by their ranges, rules by name, sequences, alternatives, repetitions."""

    def __init__(self, text: str) -> None:
        self.rules: dict[str, Node] = {}
        for line in text.splitlines():
            name, _, body = line.partition(" ::= ")
            assert name not in self.rules, name
            tokens = _tokens(body)
            self.rules[name] = _alternatives(tokens)
            assert not tokens, (name, tokens)
        self._depths = self._measured()

    def matches(self, text: str) -> bool:
        """Whether the whole text follows the grammar."""
        return len(text) in _Match(self.rules, text).ends(("rule", "root"), 0)

    def walk(self, chance: random.Random, deep: int = 12) -> str:
        """A text that follows the grammar, short ways being taken once it is `deep` inside."""
        return "".join(self._walk(("rule", "root"), chance, deep))

    def _walk(self, node: Node, chance: random.Random, left: int) -> list[str]:
        match node:
            case ("text", text):
                return [text]
            case ("signs", ranges):
                low, high = chance.choice(ranges)
                return [chr(chance.randint(low, min(high, low + 300)))]
            case ("rule", name):
                return self._walk(self.rules[name], chance, left - 1)
            case ("seq", parts):
                return [piece for part in parts for piece in self._walk(part, chance, left)]
            case ("alt", parts):
                shortest = min(self._depth(part) for part in parts)
                fair = [part for part in parts if left > 0 or self._depth(part) == shortest]
                return self._walk(chance.choice(fair), chance, left)
            case ("times", part, least, most):
                more = 0 if left <= 0 else chance.randint(0, 4 if most is None else min(most - least, 6))
                return [piece for _ in range(least + more) for piece in self._walk(part, chance, left)]
        raise AssertionError(node)

    def _measured(self) -> dict[str, int]:
        """How deep the shallowest text of each rule is."""
        depths = dict.fromkeys(self.rules, 10**6)
        self._depths = depths
        changed = True
        while changed:
            changed = False
            for name, node in self.rules.items():
                depth = self._depth(node) + 1
                if depth < depths[name]:
                    depths[name], changed = depth, True
        return depths

    def _depth(self, node: Node) -> int:
        match node:
            case ("rule", name):
                return self._depths[name]
            case ("seq", parts):
                return max((self._depth(part) for part in parts), default=0)
            case ("alt", parts):
                return min(self._depth(part) for part in parts)
            case ("times", part, least, _):
                return self._depth(part) if least else 0
        return 0


class _Match:
    """All places where a node that begins at a place may end."""

    def __init__(self, rules: dict[str, Node], text: str) -> None:
        self._rules = rules
        self._text = text
        self._known: dict[tuple[int, int], frozenset[int]] = {}
        self._kept: list[Node] = []

    def ends(self, node: Node, at: int) -> frozenset[int]:
        key = (id(node), at)
        if key not in self._known:
            self._kept.append(node)
            self._known[key] = self._ends(node, at)
        return self._known[key]

    def _ends(self, node: Node, at: int) -> frozenset[int]:
        match node:
            case ("text", text):
                return frozenset({at + len(text)} if self._text.startswith(text, at) else ())
            case ("signs", ranges):
                fits = at < len(self._text) and any(low <= ord(self._text[at]) <= high for low, high in ranges)
                return frozenset({at + 1} if fits else ())
            case ("rule", name):
                return self.ends(self._rules[name], at)
            case ("seq", parts):
                places = frozenset({at})
                for part in parts:
                    places = frozenset().union(*(self.ends(part, place) for place in places))
                return places
            case ("alt", parts):
                return frozenset().union(*(self.ends(part, at) for part in parts))
            case ("times", part, least, most):
                return self._times(part, least, most, at)
        raise AssertionError(node)

    def _times(self, part: Node, least: int, most: int | None, at: int) -> frozenset[int]:
        places = frozenset({at})
        for _ in range(least):
            places = frozenset().union(*(self.ends(part, place) for place in places))
        found, fresh, times = places, places, least
        while fresh and (most is None or times < most):
            fresh = frozenset().union(*(self.ends(part, place) for place in fresh)) - found
            found, times = found | fresh, times + 1
        return found


def _tokens(body: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    at = 0
    while at < len(body):
        token = _TOKEN.match(body, at)
        assert token is not None, body[at : at + 40]
        at = token.end()
        if token["name"]:
            found.append(("rule", token["name"]))
        elif token["text"] is not None:
            found.append(("text", "".join(chr(code) for code, _ in _signs(token["text"]))))
        elif token["signs"] is not None:
            found.append(("signs", _ranges(token["signs"])))
        elif token["least"]:
            least = int(token["least"])
            most = least if token["to"] is None else int(token["most"]) if token["most"] else None
            found.append(("times", (least, most)))
        else:
            counts = {"*": (0, None), "+": (1, None), "?": (0, 1)}
            found.append(("times", counts[token["mark"]]) if token["mark"] in counts else (token["mark"], None))
    return found


def _alternatives(tokens: list[tuple[str, Any]]) -> Node:
    parts, current = [], list[Node]()
    while tokens and tokens[0][0] != ")":
        kind, value = tokens.pop(0)
        if kind == "|":
            parts.append(("seq", tuple(current)))
            current = []
        elif kind == "(":
            current.append(_alternatives(tokens))
            assert tokens.pop(0)[0] == ")"
        elif kind == "times":
            current.append(("times", current.pop(), *value))
        else:
            current.append((kind, value))
    parts.append(("seq", tuple(current)))
    return ("alt", tuple(parts))


def _signs(text: str) -> list[tuple[int, bool]]:
    """Code points, each with whether it was escaped."""
    found = []
    for sign in _SIGN.finditer(text):
        code = sign[1] or sign[2] or sign[3]
        if code:
            found.append((int(code, 16), True))
        elif sign[4]:
            found.append((ord(_NAMED.get(sign[4], sign[4])), True))
        else:
            found.append((ord(sign[5]), False))
    return found


def _ranges(text: str) -> tuple[tuple[int, int], ...]:
    assert not text.startswith("^"), "ours name what may be there"
    signs, found, at = _signs(text), [], 0
    while at < len(signs):
        low = signs[at][0]
        if at + 2 < len(signs) and signs[at + 1] == (ord("-"), False):
            found.append((low, signs[at + 2][0]))
            at += 3
        else:
            found.append((low, low))
            at += 1
    return tuple(found)
