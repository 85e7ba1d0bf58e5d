"""The list of models, one of them under any writing of its name, and what a browser asks before it asks."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from a3s_power.core.manifest import ConfigBlob
from a3s_power.core.model import Resident
from a3s_power.store import Store
from tests.fakes import FakeStatus, client, service
from tests.stores import add_model, named

_CONFIG = ConfigBlob(model_format="gguf", model_family="llama", context_length=4096)


def _listed(tmp_path: Path) -> Any:
    answer = client(tmp_path).get("/v1/models")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return answer.json()


def test_no_models_are_an_empty_list(tmp_path: Path) -> None:
    """Row 45."""
    assert _listed(tmp_path) == {"object": "list", "data": []}


def test_models_are_listed(tmp_path: Path) -> None:
    """Row 45."""
    add_model(Store(tmp_path), "ns/M:x", config=_CONFIG)
    (found,) = _listed(tmp_path)["data"]
    age = datetime.now(UTC) - datetime.fromtimestamp(found.pop("created"), UTC)
    assert age < timedelta(hours=1)
    assert found == {"id": "ns/M:x", "object": "model", "owned_by": "ns", "max_context_length": 4096}


@pytest.mark.parametrize("written", ["ns/M:x", "ns%2FM:x", "NS/m:X", "ns%2Fm%3Ax"])
@pytest.mark.parametrize("prefix", ["", "/ollama"])
def test_one_is_found_as_it_is_written(tmp_path: Path, written: str, prefix: str) -> None:
    """Row 45: with slashes, encoded or not."""
    store = Store(tmp_path)
    add_model(store, "ns/M:x")
    model = store.models.read(named("ns/M:x"))
    loaded = FakeStatus(Resident(model=model, memory_bytes=1, gpu_bytes=0, context_length=777, expires=None))
    found = client(tmp_path, service(tmp_path, status=loaded)).get(f"{prefix}/v1/models/{written}").json()
    assert found["id"] == written.replace("%2F", "/").replace("%3A", ":")
    assert (found["owned_by"], found["context_length"], found["max_context_length"]) == ("ns", 777, 2048)


@pytest.mark.parametrize(
    ("written", "status", "complaint"),
    [
        ("nope", 404, "model 'nope' not found"),
        ("a/b:c", 404, "model 'a/b:c' not found"),
        ("a/../b", 400, "invalid model name"),
        ("a%20b", 400, "invalid model name"),
    ],
)
def test_one_that_is_not_there(tmp_path: Path, written: str, status: int, complaint: str) -> None:
    """Row 45."""
    answer = client(tmp_path).get(f"/v1/models/{written.replace('..', '%2e%2e')}")
    assert (answer.status_code, answer.json()["error"]["message"]) == (status, complaint)


def test_clients_of_another_dialect_are_answered_in_theirs(tmp_path: Path) -> None:
    add_model(Store(tmp_path), "ns/m:x")
    theirs = {"anthropic-version": "2023-06-01"}
    http = client(tmp_path)
    assert http.get("/v1/models", headers=theirs).json()["data"][0]["type"] == "model"
    assert http.get("/v1/models/ns/m:x", headers=theirs).json()["display_name"] == "ns/m:x"
    assert http.get("/v1/models/nope", headers=theirs).json()["type"] == "error"


def test_a_browser_may_send_what_the_client_sends(tmp_path: Path) -> None:
    """Row 59."""
    asked = {
        "origin": "http://localhost:3000",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-os,x-stainless-helper-method",
    }
    answer = client(tmp_path).options("/v1/chat/completions", headers=asked)
    assert answer.status_code == 204
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert all(header in allowed.split(",") for header in asked["access-control-request-headers"].split(","))
