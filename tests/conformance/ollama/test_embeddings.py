"""Rows of the sheet of Ollama's API on embeddings, on a real server."""

import math
from typing import Any

import httpx2
import pytest


def _embed(http: httpx2.Client, **body: Any) -> dict[str, Any]:
    answer = http.post("/api/embed", json={"model": "b"} | body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _norm(vector: list[float]) -> float:
    return math.hypot(*vector)


@pytest.mark.parametrize("body", [{}, {"input": None}, {"input": ""}, {"input": []}])
def test_no_input_has_no_vectors(http: httpx2.Client, body: dict[str, Any]) -> None:
    """Row 106."""
    answer = _embed(http, **body)
    assert (answer["model"], answer["embeddings"]) == ("b", [])
    assert "prompt_eval_count" not in answer


def test_an_empty_text_has_a_vector(http: httpx2.Client) -> None:
    """Row 107."""
    assert len(_embed(http, input=[""])["embeddings"]) == 1


def test_two_texts_have_two_unit_vectors(http: httpx2.Client) -> None:
    """Row 109."""
    one, other = _embed(http, input="a"), _embed(http, input="bb")
    both = _embed(http, input=["a", "bb"])
    assert both["embeddings"] == [*one["embeddings"], *other["embeddings"]]
    assert both["prompt_eval_count"] == one["prompt_eval_count"] + other["prompt_eval_count"]
    assert [_norm(vector) for vector in both["embeddings"]] == pytest.approx([1, 1])
    assert list(both) == ["model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"]


@pytest.mark.parametrize(("row", "dimensions", "length"), [(110, 2, 2), (111, 99999, 64), (111, -1, 64), (111, 0, 64)])
def test_dimensions_cut_and_normalise(http: httpx2.Client, row: int, dimensions: int, length: int) -> None:
    (vector,) = _embed(http, input="a", dimensions=dimensions)["embeddings"]
    assert len(vector) == length, f"row {row}"
    assert _norm(vector) == pytest.approx(1)


def test_a_long_text_is_cut(http: httpx2.Client) -> None:
    """Row 114."""
    assert 0 < _embed(http, input="a" * 5000)["prompt_eval_count"] <= 512


def test_numbers_are_the_shortest_of_their_32_bits(http: httpx2.Client) -> None:
    """Section 1.2."""
    content = http.post("/api/embed", json={"model": "b", "input": "a"}).text
    numbers = content.partition("[[")[2].partition("]]")[0].split(",")
    digits = [len(number.lstrip("-0.").partition("e")[0].replace(".", "")) for number in numbers]
    assert max(digits) <= 9


def test_the_older_route_gives_one_vector(http: httpx2.Client) -> None:
    """Row 117, and the same numbers as the newer route gives."""
    assert http.post("/api/embeddings", json={"model": "b"}).text == '{"embedding":[]}'
    answer = http.post("/api/embeddings", json={"model": "b", "prompt": "a"}).json()
    assert list(answer) == ["embedding"]
    assert answer["embedding"] == pytest.approx(_embed(http, input="a")["embeddings"][0], abs=1e-6)
