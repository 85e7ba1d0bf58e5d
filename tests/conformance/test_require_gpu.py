"""A model that must be on a graphics processor, where there is none: refused in a sentence, and nothing is loaded."""

from collections.abc import Iterator

import httpx2
import pytest

from a3s_power.core.manifest import ConfigBlob
from a3s_power.scheduler.devices import Gpus, models
from a3s_power.scheduler.settings import Settings
from a3s_power.service.local import LocalSettings, open_local
from a3s_power.store import Store
from tests.models import tiny_llama
from tests.running import DEADLINE, running
from tests.stores import add_model

SENTENCE = (
    "model 'm:latest' requires a graphics processor (gpu.require), and the engine here is built for none; "
    "docs/engines.md says which one to install"
)


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A client of a real server that has one model, and no engine for cards."""
    folder = tmp_path_factory.mktemp("gpu")
    tiny_llama(folder / "weights")
    config = ConfigBlob(model_format="gguf", model_family="llama")
    add_model(Store(folder / "models"), "m", weights=(folder / "weights").read_bytes(), config=config)
    scheduler = Settings(gpus=Gpus(models=models(["m=require"])))
    with (
        running(lambda: open_local(LocalSettings(models=folder / "models", scheduler=scheduler))) as port,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/generate", {"prompt": "hi"}),
        ("/api/chat", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/messages", {"max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}),
    ],
)
def test_it_is_refused_with_what_to_do(http: httpx2.Client, path: str, body: dict[str, object]) -> None:
    said = http.post(path, json={"model": "m", "stream": False} | body)
    error = said.json()["error"]
    assert said.status_code == 500
    assert (error if isinstance(error, str) else error["message"]) == SENTENCE
    assert http.get("/api/ps").json() == {"models": []}
