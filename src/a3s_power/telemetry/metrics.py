"""Metrics: what the server counts about itself, one table, and the text in which Prometheus reads it. Pure.

The format is Prometheus' text exposition format, version 0.0.4.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metric(NamedTuple):
    """A number that is told: its name, what it does, what it says, and what it is told apart by."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()


PROMPTS_TRUNCATED: Final = Metric(
    "power_prompt_truncated_total", "counter", "Prompts and texts that were cut to fit the context", ("model",)
)
MODELS_LOADED: Final = Metric("power_models_loaded", "gauge", "Models in memory")
MODEL_MEMORY: Final = Metric("power_model_memory_bytes", "gauge", "Memory a model takes", ("model",))

METRICS: Final = (PROMPTS_TRUNCATED, MODELS_LOADED, MODEL_MEMORY)
"""All of them, in the order in which they are told."""

Values = Mapping[tuple[str, ...], float]
"""The values of a metric by those of its labels."""


class Counters:
    """What has been counted since the server began."""

    def __init__(self) -> None:
        self._counted: dict[Metric, dict[tuple[str, ...], float]] = {}

    def add(self, metric: Metric, *labels: str, amount: float = 1) -> None:
        """Count so many more under these labels."""
        values = self._counted.setdefault(metric, {})
        values[labels] = values.get(labels, 0) + amount

    def values(self, metric: Metric) -> Values:
        """What was counted, by labels."""
        return self._counted.get(metric, {})


def exposition(found: Mapping[Metric, Values]) -> str:
    """The text of these values, metrics in the order of the table."""
    return "".join(line + "\n" for metric in METRICS if metric in found for line in _lines(metric, found[metric]))


def _lines(metric: Metric, values: Values) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.help}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for labels in sorted(values):
        yield f"{metric.name}{_labelled(zip(metric.labels, labels, strict=True))} {_number(values[labels])}"


def _labelled(labels: Iterable[tuple[str, str]]) -> str:
    text = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{text}}}" if text else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
