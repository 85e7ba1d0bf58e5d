"""Guessing ahead on a server: what each API tells of it, and why it is not done where it is asked for in vain."""

from collections.abc import Iterator
from typing import Any

import httpx2
import msgspec
import pytest

from a3s_power.core.manifest import DRAFT, ConfigBlob
from a3s_power.core.names import ModelName
from a3s_power.scheduler.drafts import NGRAM_TOKENS
from a3s_power.service.drafting import said
from a3s_power.service.local import LocalSettings, open_local
from a3s_power.store import Store
from tests.models import tiny_llama
from tests.running import DEADLINE, running
from tests.stores import add_model

ASKED = {"messages": [{"role": "user", "content": "Repeat la forever."}], "model": "power-tiny"}
OPTIONS = {"temperature": 0, "num_predict": 120, "num_ctx": 512}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A client of a server where text is guessed ahead for `power-tiny`, by itself, and for `slow`, where it was slow.

    `m` has a draft model that is as large as itself.
    """
    folder = tmp_path_factory.mktemp("drafts")
    store, tiny = Store(folder / "models"), folder / "m.gguf"
    tiny_llama(tiny)
    config = ConfigBlob(model_format="gguf", model_family="llama")
    add_model(store, "m", (DRAFT, tiny.read_bytes()), weights=tiny.read_bytes(), config=config)
    tiny_llama(tiny, seed=1)
    add_model(store, "slow", weights=tiny.read_bytes(), config=config)
    slow = store.models.read(ModelName.parse("slow")).weights
    (folder / "drafts.json").write_bytes(msgspec.json.encode({f"{slow.hex} ngram {NGRAM_TOKENS} llamacpp": 0.8}))
    settings = LocalSettings(
        models=folder / "models", speeds=folder / "speeds.json", drafts=said(["power-tiny=ngram", "slow=ngram"])
    )
    server = running(lambda: open_local(settings))
    with server as port, httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as client:
        yield client


def _metrics(http: httpx2.Client) -> dict[str, float]:
    lines = [line for line in http.get("/metrics").text.splitlines() if line.startswith("power_draft_")]
    return {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in lines if "power-tiny" in line}


def _resident(http: httpx2.Client, name: str) -> dict[str, Any]:
    found = [model for model in http.get("/api/ps").json()["models"] if model["name"].startswith(name)]
    assert len(found) == 1
    model: dict[str, Any] = found[0]
    return model


def test_text_is_guessed_ahead_and_every_api_tells_how_well(http: httpx2.Client) -> None:
    without = http.post("/api/chat", json=ASKED | {"stream": False, "options": OPTIONS | {"draft_num_predict": 0}})
    before = _metrics(http)
    native = http.post("/api/chat", json=ASKED | {"stream": False, "options": OPTIONS}).json()
    assert native["message"] == without.json()["message"]
    assert "draft_count" not in without.json()
    guessed, right = native["draft_count"], native["draft_accepted_count"]
    assert 60 < right <= guessed
    assert "reason" not in _resident(http, "power-tiny")
    after = _metrics(http)
    told = {name: after[name] - before.get(name, 0) for name in after}
    assert told == {"power_draft_tokens_total": guessed, "power_draft_accepted_tokens_total": right}

    generated = http.post(
        "/api/generate",
        json={"model": "power-tiny", "prompt": "Repeat la forever.", "stream": False, "options": OPTIONS},
    ).json()
    assert 60 < generated["draft_accepted_count"] <= generated["draft_count"]
    shown = http.post("/v1/chat/completions", json=ASKED | {"max_tokens": 120, "temperature": 0}).json()["usage"]
    details = shown["completion_tokens_details"]
    assert details["accepted_prediction_tokens"] > 60
    assert details["rejected_prediction_tokens"] >= 0
    aiserver = http.post("/chat", json=ASKED | {"stream": False, "options": OPTIONS}).json()
    assert 60 < aiserver["draft_accepted_count"] <= aiserver["draft_count"]


@pytest.mark.parametrize(
    ("model", "reason"),
    [("m", "draft model not used: it is not 5 times smaller than the model"), ("slow", "seen to run at 0.80")],
)
def test_why_nothing_is_guessed_is_told(http: httpx2.Client, model: str, reason: str) -> None:
    answer = http.post("/api/generate", json={"model": model, "prompt": "x", "stream": False, "options": OPTIONS})
    assert answer.status_code == 200
    assert "draft_count" not in answer.json()
    assert reason in _resident(http, model)["reason"]
