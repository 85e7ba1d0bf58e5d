"""Filters and tests: jinja2's own where they only take away, ours where they could make more than they are given."""

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

from jinja2 import Environment, filters, pass_environment, tests

from a3s_power.core.errors import BadTemplate
from a3s_power.prompt.jinja import budget as bounds
from a3s_power.prompt.jinja.budget import CURRENT

_JINJA_TESTS: Final = cast("dict[str, Callable[..., Any]]", tests.TESTS)
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&#39;", '"': "&#34;"})
_WIDEST_INDENT: Final = 16
_MOST_DIGITS: Final = 20


def _stepped(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter or test, when there is time for it."""

    @functools.wraps(function)
    def asking(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- as the filter
        CURRENT.get().step()
        return function(*args, **kwargs)

    return asking


def _kept(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, when there is time for it, and its result weighed."""

    @functools.wraps(function)
    def weighed(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- as the filter
        budget = CURRENT.get()
        budget.step()
        return budget.keep(function(*args, **kwargs))

    return weighed


def _plain(name: str) -> Callable[..., Any]:
    """jinja2's own filter, in its form for code that does not wait."""
    return cast("Callable[..., Any]", getattr(filters, f"sync_do_{name}", filters.FILTERS[name]))


def _as_text(value: Any) -> str:  # noqa: ANN401 -- any value of a template
    return value if isinstance(value, str) else bounds.text(CURRENT.get(), value)


def printed(value: Any) -> Any:  # noqa: ANN401 -- any value of a template
    """What an output prints: texts and numbers as they are, the rest weighed first."""
    return value if isinstance(value, str | int | float | None) else _as_text(value)


@pass_environment
def _join(environment: Environment, values: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    if attribute is not None:
        values = map(filters.make_attrgetter(environment, attribute), values)
    return bounds.join(CURRENT.get(), str(d), values)


def _batch(value: Iterable[Any], linecount: int, fill_with: Any = None) -> list[list[Any]]:  # noqa: ANN401 -- as jinja2's
    budget = CURRENT.get()
    if fill_with is not None:
        budget.spend(linecount * bounds.weigh(fill_with))
    return list(budget.each(filters.do_batch(value, linecount, fill_with)))


def _slice(value: Iterable[Any], slices: int, fill_with: Any = None) -> list[list[Any]]:  # noqa: ANN401 -- as jinja2's
    budget = CURRENT.get()
    budget.spend(slices * bounds.weigh([fill_with]))
    return list(budget.each(filters.sync_do_slice(list(budget.each(value)), slices, fill_with)))


@pass_environment
def _unique(
    environment: Environment,
    value: Iterable[Any],
    case_sensitive: bool = False,  # noqa: FBT001, FBT002 -- as jinja2's
    attribute: str | int | None = None,
) -> list[Any]:
    fold = None if case_sensitive else filters.ignore_case
    getter = filters.make_attrgetter(environment, attribute, postprocess=fold)
    budget = CURRENT.get()
    seen: dict[Any, Any] = {}
    for item in budget.each(value):
        seen.setdefault(bounds.key(budget, getter(item)), item)
    return list(seen.values())


@pass_environment
def _sum(environment: Environment, values: Iterable[Any], attribute: str | int | None = None, start: Any = 0) -> Any:  # noqa: ANN401
    budget = CURRENT.get()
    items = values if attribute is None else map(filters.make_attrgetter(environment, attribute), values)
    return functools.reduce(functools.partial(bounds.add, budget), budget.each(items), start)


def _indent(value: Any, width: int | str = 4, *lines: bool, **named: bool) -> str:  # noqa: ANN401 -- any value
    text = _as_text(value)
    wide = width if isinstance(width, int) else len(width)
    CURRENT.get().spend(len(text) + (text.count("\n") + 1) * wide)
    return filters.do_indent(text, width, *lines, **named)


def _replace(value: Any, old: str, new: str, count: int | None = None) -> str:  # noqa: ANN401 -- any value
    return bounds.replace(CURRENT.get(), _as_text(value), str(old), str(new), -1 if count is None else count)


def _format(value: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- as the `%` operator
    return bounds.modulo(CURRENT.get(), _as_text(value), kwargs or args)


def _int(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 -- as jinja2's
    return bounds.small(filters.do_int(*args, **kwargs))


def _round(value: Any, precision: int = 0, method: Any = "common") -> float:  # noqa: ANN401 -- any value, and a word
    # A text would be repeated, as often as there are decimals.
    if not isinstance(value, int | float) or abs(precision) > _MOST_DIGITS:
        raise BadTemplate("template rounds what is no number, or to too many digits")
    return filters.do_round(value, precision, method)


def _escape(value: Any) -> str:  # noqa: ANN401 -- any value
    return _as_text(value).translate(_ESCAPES)


def _center(value: Any, width: int = 80) -> str:  # noqa: ANN401 -- any value
    return bounds.padded("center")(CURRENT.get(), _as_text(value), width)


def _to_json(
    value: object,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 -- as Transformers has it
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002 -- as Transformers has it
) -> str:
    """`tojson` as Transformers has it: characters as they are, nothing escaped for HTML."""
    if not 0 <= (indent or 0) <= _WIDEST_INDENT or sum(map(len, separators or ())) > _WIDEST_INDENT:
        raise BadTemplate("template spreads JSON too wide")
    encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    if indent is not None:
        return bounds.join(CURRENT.get(), "", encoder.iterencode(value))
    text = encoder.encode(value)
    CURRENT.get().spend(len(text))
    return text


_HARMLESS: Final = (
    *("abs", "attr", "count", "d", "default", "first", "float", "items", "last", "length", "max", "min", "wordcount"),
    *("map", "reject", "rejectattr", "select", "selectattr"),
)
_GROWING: Final = (
    "capitalize",
    "dictsort",
    "groupby",
    "lower",
    "reverse",
    "sort",
    "title",
    "trim",
    "truncate",
    "upper",
)

FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    **{name: _stepped(_plain(name)) for name in _HARMLESS},
    **{name: _kept(_plain(name)) for name in _GROWING},
    "batch": _kept(_batch),
    "center": _center,
    "e": _kept(_escape),
    "escape": _kept(_escape),
    "format": _format,
    "indent": _indent,
    "int": _stepped(_int),
    "join": _join,
    "list": _kept(lambda value: list(CURRENT.get().each(value))),
    "replace": _replace,
    "round": _stepped(_round),
    "safe": _as_text,
    "slice": _kept(_slice),
    "string": _as_text,
    "sum": _sum,
    "tojson": _stepped(_to_json),
    "unique": _kept(_unique),
    # Put in by `tree`; no template can write their names.
    " concat": lambda values: bounds.join(CURRENT.get(), "", values),
    " keep": lambda value: CURRENT.get().keep(value),
    " key": lambda value: bounds.key(CURRENT.get(), value),
    " step": lambda size: CURRENT.get().step(size),
    " value": _stepped(lambda value: value),
}

FORBIDDEN: Final = frozenset(filters.FILTERS) - frozenset(FILTERS)
"""Filters that jinja2 has and templates here do not: they read chance, or make much of little."""

TESTS: Final[Mapping[str, Callable[..., Any]]] = {
    **{name: _stepped(test) for name, test in _JINJA_TESTS.items()},
    "divisibleby": lambda value, number: bounds.modulo(CURRENT.get(), value, number) == 0,
    "even": lambda value: bounds.modulo(CURRENT.get(), value, 2) == 0,
    "odd": lambda value: bounds.modulo(CURRENT.get(), value, 2) == 1,
    "in": lambda value, values: _JINJA_TESTS["in"](bounds.key(CURRENT.get(), value), values),
}
