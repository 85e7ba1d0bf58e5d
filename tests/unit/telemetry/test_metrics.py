"""What is counted, and the text that Prometheus reads."""

from a3s_power.telemetry.metrics import (
    METRICS,
    MODEL_MEMORY,
    MODELS_LOADED,
    PROMPTS_TRUNCATED,
    QUEUE_WAIT,
    Counters,
    Metric,
    Values,
    exposition,
)


def test_what_was_counted_is_told_by_label_and_in_order() -> None:
    counters = Counters()
    counters.add(PROMPTS_TRUNCATED, "b")
    counters.add(PROMPTS_TRUNCATED, "a")
    counters.add(PROMPTS_TRUNCATED, "a", amount=2)
    found: dict[Metric, Values] = {
        MODEL_MEMORY: {("a",): 1234567890},
        MODELS_LOADED: {(): 1.5},
        PROMPTS_TRUNCATED: counters.values(PROMPTS_TRUNCATED),
    }
    assert exposition(found) == (
        "# HELP power_prompt_truncated_total Prompts and texts that were cut to fit the context\n"
        "# TYPE power_prompt_truncated_total counter\n"
        'power_prompt_truncated_total{model="a"} 3\n'
        'power_prompt_truncated_total{model="b"} 1\n'
        "# HELP power_models_loaded Models in memory\n"
        "# TYPE power_models_loaded gauge\n"
        "power_models_loaded 1.5\n"
        "# HELP power_model_memory_bytes Memory a model takes\n"
        "# TYPE power_model_memory_bytes gauge\n"
        'power_model_memory_bytes{model="a"} 1234567890\n'
    )


def test_a_histogram_counts_what_is_at_most_each_bound() -> None:
    counters = Counters()
    for seconds in (0.25, 0.5, 1.5, 1000):
        counters.observe(QUEUE_WAIT, seconds)
    _, kind, *lines = exposition({QUEUE_WAIT: counters.values(QUEUE_WAIT)}).splitlines()
    assert kind == "# TYPE power_queue_wait_seconds histogram"
    counts = dict(line.removeprefix("power_queue_wait_seconds").split(" ") for line in lines)
    assert [counts[f'_bucket{{le="{bound}"}}'] for bound in ("0.1", "0.5", "1", "2", "300", "+Inf")] == [*"022334"]
    assert (counts["_sum"], counts["_count"]) == ("1002.25", "4")


def test_nothing_counted_is_no_line_but_those_that_explain() -> None:
    assert exposition({PROMPTS_TRUNCATED: Counters().values(PROMPTS_TRUNCATED)}).count("\n") == 2


def test_a_label_cannot_end_its_line() -> None:
    """TERM-05."""
    text = exposition({PROMPTS_TRUNCATED: {('x"} 1\nfake{a="\\',): 1}})
    assert text.splitlines()[2:] == ['power_prompt_truncated_total{model="x\\"} 1\\nfake{a=\\"\\\\"} 1']


def test_no_metric_is_there_twice() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
