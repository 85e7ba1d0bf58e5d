"""Numbers as people read them: `4.7 GB`, `3.2B`, `2 hours ago`."""

import math
from datetime import datetime, timedelta

_BYTE_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "KB"))
_HOUR = 3600


def human_bytes(size: int) -> str:
    """Decimal units; from ten on truncated, below with one decimal: `999 B`, `1.5 KB`, `13 GB`."""
    for unit, name in _BYTE_UNITS:
        if size >= unit:
            value = size / unit
            if value >= 10 or value == math.trunc(value):
                return f"{math.trunc(value)} {name}"
            return f"{value:.1f} {name}"
    return f"{size} B"


def human_count(count: int) -> str:
    """A number of parameters: `8.0B`, `494.03M`, `1K`, `27`."""
    if count >= 10**9:
        return f"{count // 10**9}B" if count % 10**9 == 0 else f"{count / 10**9:.1f}B"
    if count >= 10**6:
        return f"{count // 10**6}M" if count % 10**6 == 0 else f"{count / 10**6:.2f}M"
    return f"{count / 1000:.0f}K" if count >= 1000 else str(count)


def go_number(value: float) -> str:
    """A number as Go's `%v` prints it: the shortest digits, a float with an exponent below 1e-4 and from 1e6 on."""
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    scientific = next(text for digits in range(17) if float(text := f"{value:.{digits}e}") == value)
    exponent = int(scientific.partition("e")[2])
    if -4 <= exponent < 6:
        return f"{value:.{max(0, len(scientific.partition('e')[0].lstrip('-').replace('.', '')) - 1 - exponent)}f}"
    return scientific


def human_time(then: datetime | None, now: datetime) -> str:
    """`3 minutes ago`, `4 hours from now`; `Never` for no time, `Forever` from twenty years ahead."""
    if then is None or then.year <= 1:
        return "Never"
    distance = then - now
    if distance > timedelta(days=20 * 365):
        return "Forever"
    return f"{_span(abs(distance.total_seconds()))} {'from now' if distance > timedelta(0) else 'ago'}"


def _span(exact: float) -> str:
    seconds, hours = int(exact), exact / _HOUR
    whole = math.floor(hours + 0.5)
    table = (
        (exact < 1, "Less than a second"),
        (seconds == 1, "1 second"),
        (seconds < 60, f"{seconds} seconds"),
        (seconds // 60 == 1, "About a minute"),
        (seconds < _HOUR, f"{seconds // 60} minutes"),
        (whole == 1, "About an hour"),
        (whole < 48, f"{whole} hours"),
        (whole < 336, f"{whole // 24} days"),
        (whole < 1440, f"{whole // 168} weeks"),
        (whole < 17520, f"{whole // 720} months"),
    )
    return next((text for holds, text in table if holds), f"{int(hours / 24 / 365)} years")
