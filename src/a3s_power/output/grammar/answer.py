"""What an answer must be, and the grammar for it: thinking where there may be some, then answer or calls."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from a3s_power.core.errors import BadRequest
from a3s_power.core.messages import Format, Tool, ToolChoice
from a3s_power.output.grammar import ambiguity, json, raw, regex
from a3s_power.output.grammar.calls import Form, calls
from a3s_power.output.grammar.compile import compiled
from a3s_power.output.grammar.gbnf import Rules, either, literal, one_of, one_text
from a3s_power.output.grammar.marks import until
from a3s_power.output.grammar.valid import Judge

MOST_CHOICES: Final = 1_000
MOST_CHOICE_SIGNS: Final = 100_000


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer must be: at most one of these."""

    format: Format = None
    grammar: str = ""
    choices: tuple[str, ...] = ()
    pattern: str = ""

    def __bool__(self) -> bool:
        return bool(self.format is not None or self.grammar or self.choices or self.pattern)

    def check(self) -> None:
        """Raise BadRequest for what cannot be enforced, and for more than one."""
        asked = {
            "format": self.format is not None,
            "grammar": bool(self.grammar),
            "choices": bool(self.choices),
            "pattern": bool(self.pattern),
        }
        several = [name for name, there in asked.items() if there]
        if len(several) > 1:
            raise BadRequest(f"{' and '.join(several)} cannot be asked for together")
        if several:
            self.write(Rules())

    def write(self, rules: Rules) -> str:
        """The body for the answer alone."""
        if self.grammar:
            return raw.renamed(self.grammar, rules)
        if self.choices:
            return _choices(self.choices, rules)
        if self.pattern:
            return _pattern(self.pattern, rules)
        if self.format == "json" or self.format is None:
            return json.any_object(rules)
        return compiled(self.format, rules)

    def fault(self, text: str) -> str:
        """What is wrong with a finished answer; empty when nothing is."""
        if self.choices:
            return "" if text in self.choices else "it is none of the choices"
        if self.pattern:
            matched = regex.matches(regex.read(self.pattern, whole=True), text)
            return "" if matched else "it does not match the pattern"
        if self.format is None:
            return ""
        try:
            value: Any = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            return f"it is no JSON: {error}"
        if self.format == "json":
            return "" if isinstance(value, dict) else "it is no JSON object"
        return Judge(self.format).fault(value)


def _choices(choices: Sequence[str], rules: Rules) -> str:
    if len(choices) > MOST_CHOICES or sum(map(len, choices)) > MOST_CHOICE_SIGNS:
        raise BadRequest(f"too many choices: the limits are {MOST_CHOICES} and {MOST_CHOICE_SIGNS} signs")
    if "" in choices:
        raise BadRequest("choices must not be empty texts")
    return one_text(list(dict.fromkeys(choices)), rules)


def _pattern(pattern: str, rules: Rules) -> str:
    try:
        tree = regex.read(pattern, whole=True)
        ambiguity.check(tree)
        return rules.add("pattern", regex.write(tree, rules, one_of))
    except regex.Unusable as error:
        raise BadRequest(f"the pattern cannot be enforced: it {error}") from None


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Where in an answer thinking stands and where the rest.

    `thinking` is the pair of marks around it, `None` where none may be; `opened` says that the prompt ended inside.
    `joint` stands between thinking and the rest, `before` and `after` around text that is no call. `without` are marks
    that thinking may not hold.
    """

    thinking: tuple[str, str] | None = None
    opened: bool = False
    joint: str = ""
    before: str = ""
    after: str = ""
    without: tuple[str, ...] = ()


class Calling(msgspec.Struct, frozen=True, kw_only=True):
    """The tools that may, or must, be called. `names` are those the prompt knows them by."""

    form: Form
    tools: Sequence[Tool]
    choice: ToolChoice
    several: bool = True
    names: Mapping[str, str] = {}


def grammar(wanted: Wanted, layout: Layout, calling: Calling | None, note: Callable[[str], None]) -> str:
    """The grammar of a whole answer: what is wanted, or calls, or only calls where one must be.

    `note` is told what could not be enforced of the arguments.

    Raises:
        BadRequest: it cannot be enforced.
    """
    rules = Rules()
    ways = []
    if wanted:
        ways.append(f"{_text(layout.before)} {wanted.write(rules)} {_text(layout.after)}")
    if calling is not None:
        must = calling.choice.mode == "required"
        called = calls(
            calling.form,
            calling.tools,
            rules,
            choice=calling.choice,
            several=calling.several,
            names=calling.names,
            note=note,
        )
        ways = [called] if must else [*ways, called]
    mark = calling.form.mark if calling is not None else ""
    return rules.text(f"{_thinking(layout, rules, mark)} {either(ways)}")


def _thinking(layout: Layout, rules: Rules, mark: str) -> str:
    """One stretch of thinking, or none where the prompt has not begun one."""
    if layout.thinking is None:
        return ""
    opening, closing = layout.thinking
    without = [each for each in (opening, mark, *layout.without) if each and each != closing]
    inside = f"{until(closing, rules, without=without)} [\\n ]{{0,3}} {_text(layout.joint)}"
    return inside if layout.opened else f"({literal(opening)} {inside})?"


def _text(text: str) -> str:
    return literal(text) if text else ""
