"""What a hostile template may spend: time, the size of one value, and all that it makes. Every operation asks first.

A template runs in a thread that nobody can stop, so nothing in it may take long or grow large between two questions.
The rule that makes this cheap: no value is ever larger than `room`, counted with everything inside it. Values grow only
where something is put together, so only there they are weighed.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final

from a3s_power.core import limits
from a3s_power.core.errors import BadTemplate

NOT_ALLOWED: Final = "template not allowed"
TOO_MUCH: Final = "template makes too much text"

_CELL: Final = 8
"""Bytes that a place in a list, or a small value, counts for."""
_OVERHEAD: Final = 48
"""Bytes that a text or a container costs before anything is in it."""
_VALUES_AT_ONCE: Final = 4
"""A prompt may hold what the caller sent so many times: tools, say, once in the system message and once as examples."""
_VALUES_IN_ALL: Final = 16
"""All that is made on the way, thrown away or not, may come to so many times `room`."""
_TIME_FOR_WORK: Final = 0.8
"""The share of the time after which nothing more is begun: what was begun last must end in the rest of it."""
_LONGEST_RANGE: Final = 100_000
_INTEGER_BITS: Final = 4096
_WIDEST: Final = 999
"""The widest field of a format, in characters."""

_PERCENT = re.compile(r"%(?:\([^()]*\))?[-+ #0]*(\*|\d*)(?:\.(\*|\d*))?")
_DIGITS = re.compile(r"\d+")


class Budget:
    """What is left of time (seconds, on the monotonic clock) and of bytes."""

    __slots__ = ("_clock", "_deadline", "_left", "room")

    def __init__(
        self,
        values: object,
        *,
        seconds: float = limits.RENDER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`values` are what the template is given; what it may make is measured by them."""
        self.room: Final = limits.RENDER_EXTRA_BYTES + _VALUES_AT_ONCE * weigh(values)
        self._left = _VALUES_IN_ALL * self.room
        self._clock = clock
        self._deadline = clock() + _TIME_FOR_WORK * seconds

    def step(self, size: int = 0) -> None:
        """Go on, holding `size` more bytes. Raises BadTemplate when the time or the bytes are used up."""
        self._left -= size
        if self._left < 0:
            raise BadTemplate(TOO_MUCH)
        if self._clock() > self._deadline:
            raise BadTemplate("template takes too long")

    def spend(self, size: int) -> None:
        """Make something of `size` bytes. Raises BadTemplate when that is too much, by itself or with the rest."""
        if size > self.room:
            raise BadTemplate(TOO_MUCH)
        self.step(size + _OVERHEAD)

    def keep(self, value: Any) -> Any:  # noqa: ANN401 -- any value of a template
        """The value, which has just been made, as long as it is not too large."""
        if isinstance(value, str):
            self.spend(len(value))
        elif isinstance(value, dict | list | tuple):
            self.step(_OVERHEAD + _CELL * len(value))
            self.check(value)
        return value

    def each(self, values: Iterable[Any]) -> Iterator[Any]:
        """The values one by one, each a step."""
        for value in values:
            self.step(_CELL)
            yield value

    def check(self, value: object) -> None:
        """Raise BadTemplate for a value that is too large to be kept or printed."""
        if weigh(value, self.room) > self.room:
            raise BadTemplate(TOO_MUCH)


CURRENT: Final[ContextVar[Budget]] = ContextVar("CURRENT")
"""The budget of the rendering that runs in this thread."""


def weigh(value: object, limit: int | None = None) -> int:
    """Bytes of a value with everything inside it, each place counted; not much further than `limit`."""
    total, waiting = 0, [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, str):
            total += len(found) + _CELL
        elif isinstance(found, dict):
            total += _OVERHEAD
            waiting += found.keys()
            waiting += found.values()
        elif isinstance(found, list | tuple):
            total += _OVERHEAD
            waiting += found
        else:
            total += _CELL
        if limit is not None and total > limit:
            break
    return total


def add(budget: Budget, left: Any, right: Any) -> Any:  # noqa: ANN401 -- as the template's `+`
    """`left + right`."""
    grows = isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple)
    if grows:
        budget.spend(len(left) + len(right))
    made = left + right
    return made if isinstance(made, str) else budget.keep(small(made))


def multiply(budget: Budget, left: Any, right: Any) -> Any:  # noqa: ANN401 -- as the template's `*`
    """`left * right`."""
    if isinstance(left, str | list | tuple) or isinstance(right, str | list | tuple):
        several, times = (left, right) if not isinstance(left, int) else (right, left)
        budget.spend(max(times, 0) * (len(several) if isinstance(several, str) else weigh(several)))
    return small(left * right)


def power(budget: Budget, left: Any, right: Any) -> Any:  # noqa: ANN401, ARG001 -- as the template's `**`
    """`left ** right`."""
    if isinstance(left, int) and isinstance(right, int) and abs(left).bit_length() * abs(right) > _INTEGER_BITS:
        raise BadTemplate("template makes too large a number")
    return left**right


def modulo(budget: Budget, left: Any, right: Any) -> Any:  # noqa: ANN401 -- as the template's `%`
    """`left % right`: the rest of a division, or a text formatted."""
    if not isinstance(left, str):
        return left % right
    _check_widths(width for found in _PERCENT.finditer(left) for width in found.groups(""))
    budget.spend(len(left) + left.count("%") * (weigh(right, budget.room) + _WIDEST))
    return left % right


def small(value: Any) -> Any:  # noqa: ANN401 -- any value of a template
    """The value, unless it is a number too large to be counted with."""
    if isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
        raise BadTemplate("template makes too large a number")
    return value


def check_format(budget: Budget, form: str, values: object) -> None:
    """Raise BadTemplate unless `str.format` of these makes a text of a bearable size."""
    fields = form.count("{")
    budget.spend(len(form) + fields * (weigh(values, budget.room) + _WIDEST))


def check_field(spec: str) -> None:
    """Raise BadTemplate for a width in a format that is no width."""
    _check_widths(_DIGITS.findall(spec))


def _check_widths(widths: Iterable[str]) -> None:
    if any(width == "*" or len(width) > len(str(_WIDEST)) for width in widths):
        raise BadTemplate(TOO_MUCH)


def join(budget: Budget, separator: str, values: Iterable[Any]) -> str:
    """`separator.join(values)`; each value is a text or becomes one."""
    pieces, size = [], 0
    for value in budget.each(values):
        piece = value if isinstance(value, str) else text(budget, value)
        pieces.append(piece)
        size += len(piece) + len(separator)
        if size > budget.room:
            raise BadTemplate(TOO_MUCH)
    budget.spend(size)
    return separator.join(pieces)


def text(budget: Budget, value: object) -> str:
    """The value as it is printed."""
    budget.step()
    if isinstance(value, dict | list | tuple):
        budget.check(value)
    made = str(value)
    budget.spend(len(made))
    return made


def replace(budget: Budget, source: str, old: str, new: str, count: int = -1) -> str:
    """`source.replace(old, new, count)`."""
    if len(new) > len(old):
        found = source.count(old) if count < 0 else min(source.count(old), count)
        budget.spend(len(source) + found * len(new))
    return source.replace(old, new, count)


def padded(name: str) -> Callable[..., str]:
    """`center`, `ljust`, `rjust` or `zfill` of a text."""
    method = getattr(str, name)

    def pad(budget: Budget, source: str, width: int = 80, *fill: str) -> str:
        budget.spend(max(width, len(source)))
        made: str = method(source, width, *fill)
        return made

    return pad


def limited_range(*bounds: int) -> range:
    """`range(*bounds)`, of a bearable length."""
    made = range(*bounds)
    if len(made) > _LONGEST_RANGE:
        raise BadTemplate(f"template counts further than {_LONGEST_RANGE}")
    return made


def key(budget: Budget, value: Any) -> Any:  # noqa: ANN401 -- any value of a template
    """A value that is looked for. Tuples are refused: hashing nested ones is recursion in C without an end."""
    budget.step()
    if isinstance(value, tuple):
        raise BadTemplate(NOT_ALLOWED)
    return value


def mapping(budget: Budget, sources: Iterable[Any], named: Mapping[str, Any]) -> dict[Any, Any]:
    """`dict(*sources, **named)`."""
    made: dict[Any, Any] = {}
    for source in sources:
        pairs = source.items() if isinstance(source, dict) else source
        made |= {key(budget, name): value for name, value in budget.each(pairs)}
    return {**made, **named}


METHODS: Final[Mapping[str, Callable[..., Any]]] = {
    "replace": replace,
    "join": join,
    **{name: padded(name) for name in ("center", "ljust", "rjust", "zfill")},
}
"""Methods of a text that can make more than they are given."""
