"""Objects of a JSON Schema as GBNF: properties in order, each there or not, and those that nobody names."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from a3s_power.output.grammar import json, regex, valid
from a3s_power.output.grammar.book import Book
from a3s_power.output.grammar.gbnf import Rules, either, literal, one_of, others
from a3s_power.output.grammar.schema import (
    Never,
    Node,
    Part,
    Schema,
    child,
    least,
    most,
    property_node,
    required,
    said,
)

if TYPE_CHECKING:
    from a3s_power.output.grammar.compile import Compiler

_STRING: Final[Schema] = {"type": "string"}


class Objects:
    """The body for one node's objects."""

    def __init__(self, compiler: "Compiler", book: Book, rules: Rules, node: Node) -> None:
        self._compiler = compiler
        self._book = book
        self._rules = rules
        self._node = node
        self._named = [(part, self._name_cases(part)) for _, part in said(node, "propertyNames")]
        self._allowed = [_names_of([book.constants(case) for case in cases]) for _, cases in self._named]

    def body(self) -> str:
        """Between braces: what must and what may be there. Raises Never where there is no such object."""
        names = self._names()
        needed = set(required(self._node))
        pairs = [(pair, name in needed) for name in names if (pair := self._pair(name, needed)) is not None]
        extra = self._extra(names)
        fewest, longest = most(self._node, "minProperties"), least(self._node, "maxProperties")
        self._check_counts(pairs, extra, fewest, longest)
        gap = json.blanks(self._rules)
        if not pairs and extra is None:
            return f'"{{" {gap} "}}"'
        if not pairs:
            return f'"{{" {gap} {self._only_extra(str(extra), fewest, longest)} "}}"'
        return f'"{{" {gap} {self._chain(pairs, extra, empty=fewest == 0)} "}}"'

    def _names(self) -> list[str]:
        """Every property that is named, in order."""
        names = [name for value, _ in said(self._node, "properties") for name in value]
        return list(dict.fromkeys([*names, *required(self._node), *self._listed()]))

    def _listed(self) -> list[str]:
        """The names that `propertyNames` lists one by one."""
        lists = [allowed for allowed in self._allowed if allowed is not None]
        return list(lists[0]) if lists and self._open() else []

    def _name_cases(self, part: Part) -> list[Node]:
        try:
            return self._book.cases((child(part, "propertyNames", part.schema["propertyNames"]),))
        except Never:
            return []

    def _open(self) -> bool:
        """Whether properties that nobody names may be there."""
        said_so = [value for value, _ in said(self._node, "additionalProperties")]
        if any(value is False for value in said_so):
            return False
        return bool(said_so) or not any(True for _ in said(self._node, "properties"))

    def _pair(self, name: str, needed: set[str]) -> str | None:
        """A property as name and value; `None` for one that cannot be and need not."""
        inside = property_node(name, self._node, self._book.patterns)
        fits = all(
            name in allowed if allowed is not None else any(not self._book.fault(name, case) for case in cases)
            for allowed, (_, cases) in zip(self._allowed, self._named, strict=True)
        )
        value = self._value(inside) if inside is not None and fits else None
        if value is None and name in needed:
            raise Never
        return None if value is None else f"{json.constant(name)} {json.COLON} {value}"

    def _value(self, node: Node) -> str | None:
        """The rule for what a property holds; `None` when there is no such value."""
        try:
            return self._compiler.rule(node) if node else json.anything(self._rules)
        except Never:
            return None

    def _extra(self, names: Sequence[str]) -> str | None:
        """A property that nobody names, as name and value; `None` where there may be none."""
        patterns = {text: part for value, part in said(self._node, "patternProperties") for text in value}
        if patterns:
            return self._by_pattern(patterns, names)
        if not self._open() or any(allowed is not None for allowed in self._allowed):
            return None
        inside = [
            child(part, "additionalProperties", value) for value, part in said(self._node, "additionalProperties")
        ]
        value = self._value(tuple(inside))
        return None if value is None else self._rules.add("pair", f"{self._key(names)} {json.COLON} {value}")

    def _key(self, names: Sequence[str]) -> str:
        """A name that is none of these."""
        if not self._named:
            return f'"\\"" {_none_of(names, self._rules)} "\\""' if names else json.string(self._rules)
        if names:
            self._named[0][0].refuse("propertyNames", "not together with named properties, unless it lists all names")
        node = tuple(child(part, "propertyNames", part.schema["propertyNames"]) for part, _ in self._named)
        cases = [(Part(_STRING, part.path), *case) for part in node[:1] for case in self._book.cases(node)]
        if not cases:
            raise Never
        return either(f'"\\"" {self._compiler.text(case)} "\\""' for case in cases)

    def _by_pattern(self, patterns: dict[str, Part], names: Sequence[str]) -> str | None:
        """Names after a pattern. What is not after one is never said, even where it might be."""
        text, part = next(iter(patterns.items()))
        if len(patterns) > 1:
            part.refuse("patternProperties", "only one pattern can be")
        tree = self._book.patterns[text]
        if self._named:
            part.refuse("patternProperties", "not together with propertyNames")
        if any(valid.matches(tree, name) for name in names):
            part.refuse("patternProperties", "the pattern fits a named property, too")
        values = [
            child(each, "patternProperties", each.schema["patternProperties"][text])
            if text in each.schema.get("patternProperties", {})
            else child(each, "additionalProperties", each.schema.get("additionalProperties", True))
            for each in self._node
        ]
        value = self._value(tuple(values))
        if value is None:
            return None
        try:
            key = regex.write(tree, self._rules, json.signs)
        except regex.Unusable as error:
            part.refuse("patternProperties", f"the pattern {error}")
        return self._rules.add("pair", f'"\\"" {key} "\\"" {json.COLON} {value}')

    def _check_counts(
        self, pairs: Sequence[tuple[str, bool]], extra: str | None, fewest: int, longest: int | None
    ) -> None:
        """Refuse limits that would need counting among different properties."""
        needed = sum(must for _, must in pairs)
        if (longest is not None and longest < max(needed, fewest)) or (extra is None and fewest > len(pairs)):
            raise Never
        if fewest > max(needed, 1):
            next(part for _, part in said(self._node, "minProperties")).refuse("minProperties", "not for more than one")
        if longest is not None and pairs and (extra is not None or longest < len(pairs)):
            part = next(part for _, part in said(self._node, "maxProperties"))
            part.refuse("maxProperties", "not together with named properties")

    def _only_extra(self, pair: str, fewest: int, longest: int | None) -> str:
        if longest == 0:
            return ""
        more = self._rules.add("pairs", f"{json.comma(self._rules)} {pair}")
        times = self._rules.repeat(more, max(0, fewest - 1), None if longest is None else longest - 1)
        body = f"{pair} {times} {json.blanks(self._rules)}"
        return f"({body})?" if fewest == 0 else body

    def _chain(self, pairs: Sequence[tuple[str, bool]], extra: str | None, *, empty: bool) -> str:
        """The properties in order, left out or not; two rules for each: as the first one said, and behind others."""
        comma, gap = json.comma(self._rules), json.blanks(self._rules)
        more = self._rules.add("pairs", f"{comma} {extra}") if extra else ""
        behind = f"{more}* {gap}" if extra else gap
        leading: str | None = f"({extra} {behind})?" if extra and empty else f"{extra} {behind}" if extra else None
        if extra is None and empty:
            leading = '""'
        for pair, must in reversed(pairs):
            said_first = f"{pair} {behind}"
            if must or leading is None:
                leading = self._rules.add("first", said_first)
            else:
                leading = self._rules.add("first", f"{said_first} | {leading}")
            behind = self._rules.add("next", f"{comma} {pair} {behind}" + ("" if must else f" | {behind}"))
        return str(leading)


def _names_of(lists: Sequence[list[Any] | None]) -> dict[str, None] | None:
    """The names in these lists, in order; `None` where one of them is open."""
    if any(each is None for each in lists):
        return None
    return dict.fromkeys(name for each in lists for name in each or () if isinstance(name, str))


def _none_of(names: Sequence[str], rules: Rules) -> str:
    """What stands between the quotes of a name that is none of these; it is said without escapes."""
    plain = [name for name in names if json.encoded(name) == f'"{name}"']
    return _differing(tuple(sorted(set(plain))), rules)


def _differing(names: Sequence[str], rules: Rules) -> str:
    """Any text but these: sign by sign, until it has left them all."""
    sign = rules.add("plain", json.signs(others(((0, 0x1F), (0x22, 0x22), (0x5C, 0x5C)))))
    after: dict[str, list[str]] = {}
    for name in names:
        if name:
            after.setdefault(name[0], []).append(name[1:])
    ways = [] if "" in names else ['""']
    ways += [f"{literal(first)} {_differing(rest, rules)}" for first, rest in after.items()]
    leaving = others(
        tuple(sorted([(0, 0x1F), (0x22, 0x22), (0x5C, 0x5C), *((ord(each), ord(each)) for each in after)]))
    )
    ways.append(f"{one_of(leaving)} {sign}*")
    return rules.add("key", " | ".join(ways))
