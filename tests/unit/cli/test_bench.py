"""What a bench makes of its figures, and the texts and pictures it needs."""

import xml.etree.ElementTree as ET

import pytest

from a3s_power.cli.lengths import Prompts
from a3s_power.cli.plot import Line, Panel, svg
from a3s_power.cli.rates import Rates, Streamed, rates


def test_rates_are_medians_of_rounds_over_all_streams() -> None:
    fresh = [
        [Streamed(100, 11, 1.0, 2.0), Streamed(100, 11, 2.0, 3.0)],
        [Streamed(100, 11, 0.5, 1.5), Streamed(100, 11, 0.5, 1.5)],
        [Streamed(100, 11, 4.0, 8.0), Streamed(100, 11, 4.0, 8.0)],
    ]
    cached = [[Streamed(100, 1, 0.25, 0.25)]]
    assert rates(fresh, cached) == Rates(first_ms=1500.0, cached_ms=250.0, prompt=100.0, output=11.0)


@pytest.mark.parametrize("letters", [1, 3, 7])
@pytest.mark.parametrize("tokens", [1, 8, 100, 257])
def test_a_prompt_is_as_long_as_the_vocabulary_lets_it_be(letters: int, tokens: int) -> None:
    """Here a token is so many letters, and two are one that stands before every text."""

    def count(text: str) -> int:
        return 1 + -(-len(text) // letters)

    made = Prompts(count)
    text, other = made.make(tokens), made.make(tokens)
    assert text.split()[0] != other.split()[0]
    # The first word makes a prompt new, and is there in any case.
    assert count(text) in (tokens, count(text.split()[0]))
    assert Prompts(count).make(tokens) == text


def test_a_picture_holds_its_names_and_is_well_formed() -> None:
    lines = [Line("a < b", [1.0, 10.0], 0), Line("other", [0.0, 0.0], 0, dashed=True)]
    picture = svg("R&D", [Panel("speed", "tokens", ["1", "2"], lines), Panel("nothing", "", ["1"], [])])
    root = ET.fromstring(picture)
    words = [text for text in root.itertext() if text.strip()]
    assert {"R&D", "speed", "a < b", "other", "10"} <= set(words)
    assert picture.count("<circle") == 4
    assert picture.count("stroke-dasharray") == 2
