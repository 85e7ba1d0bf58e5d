"""A GBNF grammar that a client wrote: looked over before an engine gets it, and made a part of a larger one."""

import re
from typing import Final, NoReturn

from a3s_power.core.errors import BadRequest
from a3s_power.output.grammar.gbnf import Rules

LONGEST: Final = 100_000
_MOST_TIMES: Final = 1_999
_MOST_ALL_TIMES: Final = 20_000
_DEEPEST: Final = 100
_MOST_NOTHINGS: Final = 64
_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)|(?P<end>\r?\n)|(?P<blank>[ \t]+)
    |(?P<name>[A-Za-z0-9-]+)(?P<defines>\s*::=)?
    |(?P<text>"(?:[^"\\\n]|\\[^\n])*")|(?P<signs>\[\^?(?:[^\]\\\n]|\\[^\n])*\])
    |(?P<special>!?<(?:[^<>\n]+)>)
    |(?P<times>\{(?P<least>\d{1,5})(?P<to>,(?P<most>\d{0,5}))?\})|(?P<mark>[*+?|().])""",
    re.VERBOSE,
)


def renamed(grammar: str, rules: Rules) -> str:
    """The name of the rule that a grammar starts with; its rules are among ours then, under names that clash with none.

    Raises:
        BadRequest: no grammar, one without a root or with rules that are not there, or one that repeats too much.
    """
    if len(grammar) > LONGEST:
        raise BadRequest(f"grammar: it is longer than {LONGEST} signs")
    bodies = _Reader(grammar).bodies()
    if "root" not in bodies:
        raise BadRequest('grammar: it has no rule "root"')
    names = {name: rules.reserve(f"own-{name}") for name in bodies}
    for name, body in bodies.items():
        missing = next((word for kind, word in body if kind == "name" and word not in names), None)
        if missing is not None:
            raise BadRequest(f'grammar: the rule "{name}" uses "{missing}", which is not there')
        rules.define(names[name], " ".join(names[word] if kind == "name" else word for kind, word in body))
    _check_left(bodies)
    _Nothing(bodies).check()
    return names["root"]


class _Reader:
    """Splits a grammar into rules of words."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._line = 1
        self._all_times = 0

    def bodies(self) -> dict[str, list[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = {}
        body: list[tuple[str, str]] | None = None
        at = 0
        while at < len(self._text):
            token = _TOKEN.match(self._text, at)
            if token is None:
                self._refuse(f"what begins with {self._text[at : at + 10]!r} cannot be read")
            at = token.end()
            kind = token.lastgroup or ""
            self._line += token[0].count("\n")
            if token["defines"]:
                if token["name"] in found:
                    self._refuse(f'the rule "{token["name"]}" is there twice')
                body = found[token["name"]] = []
            elif kind not in ("comment", "end", "blank"):
                if body is None:
                    self._refuse("a rule must begin with its name and ::=")
                body.append(self._word(token, body))
        for name, words in found.items():
            if not words:
                raise BadRequest(f'grammar: the rule "{name}" is empty')
            _check_groups(name, words)
        return found

    def _word(self, token: re.Match[str], body: list[tuple[str, str]]) -> tuple[str, str]:
        if token["name"]:
            return "name", token["name"]
        if token["times"]:
            least, most = int(token["least"]), int(token["most"] or token["least"])
            self._all_times += max(least, most)
            if max(least, most) > _MOST_TIMES or self._all_times > _MOST_ALL_TIMES:
                self._refuse("it repeats too much")
        if (token["times"] or token[0] in ("*", "+", "?")) and (not body or body[-1][1] in ("|", "(")):
            self._refuse("a repetition has nothing before it")
        return "mark", token[0]

    def _refuse(self, why: str) -> NoReturn:
        raise BadRequest(f"grammar: line {self._line}: {why}")


def _check_groups(name: str, words: list[tuple[str, str]]) -> None:
    depth = 0
    for _, word in words:
        depth += (word == "(") - (word == ")")
        if depth < 0 or depth > _DEEPEST:
            break
    if depth:
        raise BadRequest(f'grammar: the parentheses of the rule "{name}" do not match, or go too deep')


class _Nothing:
    """In how many ways rules may be nothing: the engine follows each of them, and stands still over too many."""

    def __init__(self, bodies: dict[str, list[tuple[str, str]]]) -> None:
        self._bodies = bodies
        self._ways: dict[str, int] = {}

    def check(self) -> None:
        try:
            for name in self._bodies:
                self._of_rule(name)
        except RecursionError:
            raise BadRequest("grammar: its rules go too deep") from None

    def _of_rule(self, name: str) -> int:
        if name not in self._ways:
            self._ways[name] = 0
            words = list(reversed(self._bodies[name]))
            self._ways[name] = self._alternatives(name, words)
        return self._ways[name]

    def _alternatives(self, name: str, words: list[tuple[str, str]]) -> int:
        """Takes words up to the end of the group."""
        total, ways, loose = 0, 1, 0
        while words and words[-1][1] != ")":
            kind, word = words.pop()
            if word == "|":
                total, ways, loose = total + ways, 1, 0
                continue
            inside = self._of_rule(word) if kind == "name" else 0
            if word == "(":
                inside = self._alternatives(name, words)
                words.pop()
            inside = 1 if word == '""' else inside
            least, most = _times(words)
            loose += (most if inside else 1) if inside or least == 0 else 0
            ways = min(ways * max(inside ** min(most, _MOST_NOTHINGS), least == 0), _MOST_NOTHINGS + 1)
            if ways > _MOST_NOTHINGS or loose > _MOST_NOTHINGS:
                raise BadRequest(f'grammar: the rule "{name}" may be nothing in too many ways')
        return total + ways


def _times(words: list[tuple[str, str]]) -> tuple[int, int]:
    """How often the element before is repeated, if that is what comes; no end counts as twice."""
    sign = words[-1][1] if words else ""
    if sign in ("*", "+", "?") or sign.startswith("{"):
        words.pop()
    match sign:
        case "*":
            return 0, 2
        case "+":
            return 1, 2
        case "?":
            return 0, 1
    if not sign.startswith("{"):
        return 1, 1
    low, comma, high = sign.strip("{}").partition(",")
    return int(low), int(high) if high else max(int(low), 2) if comma else int(low)


def _check_left(bodies: dict[str, list[tuple[str, str]]]) -> None:
    """Refuse a rule that begins with itself. What may be nothing is looked past where that is plain to see."""
    first = {name: _leading(body) for name, body in bodies.items()}
    for start in bodies:
        seen, waiting = set[str](), list(first[start])
        while waiting:
            name = waiting.pop()
            if name == start:
                raise BadRequest(f'grammar: the rule "{start}" begins with itself')
            if name not in seen:
                seen.add(name)
                waiting += first[name]


def _leading(body: list[tuple[str, str]]) -> set[str]:
    """The rules with which this one may begin, at least the plain ones; the engine finds the others."""
    found, fresh = set[str](), True
    for kind, word in body:
        if kind == "name" and fresh:
            found.add(word)
        fresh = word in ("(", "|")
    return found
