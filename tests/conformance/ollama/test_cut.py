"""Whatever an answer did not see of what it was asked is said in its last line, and nothing of it when all was seen."""

import time
from typing import Any

import httpx2

from tests.running import DEADLINE

_OURS = {"dropped_messages", "cut_tokens", "context_shifted"}
_SMALL = {"num_ctx": 256, "num_predict": 1, "temperature": 0}


def _said(http: httpx2.Client, path: str, **body: Any) -> dict[str, Any]:
    answer = http.post(path, json={"model": "power-tiny", "stream": False} | body)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def _without_power_tiny(http: httpx2.Client) -> None:
    http.post("/api/generate", json={"model": "power-tiny", "keep_alive": 0})
    end = time.monotonic() + DEADLINE
    while any(model["name"] == "power-tiny:latest" for model in http.get("/api/ps").json()["models"]):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_turns_that_were_dropped_are_counted(http: httpx2.Client) -> None:
    turns = [{"role": role, "content": "What is one and one?"} for _ in range(30) for role in ("user", "assistant")]
    said = _said(http, "/api/chat", messages=[*turns, {"role": "user", "content": "Hello"}], options=_SMALL)
    assert 0 < said["dropped_messages"] <= len(turns)
    assert _OURS & set(said) == {"dropped_messages"}


def test_tokens_that_were_cut_are_counted(http: httpx2.Client) -> None:
    said = _said(http, "/api/generate", prompt="word " * 400, raw=True, options=_SMALL)
    assert said["cut_tokens"] > 100
    assert said["prompt_eval_count"] < 256
    assert _OURS & set(said) == {"cut_tokens"}


def test_a_context_that_became_full_is_told(http: httpx2.Client) -> None:
    # A longer context that is already there would be used, and not become full.
    _without_power_tiny(http)
    options = _SMALL | {"num_predict": 300, "ignore_eos": True}
    said = _said(http, "/api/generate", prompt="Hello", options=options)
    assert (said["eval_count"], said["context_shifted"]) == (300, True)


def test_one_that_may_not_shift_ends_when_it_is_full(http: httpx2.Client) -> None:
    options = _SMALL | {"num_predict": 300, "ignore_eos": True}
    said = _said(http, "/api/generate", prompt="Hello", options=options, shift=False)
    assert (said["done_reason"], _OURS & set(said)) == ("length", set())
    assert said["prompt_eval_count"] + said["eval_count"] <= 256


def test_what_was_seen_whole_says_nothing(http: httpx2.Client) -> None:
    said = _said(http, "/api/chat", messages=[{"role": "user", "content": "Hello"}], options=_SMALL)
    assert not _OURS & set(said)


def test_texts_that_lost_their_ends_are_named(http: httpx2.Client) -> None:
    answer = http.post("/api/embed", json={"model": "b", "input": ["a", "b" * 600, "c"]})
    assert answer.json()["truncated"] == [1]
    assert "truncated" not in http.post("/api/embed", json={"model": "b", "input": ["a", "c"]}).json()
