"""A JSON Schema as GBNF rules: whatever follows them fulfils the schema, and what cannot be said so is refused.

Properties come in the order in which the schema names them, those that need not be there left out or not. An object
that names properties gets no others, unless `additionalProperties` says so. Items that must differ are to be constants,
and come in the schema's order.
"""

from collections.abc import Sequence
from math import ceil, floor, lcm
from typing import Any, Final

from a3s_power.core.errors import BadRequest
from a3s_power.output.grammar import formats, json, numbers, regex, valid
from a3s_power.output.grammar.book import Book
from a3s_power.output.grammar.gbnf import Rules, one_text
from a3s_power.output.grammar.objects import Objects
from a3s_power.output.grammar.schema import (
    Never,
    Node,
    Part,
    Schema,
    bounds,
    child,
    decimal,
    least,
    most,
    said,
    types,
)

DEEPEST: Final = 48
_MOST_UNIQUE: Final = 64


def compiled(schema: Schema, rules: Rules) -> str:
    """The name of the rule for the values of a schema.

    Raises:
        BadRequest: the schema is wrong, nothing fulfils it, or it has what cannot be enforced; says what and where.
    """
    root = Part(schema, "$")
    try:
        return Compiler(Book(schema), rules).rule((root,))
    except Never:
        raise BadRequest("invalid format: nothing fulfils the schema") from None
    except RecursionError:
        raise BadRequest("invalid format: the schema is nested too deep to be enforced") from None


class Compiler:
    """Compiles the nodes of one schema; equal nodes once, so that a schema may refer to itself."""

    def __init__(self, book: Book, rules: Rules) -> None:
        self._book = book
        self._rules = rules
        self._names: dict[frozenset[int], str] = {}
        self._never: set[frozenset[int]] = set()
        self._depth = 0

    def rule(self, node: Node) -> str:
        """The rule for values that fulfil a node. Raises Never where there are none."""
        key = frozenset(id(part.schema) for part in node)
        if key in self._never:
            raise Never
        if key not in self._names:
            self._names[key] = name = self._rules.reserve("v")
            bodies = self._inside(node)
            if not bodies:
                self._never.add(key)
                raise Never
            self._rules.define(name, " | ".join(dict.fromkeys(bodies)))
        return self._names[key]

    def _inside(self, node: Node) -> list[str]:
        self._depth += 1
        if self._depth > DEEPEST:
            raise BadRequest(f"invalid format: the schema is nested too deep to be enforced, at {node[0].path}")
        bodies = [body for case in self._book.cases(node) for body in self._case(case)]
        self._depth -= 1
        return bodies

    def _case(self, node: Node) -> list[str]:
        """The bodies for values that fulfil a node without references and choices; none where there are no such."""
        self._book.step()
        constants = self._book.constants(node)
        if constants is not None:
            texts = list(map(json.encoded, constants))
            return [one_text(texts, self._rules)] if texts else []
        allowed = types(node)
        if all(not part.schema for part in node):
            return [json.anything(self._rules)]
        bodies = []
        for kind in ("object", "array", "string", "number", "integer", "boolean", "null"):
            if kind in allowed and not (kind == "integer" and "number" in allowed):
                try:
                    bodies.append(self._of_kind(kind, node))
                except Never:
                    continue
        return bodies

    def _of_kind(self, kind: str, node: Node) -> str:
        match kind:
            case "object":
                return Objects(self, self._book, self._rules, node).body()
            case "array":
                return self._list(node)
            case "string":
                return f'"\\"" {self.text(node)} "\\""'
            case "number" | "integer":
                return self._number(node, whole=kind == "integer")
            case "boolean":
                return '"true" | "false"'
        return '"null"'

    def text(self, node: Node) -> str:
        """What stands between the quotes of a string."""
        shortest, longest = most(node, "minLength"), least(node, "maxLength")
        if longest is not None and longest < shortest:
            raise Never
        form = self._form(node)
        if form is None:
            return self._rules.repeat(json.char(self._rules), shortest, longest).strip() or '""'
        tree, keyword, part = form
        fitting = regex.within(tree, shortest, longest)
        if fitting is None:
            part.refuse(keyword, "not together with minLength or maxLength")
        try:
            return regex.write(fitting, self._rules, json.signs)
        except regex.Unusable as error:
            part.refuse(keyword, f"it {error}")

    def _form(self, node: Node) -> tuple[regex.Node, str, Part] | None:
        """The one pattern or format of a string."""
        found: dict[str, tuple[regex.Node, str, Part]] = {}
        for text, part in said(node, "pattern"):
            found["p" + text] = (self._book.patterns[text], "pattern", part)
        for name, part in said(node, "format"):
            tree = formats.tree(name)
            if tree is not None:
                found["f" + name] = (tree, "format", part)
            elif name not in formats.WITHOUT_FORM:
                part.refuse("format", f'"{name}" is not known')
        if len(found) > 1:
            _, keyword, part = list(found.values())[-1]
            part.refuse(keyword, "not together with another pattern or format")
        return next(iter(found.values()), None)

    def _number(self, node: Node, *, whole: bool) -> str:
        low, high = bounds(node)
        places, factor = 0 if whole else None, 1
        for value, part in said(node, "multipleOf"):
            exact = decimal(value)
            exponent = exact.normalize().as_tuple().exponent
            if not isinstance(exponent, int) or (exponent < 0 and exact.normalize().as_tuple().digits != (1,)):
                part.refuse("multipleOf", "only whole numbers, 0.1, 0.01 and so on can be")
            if exponent >= 0:
                places = 0
                factor = lcm(factor, int(exact))
            else:
                places = -exponent if places is None else min(places, -exponent)
        if factor > 1:
            return self._multiple(factor, node)
        body = numbers.number(low, high, places)
        if body is None:
            raise Never
        return self._rules.add("number", body)

    def _multiple(self, factor: int, node: Node) -> str:
        low, high = bounds(node)
        least_one = None if low is None else ceil(low[0]) + (low[1] and low[0] == ceil(low[0]))
        most_one = None if high is None else floor(high[0]) - (high[1] and high[0] == floor(high[0]))
        try:
            body = numbers.multiple(factor, least_one, most_one, self._rules)
        except numbers.TooMuch:
            next(part for _, part in said(node, "multipleOf")).refuse("multipleOf", "there are too many such numbers")
        if body is None:
            raise Never
        return self._rules.add("number", body)

    def _list(self, node: Node) -> str:
        first, rest = self._places(node)
        shortest, longest = most(node, "minItems"), least(node, "maxItems")
        if rest is None:
            longest = len(first) if longest is None else min(longest, len(first))
        if longest is not None and longest < shortest:
            raise Never
        gap = json.blanks(self._rules)
        if any(value for value, _ in said(node, "uniqueItems")) and (longest is None or longest > 1):
            inside = self._unique(node, first, rest, shortest, longest)
        else:
            inside = self._items(first[:longest], rest, shortest, longest)
        return f'"[" {gap} {inside} "]"'

    def _places(self, node: Node) -> tuple[list[str], str | None]:
        """The rules of the first items, and that of all others; `None` where there may be none."""
        lists = [(part, *valid.places(part.schema)) for part in node]
        first: list[str] = []
        for at in range(max(len(each) for _, each, _ in lists)):
            try:
                first.append(
                    self.rule(
                        tuple(
                            child(
                                part,
                                f"prefixItems[{at}]" if at < len(each) else "items",
                                each[at] if at < len(each) else more,
                            )
                            for part, each, more in lists
                        )
                    )
                )
            except Never:
                return first, None
        try:
            return first, self.rule(tuple(child(part, "items", more) for part, _, more in lists))
        except Never:
            return first, None

    def _items(self, first: Sequence[str], rest: str | None, shortest: int, longest: int | None) -> str:
        """What stands between the brackets, from the last place to the first."""
        gap, comma = json.blanks(self._rules), json.comma(self._rules)
        following = ""
        if rest is not None and (longest is None or longest > len(first)):
            one = self._rules.add("item", f"{comma} {rest}" if first else rest)
            fewest, room = max(0, shortest - len(first)), None if longest is None else longest - len(first)
            if not first:
                more = self._rules.add("item", f"{comma} {rest}")
                times = self._rules.repeat(more, max(0, fewest - 1), None if room is None else room - 1)
                body = f"{one} {times} {gap}"
                return f"({body})?" if shortest == 0 else body
            following = self._rules.repeat(one, fewest, room)
        for at in range(len(first) - 1, -1, -1):
            following = f"{comma if at else ''} {first[at]} {following}{'' if at else f' {gap}'}"
            following = self._rules.add("items", following)
            following = f"{following}?" if at >= shortest else following
        return following

    def _unique(self, node: Node, first: Sequence[str], rest: str | None, shortest: int, longest: int | None) -> str:
        """Different constants, in the schema's order."""
        part = next(part for value, part in said(node, "uniqueItems") if value)
        values = self._constants_of_items(node) if rest is not None and not first else None
        if values is None or len(values) > _MOST_UNIQUE:
            part.refuse("uniqueItems", "only for items out of a short enum")
        longest = len(values) if longest is None else min(longest, len(values))
        if longest < shortest:
            raise Never
        gap, comma = json.blanks(self._rules), json.comma(self._rules)
        # By how many were said, what may follow; from the last value to the first.
        after = {count: "" if shortest <= count <= longest else None for count in range(longest + 1)}
        for value in reversed(values):
            before = dict(after)
            for count in range(longest):
                then = after[count + 1]
                if then is not None:
                    say = f"{comma if count else ''} {json.constant(value)} {then}"
                    skip = after[count]
                    before[count] = self._rules.add("unique", say if skip is None else f"{say} | {skip or chr(34) * 2}")
            after = before
        if after[0] is None:
            raise Never
        return f"{after[0]} {gap}"

    def _constants_of_items(self, node: Node) -> list[Any] | None:
        """The only values that items may have."""
        inside = tuple(child(part, "items", valid.places(part.schema)[1]) for part in node)
        values: list[Any] = []
        for case in self._book.cases(inside):
            constants = self._book.constants(case)
            if constants is None:
                return None
            values += constants
        return list({valid.key(value): value for value in values}.values())
