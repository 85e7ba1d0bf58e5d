"""Metrics: what the server counts about itself, one table, and the text in which Prometheus reads it. Pure.

The format is Prometheus' text exposition format, version 0.0.4.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metric(NamedTuple):
    """A number that is told: its name, what it does, what it says, and what it is told apart by.

    Of a histogram it is counted how often it was at most each of the `bounds`.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


PROMPTS_TRUNCATED: Final = Metric(
    "power_prompt_truncated_total", "counter", "Prompts and texts that were cut to fit the context", ("model",)
)
DRAFT_TOKENS: Final = Metric("power_draft_tokens_total", "counter", "Tokens that were guessed ahead", ("model",))
DRAFT_ACCEPTED: Final = Metric(
    "power_draft_accepted_tokens_total", "counter", "Tokens that were guessed ahead and right", ("model",)
)
MODEL_RELOADS: Final = Metric(
    "power_model_reloads_total", "counter", "Loads of a model that was there, but loaded otherwise", ("reason",)
)
QUEUE_DEPTH: Final = Metric("power_queue_depth", "gauge", "Requests that wait for a model or a slot")
QUEUE_WAIT: Final = Metric(
    "power_queue_wait_seconds",
    "histogram",
    "How long requests waited for a model and a slot",
    bounds=(0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300),
)
MODELS_LOADED: Final = Metric("power_models_loaded", "gauge", "Models in memory")
MODEL_MEMORY: Final = Metric("power_model_memory_bytes", "gauge", "Memory a model takes", ("model",))

METRICS: Final = (
    *(PROMPTS_TRUNCATED, DRAFT_TOKENS, DRAFT_ACCEPTED, MODEL_RELOADS),
    *(QUEUE_DEPTH, QUEUE_WAIT, MODELS_LOADED, MODEL_MEMORY),
)
"""All of them, in the order in which they are told."""

Values = Mapping[tuple[str, ...], float]
"""The values of a metric by those of its labels; of a histogram, by its labels and by bound, and under `_SUM`."""
_SUM: Final = "sum"
_MOST: Final = "+Inf"


class Counters:
    """What has been counted since the server began."""

    def __init__(self) -> None:
        self._counted: dict[Metric, dict[tuple[str, ...], float]] = {}

    def add(self, metric: Metric, *labels: str, amount: float = 1) -> None:
        """Count so many more under these labels."""
        values = self._counted.setdefault(metric, {})
        values[labels] = values.get(labels, 0) + amount

    def observe(self, histogram: Metric, value: float, *labels: str) -> None:
        """Count a value of this under these labels."""
        place = bisect_left(histogram.bounds, value)
        self.add(histogram, *labels, _number(histogram.bounds[place]) if place < len(histogram.bounds) else _MOST)
        self.add(histogram, *labels, _SUM, amount=value)

    def values(self, metric: Metric) -> Values:
        """What was counted, by labels."""
        return self._counted.get(metric, {})


def exposition(found: Mapping[Metric, Values]) -> str:
    """The text of these values, metrics in the order of the table."""
    return "".join(line + "\n" for metric in METRICS if metric in found for line in _lines(metric, found[metric]))


def _lines(metric: Metric, values: Values) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help}"
    yield f"# TYPE {metric.name} {metric.kind}"
    if metric.kind == "histogram":
        for labels in sorted({labels[:-1] for labels in values}):
            yield from _histogram(metric, labels, values)
        return
    for labels in sorted(values):
        yield f"{metric.name}{_labelled(zip(metric.labels, labels, strict=True))} {_number(values[labels])}"


def _histogram(metric: Metric, labels: tuple[str, ...], values: Values) -> Iterator[str]:
    """Its lines: a count of all values up to each bound, their sum, and the count of all."""
    pairs, count = [*zip(metric.labels, labels, strict=True)], 0.0
    for bound in (*map(_number, metric.bounds), _MOST):
        count += values.get((*labels, bound), 0)
        yield f"{metric.name}_bucket{_labelled([*pairs, ('le', bound)])} {_number(count)}"
    yield f"{metric.name}_sum{_labelled(pairs)} {_number(values[*labels, _SUM])}"
    yield f"{metric.name}_count{_labelled(pairs)} {_number(count)}"


def _labelled(labels: Iterable[tuple[str, str]]) -> str:
    text = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{text}}}" if text else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
