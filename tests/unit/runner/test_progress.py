"""Load progress in the lines that llama.cpp prints."""

import pytest

from a3s_power.runner.progress import fraction

BEFORE = "cmd_child_to_router:state:"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            BEFORE + '{"state":"loading","payload":{"stages":["text_model"],"current":"text_model","value":0.4672}}',
            0.4672,
        ),
        (BEFORE + '{"state":"loading","payload":{"value":-1}}', 0.0),
        (BEFORE + '{"state":"loading","payload":{"value":7}}', 1.0),
        (BEFORE + '{"state":"loading"}', 0.0),
        (BEFORE + '{"state":"ready","payload":{"meta":{"n_vocab":1}}}', 1.0),
        (BEFORE + '{"state":"sleeping"}', None),
        (BEFORE + '{"state":', None),
        (BEFORE + "[1]", None),
        ("", None),
        ('{"state":"ready"}', None),
    ],
)
def test_a_line_tells_the_fraction_or_another_thing(line: str, expected: float | None) -> None:
    assert fraction(line) == expected
