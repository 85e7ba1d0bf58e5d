"""A JSON Schema as a book to look things up in: references followed, `allOf` joined, choices taken apart into cases."""

from collections.abc import Sequence
from typing import Any, Final

from a3s_power.core.errors import BadRequest
from a3s_power.output.grammar import ambiguity, valid
from a3s_power.output.grammar.regex import Node as Pattern
from a3s_power.output.grammar.regex import Unusable, read
from a3s_power.output.grammar.schema import (
    OWN,
    Never,
    Node,
    Part,
    Schema,
    bounds,
    check,
    child,
    property_node,
    required,
    said,
    types,
)

MOST_STEPS: Final = 20_000
MOST_CASES: Final = 256
DEEPEST: Final = 48


class Book:
    """One schema with everything in it that can be referred to.

    Raises:
        BadRequest: from any method: a keyword that is wrong or cannot be enforced, or too much of everything.
    """

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._plain: dict[int, Part] = {}
        self._steps = 0
        self.patterns: dict[str, Pattern] = {}

    def step(self) -> None:
        """Count a piece of work."""
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise BadRequest("invalid format: the schema is too large to be enforced")

    def cases(self, node: Node, above: frozenset[int] = frozenset()) -> list[Node]:
        """All ways to fulfil a node, each a conjunction without references and choices. None when there is no way."""
        if len(above) > DEEPEST:
            node[0].refuse("anyOf", "too many choices inside each other")
        try:
            plain, choices = self._flat(node, above)
        except Never:
            return []
        found = [plain]
        for part, keyword, seen in choices:
            ways = [self.cases((branch,), seen) for branch in _children(part, keyword)]
            if keyword == "oneOf":
                self._apart(part, plain, ways)
            found = [_joined(case, way) for case in found for branch in ways for way in branch]
            if len(found) > MOST_CASES:
                part.refuse(keyword, "too many combinations")
        return found

    def _flat(self, node: Node, above: frozenset[int]) -> tuple[Node, list[tuple[Part, str, frozenset[int]]]]:
        """The shares of a node without what they refer to, and its choices."""
        plain: dict[int, Part] = {}
        choices = list[tuple[Part, str, frozenset[int]]]()
        waiting = [(part, above) for part in reversed(node)]
        while waiting:
            part, before = waiting.pop()
            self.step()
            here = id(part.schema)
            if here in before:
                part.refuse("$ref", "it leads back to itself")
            inside = before | {here}
            own = self._own(part)
            plain[id(own.schema)] = own
            choices += [(part, keyword, inside) for keyword in ("anyOf", "oneOf") if keyword in part.schema]
            following = [self._target(part)] if "$ref" in part.schema else []
            following += _children(part, "allOf") if "allOf" in part.schema else []
            waiting += [(each, inside) for each in reversed(following)]
        return tuple(plain.values()), choices

    def _own(self, part: Part) -> Part:
        """What a schema says by itself, checked once."""
        found = self._plain.get(id(part.schema))
        if found is None:
            check(part)
            own = {key: value for key, value in part.schema.items() if key in OWN}
            if part.schema.get("nullable") is True and isinstance(own.get("type"), str):
                own["type"] = [own["type"], "null"]
            found = self._plain[id(part.schema)] = Part(own, part.path)
            self._read_patterns(found)
        return found

    def _read_patterns(self, part: Part) -> None:
        """Keep the trees of a schema's regular expressions."""
        texts = [("pattern", part.schema["pattern"])] if "pattern" in part.schema else []
        texts += [("patternProperties", text) for text in part.schema.get("patternProperties", ())]
        for keyword, text in texts:
            if text not in self.patterns:
                try:
                    self.patterns[text] = tree = read(text, whole=False)
                    ambiguity.check(tree)
                except Unusable as error:
                    part.refuse(keyword, f"the pattern {error}")

    def _target(self, part: Part) -> Part:
        reference: str = part.schema["$ref"]
        if reference != "#" and not reference.startswith("#/"):
            part.refuse("$ref", "only what is in the same schema can be referred to")
        found: Any = self._root
        for key in reference[1:].split("/")[1:]:
            name = _unquoted(key)
            if isinstance(found, dict) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            else:
                part.refuse("$ref", f"there is nothing at {reference}")
        return child(part, "$ref", found, "$" + reference[1:].replace("/", "."))

    def _apart(self, part: Part, plain: Node, ways: Sequence[Sequence[Node]]) -> None:
        """Refuse branches of `oneOf` of which a value may fulfil two."""
        for second in range(len(ways)):
            for first in range(second):
                for one in ways[first]:
                    for other in ways[second]:
                        self.step()
                        both = _joined(plain, one), _joined(plain, other)
                        if not self._differ(*both, DEEPEST) and not (_lacks(*both) and _lacks(*both[::-1])):
                            part.refuse("oneOf", f"a value might fulfil both the branches {first} and {second}")

    def _differ(self, one: Node, other: Node, depth: int) -> bool:
        """Whether surely no value fulfils both."""
        self.step()
        if not _overlap(types(one, implied=False), types(other, implied=False)):
            return True
        one_values, other_values = self.constants(one), self.constants(other)
        if one_values is not None and all(self.fault(value, other) for value in one_values):
            return True
        if other_values is not None and all(self.fault(value, one) for value in other_values):
            return True
        kinds = types(one, implied=False) & types(other, implied=False)
        if kinds == {"object"} and depth > 0:
            return any(self._differ_in(name, one, other, depth) for name in required((*one, *other)))
        if kinds and kinds <= {"number", "integer"}:
            return _below(one, other) or _below(other, one)
        return False

    def _differ_in(self, name: str, one: Node, other: Node, depth: int) -> bool:
        """Whether the two differ in a property that one of them asks for."""
        mine, theirs = property_node(name, one), property_node(name, other)
        if mine is None or theirs is None:
            return True
        return all(
            self._differ(first, second, depth - 8) for first in self.cases(mine) for second in self.cases(theirs)
        ) and bool(mine and theirs)

    def constants(self, node: Node) -> list[Any] | None:
        """The only values that a node without choices allows, where it names them."""
        lists = [[value] for value, _ in said(node, "const")] + [value for value, _ in said(node, "enum")]
        if not lists:
            return None
        common = {valid.key(value): value for value in lists[0]}
        for values in lists[1:]:
            keys = set(map(valid.key, values))
            common = {key: value for key, value in common.items() if key in keys}
        rest = tuple(Part(_without_constants(part.schema), part.path) for part in node)
        return [value for value in common.values() if not self.fault(value, rest)]

    def fault(self, value: Any, node: Node) -> str:  # noqa: ANN401 -- JSON is anything
        """What is wrong with a value; empty when nothing is."""
        judge = valid.Judge(self._root, self.patterns)
        return next((fault for part in node if (fault := judge.fault(value, part.schema))), "")


def _children(part: Part, keyword: str) -> list[Part]:
    """The branches of `anyOf` and its like; of those that are `false`, `allOf` raises Never."""
    found = []
    for at, value in enumerate(part.schema[keyword]):
        try:
            found.append(child(part, keyword, value, f"{part.path}.{keyword}[{at}]"))
        except Never:
            if keyword == "allOf":
                raise
    return found


def _joined(one: Node, other: Node) -> Node:
    """Both, nothing twice."""
    return tuple({id(part.schema): part for part in (*one, *other)}.values())


def _without_constants(schema: Schema) -> Schema:
    return {keyword: value for keyword, value in schema.items() if keyword not in ("enum", "const")}


def _overlap(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one & other)


def _lacks(one: Node, other: Node) -> bool:
    """Whether what is written for one has not all properties that the other asks for, since it has only named ones."""
    if types(one) & types(other) != {"object"} or any(True for _ in said(one, "patternProperties")):
        return False
    named = {name for value, _ in said(one, "properties") for name in value}
    extra = [value for value, _ in said(one, "additionalProperties")]
    is_open = any(value is not False for value in extra) or (not named and False not in extra)
    return not is_open and bool(set(required(other)) - named - set(required(one)))


def _below(one: Node, other: Node) -> bool:
    """Whether all numbers of one are less than all of the other."""
    high, low = bounds(one)[1], bounds(other)[0]
    return bool(high and low and (high[0] < low[0] or (high[0] == low[0] and (high[1] or low[1]))))


def _unquoted(key: str) -> str:
    """A step of a JSON pointer, as RFC 6901 says, of a URI."""
    text = key
    if "%" in key:
        quoted = key.split("%")
        pieces = [quoted[0].encode()]
        for piece in quoted[1:]:
            try:
                pieces.append(bytes([int(piece[:2], 16)]) + piece[2:].encode())
            except ValueError:
                return key
        text = b"".join(pieces).decode(errors="replace")
    return text.replace("~1", "/").replace("~0", "~")
