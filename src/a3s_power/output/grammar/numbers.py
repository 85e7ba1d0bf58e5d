"""Numbers within bounds, as GBNF: digits compared sign by sign, since a grammar knows no values."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from a3s_power.output.grammar.gbnf import Rules, either, literal

DIGITS: Final = 16
"""Digits of a number that has no bounds: as many as a 64-bit float holds."""
_ZEROS: Final = 3
"""So many zeros may follow where only zeros may."""
_MOST_STATES: Final = 400
_MOST_VALUES: Final = 500
EMPTY: Final = '""'

Bound = tuple[Decimal, bool]
"""A bound, and whether the number must differ from it."""
ZERO: Final[Bound] = (Decimal(0), False)


def integer(low: int | None, high: int | None) -> str | None:
    """A whole number from `low` to `high`, both allowed; `None` when there is none."""
    found = []
    if low is None or low < 0:
        negative = _natural(max(1, -high if high is not None else 1), None if low is None else -low)
        found += [f'"-" {negative}'] if negative else []
    if high is None or high >= 0:
        positive = _natural(max(0, low or 0), high)
        found += [positive] if positive else []
    return either(found) if found else None


def _natural(low: int, high: int | None) -> str | None:
    """A number without a sign from `low` to `high`."""
    if high is None:
        high = max(10**DIGITS, low * 10) - 1
    if high < low:
        return None
    found = ['"0"'] if low == 0 else []
    low = max(low, 1)
    whole: list[int] = []
    for size in range(len(str(low)), len(str(high)) + 1):
        least, most = max(low, 10 ** (size - 1)), min(high, 10**size - 1)
        if (least, most) == (10 ** (size - 1), 10**size - 1):
            whole.append(size)
        elif least <= most:
            found.append(_between(str(least), str(most)))
    if whole:
        found.append(f"[1-9]{_any(whole[0] - 1, whole[-1] - 1)}")
    return either(found) if found else None


def _any(least: int, most: int) -> str:
    """Any digits, so many."""
    return "" if most <= 0 else f" [0-9]{{{least}}}" if least == most else f" [0-9]{{{least},{most}}}"


def _digit(low: int, high: int) -> str:
    return f"[{low}-{high}]" if low < high else f'"{low}"'


def _between(low: str, high: str) -> str:
    """Digits from `low` to `high`, which have the same size."""
    first, last, rest = int(low[0]), int(high[0]), len(low) - 1
    least, most = "0" * rest, "9" * rest
    if first == last and rest and (low[1:], high[1:]) != (least, most):
        return f'"{first}" {_between(low[1:], high[1:])}'
    found = []
    if low[1:] != least:
        found.append(f'"{first}" {_between(low[1:], most)}')
        first += 1
    if high[1:] != most:
        found.append(f'"{last}" {_between(least, high[1:])}')
        last -= 1
    if first <= last:
        found.append(_digit(first, last) + _any(rest, rest))
    return either(found)


class TooMuch(Exception):
    """More numbers than can be written down."""


def multiple(of: int, low: int | None, high: int | None, rules: Rules) -> str | None:
    """A whole number that `of` divides, from `low` to `high`; `None` when there is none. Raises TooMuch."""
    found = []
    if low is None or low < 0:
        negative = _multiple(of, max(1, -high if high is not None else 1), None if low is None else -low, rules)
        found += [f'"-" {negative}'] if negative else []
    if high is None or high >= 0:
        positive = _multiple(of, max(0, low or 0), high, rules)
        found += [positive] if positive else []
    return either(found) if found else None


def _multiple(of: int, low: int, high: int | None, rules: Rules) -> str | None:
    """As `multiple`, without a sign: written out, by its last digits, or by what is left of the digits so far."""
    if high is not None and (high - low) // of <= _MOST_VALUES:
        values = range(-(-low // of) * of, high + 1, of)
        return either(f'"{value}"' for value in values) if values else None
    zeros = next((size for size in range(40) if 10**size % of == 0), None)
    if zeros is not None and 10**zeros // of <= _MOST_VALUES:
        return _by_end(of, zeros, low, high)
    if high is not None or low > of:
        raise TooMuch
    body = _by_rest(of, rules)
    return either(['"0"', *body]) if low == 0 else either(body)


def _by_end(of: int, size: int, low: int, high: int | None) -> str:
    """By the last digits, before which there may be any."""
    unit = 10**size
    high = max(unit * 10**DIGITS, low * 10) - 1 if high is None else high
    first, last = low // unit, high // unit
    edges = [*range(-(-low // of) * of, (first + 1) * unit, of), *range(last * unit, high + 1, of)]
    inner = _natural(first + 1, last - 1)
    ways = [f'"{value}"' for value in edges if low <= value <= high]
    if inner:
        ways.append(f"{inner} {either(literal(str(end).zfill(size)) if size else EMPTY for end in range(0, unit, of))}")
    return either(ways)


def _by_rest(of: int, rules: Rules) -> list[str]:
    """By what is left of the digits so far when they are divided."""
    size = DIGITS // 2
    if of * size > _MOST_STATES:
        raise TooMuch
    after: dict[int, str] = {0: rules.add("multiple", EMPTY)}
    for _ in range(size):
        before: dict[int, str] = {}
        for rest in range(of):
            ways = [EMPTY] if rest == 0 else []
            ways += [f'"{digit}" {name}' for digit in range(10) if (name := after.get((rest * 10 + digit) % of))]
            if ways:
                before[rest] = rules.add("multiple", " | ".join(ways))
        after = before
    return [f'"{digit}" {name}' for digit in range(1, 10) if (name := after.get(digit % of))]


def number(low: Bound | None, high: Bound | None, places: int | None) -> str | None:
    """A number within bounds, at most so many digits behind the point; `None` when there is none.

    Without bounds it may have an exponent. More digits are never written than a 64-bit float tells apart.
    """
    if low is None and high is None:
        behind = f'("." [0-9]{{1,{places}}})?' if places else "" if places == 0 else '("." [0-9]{1,15})?'
        return f'"-"? ("0" | [1-9] [0-9]{{0,{DIGITS - 2}}}) {behind}' + (
            " ([eE] [-+]? [0-9]{1,2})?" if places is None else ""
        )
    found = []
    if low is None or low[0] < 0:
        above = (Decimal(0), True) if high is None or high[0] >= 0 else (-high[0], high[1])
        negative = _positive(above, None if low is None else (-low[0], low[1]), places)
        found += [f'"-" {negative}'] if negative else []
    if high is None or high[0] >= 0:
        positive = _positive(ZERO if low is None or low[0] < 0 else low, high, places)
        found += [positive] if positive else []
    return either(found) if found else None


def _positive(low: Bound, high: Bound | None, places: int | None) -> str | None:
    """A number without a sign from `low` on."""
    if high is None:
        high = (max(Decimal(10) ** (DIGITS - 1), low[0] * 10) - 1, False)
    if high[0] < low[0]:
        return None
    if places is not None:
        return _placed(low, high, places)
    first, above = _split(low)
    last, below = _split(high)
    fraction = _Fraction(min(6, max(1, 15 - len(str(last)) - max(len(above), len(below)))))
    if first == last:
        return _joined(first, fraction.both(above, low[1], below, high[1]))
    inner = _natural(first + 1, last - 1)
    ways = [
        _joined(first, fraction.at_least(above, exclusive=low[1])),
        f"{inner} {fraction.any()}" if inner else None,
        _joined(last, fraction.at_most(below, exclusive=high[1])),
    ]
    found = [way for way in ways if way is not None]
    return either(found) if found else None


def _placed(low: Bound, high: Bound, places: int) -> str | None:
    """As `_positive`, with that many digits behind the point, or none and no point where those would be zeros."""
    least, most = _scaled(low[0], places, up=True), _scaled(high[0], places, up=False)
    least += low[1] and least == low[0].scaleb(places)
    most -= high[1] and most == high[0].scaleb(places)
    if most < least:
        return None
    if not places:
        return _natural(least, most)
    (first, above), (last, below) = divmod(least, 10**places), divmod(most, 10**places)
    start, end = str(above).zfill(places), str(below).zfill(places)
    if first == last:
        ways = [f'"{first}." {_between(start, end)}']
    else:
        inner = _natural(first + 1, last - 1)
        ways = [f'"{first}." {_between(start, "9" * places)}', f'"{last}" ("." {_between("0" * places, end)})?']
        ways += [f'{inner} ("." [0-9]{{{places}}})?'] if inner else []
    ways += [f'"{first}"'] if not above else []
    return either(ways)


def _scaled(value: Decimal, places: int, *, up: bool) -> int:
    return int(value.scaleb(places).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR))


def _split(bound: Bound) -> tuple[int, str]:
    """What is before the point and what behind it, without zeros at its end."""
    whole, _, behind = format(bound[0], "f").partition(".")
    return int(whole), behind.rstrip("0")


def _joined(whole: int, fraction: str | None) -> str | None:
    return None if fraction is None else f'"{whole}" {fraction}'


class _Fraction:
    """Points and what stands behind them. `None` where nothing can."""

    def __init__(self, room: int) -> None:
        self._room = room

    def any(self) -> str:
        return f'("." [0-9]{{1,{self._room}}})?' if self._room else '""'

    def at_least(self, digits: str, *, exclusive: bool) -> str | None:
        if not digits and not exclusive:
            return self.any()
        more = self._more(digits, exclusive=exclusive)
        return f'"." {more}' if more is not None and self._room else None

    def _more(self, digits: str, *, exclusive: bool) -> str | None:
        """Digits that are more than these, or the same."""
        rest = self._rest(0)
        if not digits:
            return f'"0"{{0,{max(0, min(_ZEROS, self._room - 1))}}} [1-9]{rest}' if exclusive else rest or '""'
        first, ways = int(digits[0]), []
        if first < 9:
            ways.append(_digit(first + 1, 9) + rest)
        same = self._more(digits[1:], exclusive=exclusive)
        ways += [f'"{first}" {same}'] if same is not None and (digits[1:] or not exclusive or self._room > 1) else []
        return either(ways) if ways else None

    def _rest(self, least: int) -> str:
        return _any(least, self._room - 1)

    def at_most(self, digits: str, *, exclusive: bool) -> str | None:
        if not digits:
            return None if exclusive else f'("." "0"{{1,{max(1, min(_ZEROS, self._room))}}})?' if self._room else '""'
        less = self._less(digits, exclusive=exclusive)
        return f'("." {less})?' if less is not None and self._room else '""'

    def _less(self, digits: str, *, exclusive: bool) -> str | None:
        """Digits that are less than these, or the same; at least one."""
        first, ways = int(digits[0]), []
        if first > 0:
            ways.append(_digit(0, first - 1) + self._rest(0))
        if digits[1:]:
            less = self._less(digits[1:], exclusive=exclusive)
            # What ends here is less, or as much with only zeros behind it.
            smaller = digits[1:].strip("0") or not exclusive
            ways += [f'"{first}" {less}' if not smaller else f'"{first}" ({less})?'] if less is not None else []
            ways += [f'"{first}"'] if less is None and smaller else []
        elif not exclusive:
            ways.append(f'"{first}" "0"{{0,{max(0, min(_ZEROS, self._room - 1))}}}')
        return either(ways) if ways else None

    def both(self, low: str, low_out: bool, high: str, high_out: bool) -> str | None:  # noqa: FBT001 -- two alike
        if not low and not low_out:
            return self.at_most(high, exclusive=high_out)
        size = max(len(low), len(high), 1)
        inside = self._inside(low.ljust(size, "0"), low_out, high.ljust(size, "0"), high_out)
        return f'"." {inside}' if inside is not None and self._room else None

    def _inside(self, low: str, low_out: bool, high: str, high_out: bool) -> str | None:  # noqa: FBT001
        if not low:
            return None if low_out or high_out else f'"0"{{0,{_ZEROS}}}'
        first, last = int(low[0]), int(high[0])
        if first > last:
            return None
        if first == last:
            same = self._inside(low[1:], low_out, high[1:], high_out)
            return None if same is None else f'"{first}" {same}'
        ways = [_digit(first + 1, last - 1) + self._rest(0)] if last - first > 1 else []
        more = self._more(low[1:], exclusive=low_out)
        ways += [f'"{first}" {more}'] if more is not None else []
        if high[1:]:
            less = self._less(high[1:], exclusive=high_out)
            smaller = high[1:].strip("0") or not high_out
            ways += [f'"{last}" ({less})?' if smaller else f'"{last}" {less}'] if less is not None else []
            ways += [f'"{last}"'] if less is None and smaller else []
        elif not high_out:
            ways.append(f'"{last}" "0"{{0,{_ZEROS}}}')
        return either(ways) if ways else None
