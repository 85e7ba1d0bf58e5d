"""Plots as SVG: panels of lines over a few values, drawn without a library."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final, NamedTuple

_COLOURS: Final = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f")
_WIDTH: Final = 420
_HEIGHT: Final = 260
_LEFT: Final = 64
_TOP: Final = 44
_LEGEND: Final = 18
"""The height of a legend's line."""
_TICKS: Final = 5


class Line(NamedTuple):
    """Values over places of the axis. Lines of one `colour` belong together; the dashed one is the other side."""

    name: str
    values: Sequence[float]
    colour: int
    dashed: bool = False


class Panel(NamedTuple):
    """Lines over the same places, whose names stand below."""

    title: str
    axis: str
    places: Sequence[str]
    lines: Sequence[Line]


def svg(title: str, panels: Sequence[Panel]) -> str:
    """A picture of panels side by side, with all their lines named below each."""
    below = _LEGEND * max(len(panel.lines) for panel in panels)
    wide, high = len(panels) * (_WIDTH + _LEFT + 24) + 8, _TOP + 24 + _HEIGHT + 56 + below
    drawn = [text for at, panel in enumerate(panels) for text in _panel(panel, at * (_WIDTH + _LEFT + 24), _TOP + 24)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}"'
    return "\n".join(
        [
            f'{head} font-family="system-ui, sans-serif" font-size="12" fill="#1f2937">',
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            _text(wide / 2, 26, title, size=16, anchor="middle"),
            *drawn,
            "</svg>\n",
        ]
    )


def _panel(panel: Panel, left: float, top: float) -> Iterator[str]:
    x0, y0 = left + _LEFT, top + _HEIGHT
    most = _ceiling(max((value for line in panel.lines for value in line.values), default=0.0))
    yield _text(x0 + _WIDTH / 2, top - 10, panel.title, size=13, anchor="middle")
    for number in range(_TICKS + 1):
        y = y0 - _HEIGHT * number / _TICKS
        yield f'<path d="M{x0:.1f} {y:.1f}h{_WIDTH}" stroke="#e5e7eb"/>'
        yield _text(x0 - 8, y + 4, f"{most * number / _TICKS:g}", anchor="end")
    across = [x0 + _WIDTH * (at + 0.5) / len(panel.places) for at in range(len(panel.places))]
    for x, place in zip(across, panel.places, strict=True):
        yield _text(x, y0 + 18, place, anchor="middle")
    yield _text(x0 + _WIDTH / 2, y0 + 36, panel.axis, anchor="middle")
    for number, line in enumerate(panel.lines):
        points = [(x, y0 - _HEIGHT * value / most) for x, value in zip(across, line.values, strict=True)]
        yield from _drawn(line, points, x0, y0 + 56 + number * _LEGEND)


def _drawn(line: Line, points: Sequence[tuple[float, float]], x0: float, legend: float) -> Iterator[str]:
    """The line, its points, and its name with a piece of it."""
    colour = _COLOURS[line.colour % len(_COLOURS)]
    style = f'stroke="{colour}" stroke-width="2" fill="none"' + (' stroke-dasharray="5 4"' if line.dashed else "")
    yield f'<path d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}" {style}/>'
    inside = "#ffffff" if line.dashed else colour
    for x, y in points:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{inside}" stroke="{colour}"/>'
    yield f'<path d="M{x0:.1f} {legend - 4:.1f}h28" {style}/>'
    yield _text(x0 + 36, legend, line.name)


def _ceiling(value: float) -> float:
    """A round number that is not below the value, and easily divided by the ticks."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(unit * factor for factor in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7.5, 10) if unit * factor >= value)


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'
