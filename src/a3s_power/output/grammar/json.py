"""JSON as GBNF: values of any kind, strings and the blanks between them. No grammar here lets blanks go on for ever."""

from typing import Any, Final

import msgspec

from a3s_power.output.grammar.gbnf import Ranges, Rules, common, either, literal, one_of

COLON: Final = '":" " "?'
_PLAIN: Final = ((0x20, 0x21), (0x23, 0x5B), (0x5D, 0xD7FF), (0xE000, 0x10FFFF))
_ESCAPED: Final = {0x22: '"', 0x5C: "\\", 0x08: "b", 0x0C: "f", 0x0A: "n", 0x0D: "r", 0x09: "t"}
# A lone surrogate is no text, so that none is ever written as \uD8….
_BY_CODE: Final = '"u" ([0-9A-CE-Fa-ce-f] [0-9A-Fa-f]{3} | [Dd] [0-7] [0-9A-Fa-f]{2})'
NUMBER: Final = '"-"? ("0" | [1-9] [0-9]{0,14}) ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?'


def blanks(rules: Rules) -> str:
    """What may stand between the parts of a value: nothing, a blank, or a new line and how far that is moved in."""
    return rules.add("blanks", '"" | " " | "\\n" [ \\t]{0,32}')


def comma(rules: Rules) -> str:
    """A comma and the blanks behind it."""
    return rules.add("comma", f'"," {blanks(rules)}')


def char(rules: Rules) -> str:
    """One sign of a string."""
    return rules.add("char", f'{one_of(_PLAIN)} | "\\\\" ([\\x22\\\\/bfnrt] | {_BY_CODE})')


def signs(ranges: Ranges) -> str:
    """One sign of a string, out of these; control signs that JSON has no letter for are left out."""
    plain = common(ranges, _PLAIN)
    ways = [one_of(plain)] if plain else []
    for code, letter in _ESCAPED.items():
        if any(low <= code <= high for low, high in ranges):
            ways.append(literal("\\" + letter))
    return either(ways) if ways else ""


def string(rules: Rules) -> str:
    """Any string."""
    return rules.add("string", f'"\\"" {char(rules)}* "\\""')


def constant(value: Any) -> str:  # noqa: ANN401 -- JSON is anything
    """Exactly this value."""
    return literal(encoded(value))


def encoded(value: Any) -> str:  # noqa: ANN401
    """A value as JSON."""
    return msgspec.json.encode(value).decode()


def anything(rules: Rules) -> str:
    """Any value."""
    return _values(rules)[0]


def any_object(rules: Rules) -> str:
    """Any object."""
    return _values(rules)[1]


def _values(rules: Rules) -> tuple[str, ...]:
    """The names of the rules for any value and any object."""
    found = rules.known.get("json")
    if found is not None:
        return found
    value, thing, array = rules.reserve("value"), rules.reserve("object"), rules.reserve("list")
    rules.known["json"] = (value, thing)
    gap, more = blanks(rules), comma(rules)
    pair = rules.add("pair", f"{string(rules)} {COLON} {value}")
    rules.define(thing, f'"{{" {gap} ({pair} ({more} {pair})* {gap})? "}}"')
    rules.define(array, f'"[" {gap} ({value} ({more} {value})* {gap})? "]"')
    number = rules.add("number", NUMBER)
    rules.define(value, f'{thing} | {array} | {string(rules)} | {number} | "true" | "false" | "null"')
    return value, thing
