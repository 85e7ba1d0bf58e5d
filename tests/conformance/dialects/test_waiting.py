"""While a model loads, or others are before it, a stream says that it is alive, in words no client trips over."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from a3s_power.api.streams import EventResponse
from a3s_power.core.messages import Message
from a3s_power.scheduler.settings import Settings
from a3s_power.service.local import LocalSettings, open_local
from a3s_power.store import Store
from tests.dialects import DIALECTS, NATIVE, Talk
from tests.models import tiny_llama
from tests.obedient import PATIENT
from tests.running import DEADLINE, running
from tests.shared import REPOSITORY
from tests.stores import add_model

_TALK: Final = Talk(name="hello", messages=(Message(role="user", content="Hello there"),), model="m")
_OPENAI: Final = {"stream": True, "stream_options": {"include_progress": True}}
_SIGNS: Final = {"completions": ": waiting", "responses": ": waiting", "messages": "event: ping"}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a model that says what it is told."""
    tiny_llama(tmp_path / "m.gguf")
    add_model(Store(tmp_path / "models"), "m", weights=(tmp_path / "m.gguf").read_bytes())
    return tmp_path / "models"


@pytest.fixture
def url(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with one slot a model, whose model is loaded when `models/blobs/go` is there."""
    monkeypatch.setattr(EventResponse, "beat_seconds", 0.02)
    environ = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    one = Settings(num_parallel=1)
    with running(
        lambda: open_local(LocalSettings(models=models, engine=PATIENT, environ=environ, scheduler=one))
    ) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("name", _SIGNS)
def test_a_stream_that_waits_says_so_and_is_read_as_any_other(url: str, models: Path, name: str) -> None:
    dialect, alive = DIALECTS[name], threading.Barrier(2, (models / "blobs" / "go").touch)

    def read(number: int) -> tuple[str, str]:
        """The stream, and the id of its request; the model is loaded when both of them have said that they wait."""
        lines: list[str] = []
        headers = {"x-request-id": f"mine-{number}"}
        with (
            httpx2.Client(base_url=url, timeout=DEADLINE) as http,
            http.stream("POST", dialect.path, json=dialect.body(_TALK) | {"stream": True}, headers=headers) as answer,
        ):
            for line in answer.iter_lines():
                lines.append(line)
                if lines.count(_SIGNS[name]) == 2 and line == _SIGNS[name]:
                    alive.wait(DEADLINE)
            return "\n".join([*lines, ""]), answer.headers["x-request-id"]

    with ThreadPoolExecutor(2) as pool:
        streams = list(pool.map(read, range(2)))
    assert [number for _, number in streams] == ["mine-0", "mine-1"]
    for text, _ in streams:
        assert text.count(_SIGNS[name]) >= 2
        assert "Hello there" in dialect.streamed(text).text


_TOLD: Final[dict[str, dict[str, Any]]] = {
    "/api/chat": NATIVE.body(_TALK) | {"progress": True},
    "/api/generate": {"model": "m", "prompt": "Hello there", "progress": True},
    "/v1/chat/completions": DIALECTS["completions"].body(_TALK) | _OPENAI,
    "/v1/completions": {"model": "m", "prompt": "Hello there"} | _OPENAI,
}
"""Streams that are asked to tell what they wait for."""


def _read(url: str, path: str, seen: Callable[[Any], object]) -> list[Any]:
    """The objects of a stream, each shown to `seen` as it comes."""
    found: list[Any] = []
    with (
        httpx2.Client(base_url=url, timeout=DEADLINE) as http,
        http.stream("POST", path, json=_TOLD[path]) as answer,
    ):
        assert answer.status_code == 200
        for line in answer.iter_lines():
            if (text := line.removeprefix("data: ")).startswith("{"):
                found.append(json.loads(text))
                if seen(found[-1]):
                    break
    return found


@pytest.mark.parametrize("path", _TOLD)
def test_a_stream_tells_what_it_waits_for_where_that_is_asked(url: str, models: Path, path: str) -> None:
    def seen(said: Any) -> None:
        if said.get("progress") == {"phase": "loading", "fraction": 0.25}:
            (models / "blobs" / "go").touch()

    said = _read(url, path, seen)
    told = [each["progress"] for each in said if "progress" in each]
    assert told[-1] == {"phase": "loading", "fraction": 1.0}
    assert not any("progress" in each for each in said[len(told) :])
    assert "Hello" in json.dumps(said)


@pytest.mark.parametrize("path", _TOLD)
def test_a_load_that_fails_after_it_was_told_of_ends_the_stream_with_its_error(
    url: str, models: Path, path: str
) -> None:
    def seen(said: Any) -> None:
        if "progress" in said and not (models / "blobs" / "go").exists():
            (models / "why").write_text("it is broken")
            (models / "why").replace(models / "blobs" / "go")

    assert "it is broken" in json.dumps(_read(url, path, seen)[-1]["error"])


def test_whoever_leaves_while_it_is_told_waits_no_longer(url: str, models: Path) -> None:
    _read(url, "/api/chat", lambda said: "progress" in said)
    (models / "blobs" / "go").touch()
    with httpx2.Client(base_url=url, timeout=DEADLINE) as http:
        assert http.post("/api/chat", json=NATIVE.body(_TALK) | {"stream": False}).status_code == 200


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_has_the_id_that_its_client_gave_the_request(
    url: str, models: Path, name: str, *, stream: bool
) -> None:
    (models / "blobs" / "go").touch()
    dialect = DIALECTS[name]
    with httpx2.Client(base_url=url, timeout=DEADLINE, headers={"x-request-id": "mine"}) as http:
        answer = http.post(dialect.path, json=dialect.body(_TALK) | {"stream": stream})
        wrong = http.post(dialect.path, json=dialect.body(_TALK) | {"stream": stream, "model": "nobody"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, "mine")
    assert (wrong.status_code, wrong.headers["x-request-id"]) == (404, "mine")
