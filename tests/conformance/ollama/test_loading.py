"""Rows of the sheet of Ollama's API on loading, unloading and keep_alive, on a real server."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fakes import lines

_JSON = "application/json; charset=utf-8"
_DEADLINE = 30.0


@pytest.fixture(autouse=True)
def _nothing_loaded(http: httpx2.Client) -> None:
    """Each of these tests begins with no model in memory."""
    for name in _loaded(http):
        http.post("/api/generate", json={"model": name, "keep_alive": 0})
    _until(lambda: not _loaded(http))


def _loaded(http: httpx2.Client) -> list[str]:
    return [model["name"] for model in http.get("/api/ps").json()["models"]]


def _remaining(http: httpx2.Client) -> timedelta:
    """How long the only model stays."""
    (model,) = http.get("/api/ps").json()["models"]
    return datetime.fromisoformat(model["expires_at"]) - datetime.now(UTC)


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + _DEADLINE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def _children() -> set[str]:
    """The processes that hold models: children of this one, which serves."""
    found: set[str] = set()
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        # A thread may end between being listed and being read; its children have another parent thread then.
        with suppress(FileNotFoundError, ProcessLookupError):
            found.update((task / "children").read_text(encoding="ascii").split())
    return found


@pytest.mark.parametrize("stream", [True, False])
def test_an_empty_prompt_loads_the_model(http: httpx2.Client, *, stream: bool) -> None:
    """Row 34."""
    answer = http.post("/api/generate", json={"model": "m", "stream": stream})
    assert (answer.status_code, answer.headers["content-type"]) == (200, _JSON)
    body = answer.json()
    assert list(body) == ["model", "created_at", "response", "done", "done_reason"]
    assert (body["model"], body["response"], body["done"], body["done_reason"]) == ("m", "", True, "load")
    assert _loaded(http) == ["m:latest"]


@pytest.mark.parametrize("keep_alive", [None, 0])
def test_no_messages_load_or_unload_the_model(http: httpx2.Client, keep_alive: int | None) -> None:
    """Row 35."""
    answer = http.post("/api/chat", json={"model": "m", "messages": [], "keep_alive": keep_alive})
    assert (answer.status_code, answer.headers["content-type"]) == (200, _JSON)
    body = answer.json()
    assert list(body) == ["model", "created_at", "message", "done", "done_reason"]
    assert body["message"] == {"role": "assistant", "content": ""}
    assert body["done_reason"] == ("load" if keep_alive is None else "unload")


def test_an_unloaded_model_is_gone(http: httpx2.Client) -> None:
    """Row 36."""
    http.post("/api/generate", json={"model": "m"})
    answer = http.post("/api/generate", json={"model": "m", "keep_alive": 0})
    assert (answer.json()["done_reason"], answer.headers["content-type"]) == ("unload", _JSON)
    _until(lambda: not _loaded(http))


@pytest.mark.parametrize("model", ["m", "b"])
def test_unloading_loads_nothing_and_asks_no_capability(http: httpx2.Client, model: str) -> None:
    """Rows 37, 38."""
    before = _children()
    assert http.post("/api/generate", json={"model": model, "keep_alive": 0}).json()["done_reason"] == "unload"
    assert _loaded(http) == []
    assert _children() <= before


def test_unloading_lets_a_running_answer_end(http: httpx2.Client) -> None:
    """Row 40."""
    body = {"model": "m", "prompt": "a", "options": {"num_predict": 200}}
    with http.stream("POST", "/api/generate", json=body) as answer:
        pieces = answer.iter_lines()
        next(pieces)
        unload = http.post("/api/generate", json={"model": "m", "keep_alive": 0})
        assert unload.json()["done_reason"] == "unload"
        last = list(pieces)[-1]
    assert '"done":true' in last
    _until(lambda: not _loaded(http))


def test_an_answer_is_whole_before_its_model_leaves(http: httpx2.Client) -> None:
    """Row 41."""
    messages = [{"role": "user", "content": "a"}]
    body = {"model": "m", "messages": messages, "keep_alive": 0, "options": {"num_predict": 3}}
    assert lines(http.post("/api/chat", json=body).text)[-1]["done_reason"] == "length"
    _until(lambda: not _loaded(http))


@pytest.mark.parametrize("keep_alive", [-1, "-1m", 10**12])
def test_a_negative_keep_alive_keeps_for_ever(http: httpx2.Client, keep_alive: Any) -> None:
    """Row 42."""
    http.post("/api/generate", json={"model": "m", "keep_alive": keep_alive})
    assert _remaining(http) > timedelta(days=100 * 365)


def test_a_fraction_of_a_second_still_loads(http: httpx2.Client) -> None:
    """Row 47."""
    answer = http.post("/api/generate", json={"model": "m", "keep_alive": 0.4})
    assert answer.json()["done_reason"] == "load"


def test_a_duration_stays_until_another_is_given(http: httpx2.Client) -> None:
    """Row 48."""
    http.post("/api/generate", json={"model": "m", "keep_alive": "1h"})
    http.post("/api/generate", json={"model": "m", "prompt": "a", "options": {"num_predict": 1}})
    assert timedelta(minutes=59) < _remaining(http) <= timedelta(hours=1)


def test_of_a_key_given_twice_the_last_counts(http: httpx2.Client) -> None:
    """Row 49."""
    answer = http.post("/api/generate", content=b'{"model":"m","keep_alive":5,"keep_alive":0}')
    assert answer.json()["done_reason"] == "unload"


@pytest.mark.parametrize(
    ("row", "more", "reloads"),
    [
        (84, {"temperature": 0.1, "seed": 7, "stop": ["x"], "num_predict": 2}, False),
        (85, {"num_ctx": 256}, False),
        (85, {"num_ctx": 400}, True),
        (85, {"num_thread": 1}, True),
    ],
)
def test_only_options_of_the_load_reload(http: httpx2.Client, row: int, more: dict[str, Any], *, reloads: bool) -> None:
    # Unlike Ollama's, a longer context serves a request for a shorter one.
    http.post("/api/generate", json={"model": "m", "options": {"num_thread": 2, "num_ctx": 300}})
    before = _children()
    http.post("/api/generate", json={"model": "m", "options": {"num_thread": 2, "num_ctx": 300} | more})
    assert bool(_children() - before) is reloads, f"row {row}"


def test_another_shift_reloads_nothing(http: httpx2.Client) -> None:
    """Row 85, but unlike Ollama's a model that could shift its context serves a request that must not."""
    http.post("/api/generate", json={"model": "m"})
    before = _children()
    for shift in (False, True, False):
        http.post("/api/generate", json={"model": "m", "shift": shift})
    assert _children() == before


@pytest.mark.parametrize(("row", "asked", "got"), [(82, 100_000, 512), (83, 1, 4)])
def test_the_context_is_fitted(http: httpx2.Client, row: int, asked: int, got: int) -> None:
    assert http.post("/api/generate", json={"model": "m", "options": {"num_ctx": asked}}).status_code == 200
    (model,) = http.get("/api/ps").json()["models"]
    assert model["context_length"] == got, f"row {row}"


def test_nothing_loaded_is_an_empty_list(http: httpx2.Client) -> None:
    """Row 5."""
    assert http.get("/api/ps").text == '{"models":[]}'


def test_two_names_of_one_blob_are_one_model(http: httpx2.Client) -> None:
    """Row 150."""
    assert http.post("/api/copy", json={"source": "m", "destination": "twin"}).status_code == 200
    try:
        for name in ("m", "twin"):
            assert http.post("/api/generate", json={"model": name}).json()["done_reason"] == "load"
        assert _loaded(http) == ["m:latest"]
    finally:
        http.request("DELETE", "/api/delete", json={"model": "twin"})


@pytest.mark.parametrize("change", ["deleted", "made anew", "a second name deleted"])
def test_what_a_name_stands_for_no_more_leaves_memory(http: httpx2.Client, change: str) -> None:
    source = "m" if change == "a second name deleted" else "power-tiny"
    http.post("/api/create", json={"model": "gone", "from": source, "system": "Be brief."})
    http.post("/api/generate", json={"model": "gone", "keep_alive": -1})
    assert _loaded(http) == ["gone:latest"]
    if change == "made anew":
        http.post("/api/create", json={"model": "gone", "from": "m"})
        _until(lambda: not _loaded(http))
    assert http.request("DELETE", "/api/delete", json={"model": "gone"}).status_code == 200
    _until(lambda: not _loaded(http))


def test_a_name_that_keeps_its_weights_keeps_them_in_memory(http: httpx2.Client) -> None:
    for _ in range(2):
        http.post("/api/create", json={"model": "kept", "from": "m"})
        http.post("/api/generate", json={"model": "kept"})
    http.post("/api/create", json={"model": "kept", "from": "m", "system": "Be brief."})
    assert _loaded(http) == ["kept:latest"]
    http.request("DELETE", "/api/delete", json={"model": "kept"})


def test_two_requests_at_once_are_both_answered(http: httpx2.Client) -> None:
    """Row 152."""
    body = {"model": "m", "prompt": "a", "stream": False, "options": {"num_predict": 20}}
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: http.post("/api/generate", json=body), range(2)))
    assert [answer.json()["eval_count"] for answer in answers] == [20, 20]


def test_ps_tells_all_of_a_loaded_model(http: httpx2.Client) -> None:
    """Row 151: and it answers at once while one loads."""
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(http.post, "/api/generate", json={"model": "power-tiny"})
        began = time.monotonic()
        listed = http.get("/api/ps").json()["models"]
        assert time.monotonic() - began < 20
        assert listed == [] or loading.done()
        loading.result()
    (model,) = http.get("/api/ps").json()["models"]
    keys = ["name", "model", "size", "digest", "details", "expires_at", "size_vram", "context_length"]
    assert list(model) == keys
    assert list(model["details"]) == [
        *("parent_model", "format", "family", "families", "parameter_size", "quantization_level"),
    ]
    assert len(model["digest"]) == 64
