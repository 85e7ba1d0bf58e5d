"""The four routes of the AI Server over our own models: what they answer, what they refuse, and which one downloads."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from a3s_power.cli.serve import api_settings
from a3s_power.config import SECRETS, Config
from a3s_power.core.errors import EngineRefused, InvalidOption, LoadFailed, NotThere, QueueFull
from a3s_power.core.events import Done, Event, Progress, Text, Thinking
from a3s_power.core.model import FailedLoad
from a3s_power.core.requests import Chat, Create, Pull, Push
from a3s_power.core.usage import Usage
from a3s_power.service.local import LocalSettings, open_local
from a3s_power.store import Store
from tests.fakes import FakeInference, FakeStatus, FakeTransfers, client, service
from tests.models import tiny_llama
from tests.running import DEADLINE, running
from tests.stores import add_model, gguf, named

_HI = [{"role": "user", "content": "What is 3 + 4?"}]
_USAGE = Usage(prompt_tokens=9, output_tokens=3, prompt_ns=4, output_ns=5, load_ns=6, total_ns=7)


class Bringing(FakeTransfers):
    """Brings a model of the asked-for name into the store, and keeps what it was asked."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    @asynccontextmanager
    async def pull(self, request: Pull) -> AsyncIterator[AsyncIterator[Event]]:
        """Words of progress, and the model is there at the last of them."""
        self.asked.append(request)

        async def told() -> AsyncIterator[Event]:
            yield Progress("pulling manifest")
            add_model(self._store, request.source)
            yield Progress("success")

        yield told()


def _pulled(folder: Path, *here: str, **body: Any) -> tuple[httpx2.Response, list[Create | Pull | Push]]:
    """The answer to a pull where these models are here already, and what was fetched for it."""
    store = Store(folder)
    for name in here:
        add_model(store, name)
    transfers = Bringing(store)
    http = client(folder, service(folder, FakeInference(Done("load", Usage())), transfers=transfers))
    return http.post("/pull", json=body), transfers.asked


def test_a_repository_is_pulled_and_described(tmp_path: Path) -> None:
    answer, asked = _pulled(tmp_path, model="org/repo")
    body = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert asked == [Pull(source="hf.co/org/repo:latest")]
    assert (body["status"], body["model"], body["cached"]) == ("ok", "org/repo", True)
    assert list(body["backend"]) == ["local_path", "preferred_quantized", "size_bytes"]
    assert Path(body["backend"]["local_path"]).is_file()
    assert body["backend"]["preferred_quantized"]
    assert body["backend"]["size_bytes"] > 0


@pytest.mark.parametrize(
    ("model", "quantize", "source"),
    [
        ("org/repo", None, "hf.co/org/repo:latest"),
        ("org/repo", "auto", "hf.co/org/repo:latest"),
        ("org/repo", "q4", "hf.co/org/repo:Q4_K_M"),
        ("org/repo", "fp16", "hf.co/org/repo:F16"),
        ("org/repo", "fp32", "hf.co/org/repo:F32"),
        ("org/repo", "no", "hf.co/org/repo:F16"),
        ("org/repo:Q8_0", "q4", "hf.co/org/repo:Q8_0"),
        ("hf.co/org/repo", "q4", "hf.co/org/repo:Q4_K_M"),
        ("some-model", "q4", "some-model:latest"),
    ],
)
def test_a_precision_is_a_file_of_the_repository(tmp_path: Path, model: str, quantize: str | None, source: str) -> None:
    answer, asked = _pulled(tmp_path, model=model, quantize=quantize)
    assert (answer.status_code, asked) == (200, [Pull(source=source)])


@pytest.mark.parametrize(
    ("here", "model", "quantize"),
    [
        ("hf.co/org/repo:latest", "org/repo", None),
        ("hf.co/org/repo:Q8_0", "org/repo", "auto"),
        ("hf.co/org/repo:Q4_K_M", "Org/Repo", "q4"),
        ("org/repo", "org/repo", "auto"),
        ("some-model", "some-model", None),
    ],
)
def test_what_is_here_is_not_fetched(tmp_path: Path, here: str, model: str, quantize: str | None) -> None:
    answer, asked = _pulled(tmp_path, here, model=model, quantize=quantize)
    assert (answer.status_code, asked) == (200, [])


def test_another_precision_is_fetched(tmp_path: Path) -> None:
    _, asked = _pulled(tmp_path, "hf.co/org/repo:Q8_0", model="org/repo", quantize="q4")
    assert asked == [Pull(source="hf.co/org/repo:Q4_K_M")]


@pytest.mark.parametrize(("init", "loads"), [(False, 0), (True, 1)])
def test_a_pull_may_load_the_model(tmp_path: Path, *, init: bool, loads: int) -> None:
    add_model(Store(tmp_path), "here")
    inference = FakeInference(Done("load", Usage()))
    answer = client(tmp_path, service(tmp_path, inference)).post("/pull", json={"model": "here", "init": init})
    assert (answer.status_code, len(inference.asked)) == (200, loads)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "model is required"),
        ({"model": ""}, "model is required"),
        ({"model": "bad name"}, "invalid model name"),
        ({"model": "https://example.com/a.gguf"}, "model must be the name of a model or the id of a repository"),
        ({"model": "m", "quantize": "q5"}, "invalid request body: Invalid enum value 'q5' - at `$.quantize`"),
        ([], "invalid request body: Expected `object`, got `array`"),
    ],
)
def test_a_wrong_pull_is_refused(tmp_path: Path, body: Any, message: str) -> None:
    transfers = FakeTransfers()
    answer = client(tmp_path, service(tmp_path, transfers=transfers)).post("/pull", json=body)
    assert (answer.status_code, answer.json(), transfers.asked) == (400, {"error": message}, [])


def test_a_pull_that_fails_says_why(tmp_path: Path) -> None:
    played = service(tmp_path, transfers=FakeTransfers(Progress("pulling manifest"), NotThere("nobody has it")))
    answer = client(tmp_path, played).post("/pull", json={"model": "org/repo"})
    assert (answer.status_code, answer.json()) == (500, {"error": "nobody has it"})


def _asked(folder: Path, *script: Event | Exception, model: str = "here", **body: Any) -> httpx2.Response:
    add_model(Store(folder), "here")
    http = client(folder, service(folder, FakeInference(*script)))
    return http.post("/chat", json={"model": model, "messages": _HI} | body)


def test_a_chat_is_one_answer_like_ollamas(tmp_path: Path) -> None:
    body = _asked(tmp_path, Text("a"), Text("b"), Done("stop", _USAGE)).json()
    assert datetime.fromisoformat(body.pop("created_at")).tzinfo is not None
    assert body == {
        "model": "here",
        "message": {"role": "assistant", "content": "ab"},
        "done": True,
        "done_reason": "stop",
        "total_duration": 7,
        "load_duration": 6,
        "prompt_eval_count": 9,
        "prompt_eval_duration": 4,
        "eval_count": 3,
        "eval_duration": 5,
    }


def test_what_was_left_out_of_a_chat_is_told(tmp_path: Path) -> None:
    cut = Usage(dropped_messages=2, shifted=True)
    body = _asked(tmp_path, Text("a"), Done("stop", cut)).json()
    ours = {"dropped_messages", "cut_tokens", "context_shifted"} & set(body)
    assert {name: body[name] for name in ours} == {"dropped_messages": 2, "context_shifted": True}


def test_thinking_stands_beside_the_answer(tmp_path: Path) -> None:
    body = _asked(tmp_path, Thinking("h"), Thinking("m"), Text("a"), Done("stop", _USAGE)).json()
    assert body["message"] == {"role": "assistant", "content": "a", "thinking": "hm"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, {"num_predict": 512, "temperature": 0.7}),
        ({"max_tokens": 5, "temperature": 0}, {"num_predict": 5, "temperature": 0}),
    ],
)
def test_a_chat_has_its_defaults(tmp_path: Path, body: dict[str, Any], said: dict[str, float]) -> None:
    add_model(Store(tmp_path), "here")
    inference = FakeInference(Done("stop", _USAGE))
    client(tmp_path, service(tmp_path, inference)).post("/chat", json={"model": "here", "messages": _HI} | body)
    (request,) = inference.asked
    assert isinstance(request, Chat)
    assert request.asked.checked().said() == pytest.approx(said, rel=1e-6)


@pytest.mark.parametrize("model", ["nope", "org/repo", "hf.co/org/repo:Q4_K_M"])
def test_a_chat_never_downloads(tmp_path: Path, model: str) -> None:
    transfers = FakeTransfers()
    answer = client(tmp_path, service(tmp_path, transfers=transfers)).post(
        "/chat", json={"model": model, "messages": _HI}
    )
    message = f"model '{model}' is not here: POST /pull brings it, nothing else does"
    assert (answer.status_code, answer.json(), transfers.asked) == (404, {"error": message}, [])


def test_a_chat_finds_the_pulled_repository_by_its_id(tmp_path: Path) -> None:
    add_model(Store(tmp_path), "hf.co/org/repo:Q4_K_M")
    inference = FakeInference(Done("stop", _USAGE))
    body = {"model": "org/repo", "messages": _HI}
    answer = client(tmp_path, service(tmp_path, inference)).post("/chat", json=body)
    assert answer.json()["model"] == "org/repo"
    (request,) = inference.asked
    assert isinstance(request, Chat)
    assert request.model == named("hf.co/org/repo:Q4_K_M")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"model": None}, "model is required"),
        ({"messages": []}, "messages is required"),
        ({"messages": None}, "messages is required"),
        ({"max_tokens": 0}, "max_tokens must be at least 1"),
        ({"max_tokens": "5"}, "invalid request body: Expected `int | null`, got `str` - at `$.max_tokens`"),
    ],
)
def test_a_wrong_chat_is_refused(tmp_path: Path, body: dict[str, Any], message: str) -> None:
    answer = _asked(tmp_path, **({"model": "here"} | body))
    assert (answer.status_code, answer.json()) == (400, {"error": message})


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (QueueFull(), 503, "server busy, please try again.  maximum pending requests exceeded"),
        (EngineRefused('{"error":{"message":"bad"}}'), 400, "bad"),
        (InvalidOption("odd"), 400, "odd"),
        (LoadFailed("no"), 500, "no"),
    ],
)
def test_a_chat_that_fails_says_why(tmp_path: Path, error: Exception, status: int, message: str) -> None:
    answer = _asked(tmp_path, Text("a"), error)
    assert (answer.status_code, answer.json()) == (status, {"error": message})


def _cooling(folder: Path, seconds_ago: float, cooldown: float) -> tuple[TestClient, FakeInference]:
    """A client of a server on which the model `here` could not be loaded so long ago."""
    add_model(Store(folder), "here")
    inference = FakeInference(Done("stop", _USAGE))
    moment = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    failed = FailedLoad(model=named("here"), error=LoadFailed("no room"), moment=moment)
    played = service(folder, inference, status=FakeStatus(failed=[failed]))
    return client(folder, played, load_cooldown=cooldown, configuration={"max_queue": 7}), inference


@pytest.mark.parametrize(
    ("ago", "cooldown", "status", "tried"), [(10, 300, 500, 0), (301, 300, 200, 1), (0, 0, 200, 1)]
)
def test_a_load_that_failed_is_not_tried_again_too_soon(
    tmp_path: Path, ago: float, cooldown: float, status: int, tried: int
) -> None:
    http, inference = _cooling(tmp_path, ago, cooldown)
    answer = http.post("/chat", json={"model": "here", "messages": _HI})
    assert (answer.status_code, len(inference.asked)) == (status, tried)
    if not tried:
        assert answer.json()["error"].startswith("the last load failed, and is not tried again for 2")
        assert answer.json()["error"].endswith(": no room")


def test_the_status_tells_all_of_it(tmp_path: Path) -> None:
    http, _ = _cooling(tmp_path, 10, 300)
    body = http.get("/status").json()
    assert list(body) == [
        *("status", "version", "uptime_seconds", "engines", "loaded_models", "failed_loads", "configuration")
    ]
    assert [(engine["name"], engine["usable"], engine["note"]) for engine in body["engines"]] == [
        ("llamacpp", True, ""),
        ("other", False, "nowhere is not installed"),
    ]
    (failed,) = body["failed_loads"]
    assert (failed["model"], failed["error"]) == ("here:latest", "no room")
    assert 280 < failed["cooldown_seconds"] <= 290
    assert body["configuration"] == {"max_queue": 7}


def test_no_secret_is_among_the_settings_that_are_told() -> None:
    settings = Config(api_key="k", logins=("r.example=me:secret",), load_cooldown=60.0, max_queue=7)
    told = api_settings(settings, settings.address)
    assert told.load_cooldown == told.configuration["load_cooldown"] == 60.0
    assert told.configuration["max_queue"] == 7
    assert "secret" not in str(told.configuration)
    assert not SECRETS & set(told.configuration)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A client of a real server: beside `power-tiny` it has `m`, and `broken`, which no engine can load."""
    folder = tmp_path_factory.mktemp("models")
    file = folder.parent / "m.gguf"
    tiny_llama(file)
    add_model(Store(folder), "m", weights=file.read_bytes())
    add_model(Store(folder), "broken", weights=gguf())
    with (
        running(lambda: open_local(LocalSettings(models=folder))) as port,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as opened,
    ):
        yield opened


def test_a_real_model_answers_and_is_told_to_be_loaded(real: httpx2.Client) -> None:
    body = real.post("/chat", json={"model": "power-tiny", "messages": _HI, "temperature": 0}).json()
    assert "7" in body["message"]["content"]
    assert body["eval_count"] > 0
    shown = {model["model"]: model for model in real.get("/models").json()["models"]}
    assert list(shown["power-tiny:latest"]) == [
        *("model", "description", "loaded", "backend", "size_bytes", "load_duration")
    ]
    assert (shown["power-tiny:latest"]["loaded"], shown["power-tiny:latest"]["backend"]) == (True, "llamacpp")
    assert shown["power-tiny:latest"]["load_duration"] > 0
    assert (shown["m:latest"]["loaded"], shown["m:latest"]["load_duration"]) == (False, 0)
    assert shown["m:latest"]["description"] == "llama Q8_0"
    loaded = real.get("/status").json()["loaded_models"]
    assert "power-tiny:latest" in [model["model"] for model in loaded]


def test_a_real_load_that_fails_cools_down(real: httpx2.Client) -> None:
    asked = {"model": "broken", "messages": _HI}
    first, second = real.post("/chat", json=asked), real.post("/chat", json=asked)
    assert (first.status_code, second.status_code) == (500, 500)
    assert "not tried again" in second.json()["error"]
    failed = real.get("/status").json()["failed_loads"]
    assert [each["model"] for each in failed] == ["broken:latest"]
    ollamas = real.post("/api/generate", json={"model": "broken"})
    assert "not tried again" not in ollamas.json()["error"]


def test_a_real_pull_of_what_is_here_is_at_once(real: httpx2.Client) -> None:
    body = real.post("/pull", json={"model": "power-tiny", "quantize": "q4", "init": True}).json()
    assert (body["status"], body["backend"]["preferred_quantized"]) == ("ok", True)
    assert real.post("/pull", json={"model": "org/nothing"}).status_code == 501


def test_the_real_engine_is_told_with_its_version(real: httpx2.Client) -> None:
    (engine,) = [one for one in real.get("/status").json()["engines"] if one["name"] == "llamacpp"]
    assert engine["usable"]
    assert engine["version"]
