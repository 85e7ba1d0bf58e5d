"""The description of all routes, `/openapi.json`, and its page, `/docs`: valid, whole both ways, and kept to."""

import base64
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis

from a3s_power.api.app import ENDPOINTS
from a3s_power.api.endpoint import Endpoint
from a3s_power.api.openapi import key, plain
from a3s_power.core.manifest import ConfigBlob
from a3s_power.service.local import KeptSettings, LocalSettings, open_local
from a3s_power.store import Store
from tests.fakes import client
from tests.fuzzing import Fuzzer, described, foreseen
from tests.models import tiny_llama, tiny_reranker
from tests.running import DEADLINE, running
from tests.stores import add_model

_CALLS = int(os.environ.get("A3S_POWER_FUZZ", "0"))
"""How many calls the fuzzer makes; 0 for the few that every run of the tests makes."""
_EACH = 15 if _CALLS else 2
_METHODS = {"get", "head", "post", "put", "patch", "delete"}
_DIGEST = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the server says of itself."""
    answer = client(tmp_path_factory.mktemp("models"), version="1.2.3").get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return dict(answer.json())


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server with a model of every kind that keeps responses, for calls of any kind."""
    folder = tmp_path_factory.mktemp("fuzzed")
    tiny_llama(folder / "m")
    tiny_llama(folder / "b", key_values={"llama.pooling_type": 1})
    tiny_reranker(folder / "r")
    for name in ("m", "b", "r"):
        config = ConfigBlob(model_format="gguf", model_family="llama")
        add_model(Store(folder / "models"), name, weights=(folder / name).read_bytes(), config=config)
    kept = KeptSettings(file=folder / "responses.db", count=50, size=10**7, seconds=3600.0)
    with running(lambda: open_local(LocalSettings(models=folder / "models", responses=kept))) as port:
        yield f"http://127.0.0.1:{port}"


def _operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_it_is_valid_openapi(description: dict[str, Any]) -> None:
    assert description["openapi"] == "3.1.0"
    assert description["info"]["version"] == "1.2.3"
    schemathesis.openapi.from_dict(description).validate()


def test_every_reference_leads_somewhere(description: dict[str, Any]) -> None:
    names = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', json.dumps(description)))
    assert names - set(description["components"]["schemas"]) == set()


def test_every_type_is_referred_to(description: dict[str, Any]) -> None:
    names = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', json.dumps(description)))
    assert set(description["components"]["schemas"]) - names == set()


def test_no_operation_is_called_like_another(description: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in _operations(description)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=key)
def test_every_route_is_described(description: dict[str, Any], endpoint: Endpoint) -> None:
    for method in endpoint.methods:
        operation = description["paths"][plain(endpoint.path)][method.lower()]
        assert operation["summary"]
        assert operation["x-scope"] == endpoint.scope
        body = operation.get("requestBody", {"content": {}})["content"]
        assert endpoint.body is None or "application/json" in body
        content = operation["responses"].get("200", {}).get("content", {})
        assert (endpoint.stream in content) == (endpoint.stream is not None)
        names = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
        assert names == set(re.findall(r"\{(\w+)", endpoint.path))


def test_every_described_path_answers(description: dict[str, Any], tmp_path: Path) -> None:
    http = client(tmp_path)
    for method, path, operation in _operations(description):
        assert method in _METHODS
        answer = http.request(method, path.replace("{digest}", _DIGEST).replace("{", "").replace("}", ""))
        assert answer.status_code != 405
        assert answer.text != "404 page not found"
        assert "no such route" not in answer.text
        assert str(answer.status_code) in operation["responses"], (method, path)


def test_nothing_beside_it_is_a_route(description: dict[str, Any]) -> None:
    told = {(method.upper(), path) for method, path, _ in _operations(description)}
    assert told == {(method, plain(endpoint.path)) for endpoint in ENDPOINTS for method in endpoint.methods}


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_it_is_made_once_and_needs_leave_to_read(tmp_path: Path, path: str) -> None:
    http = client(tmp_path)
    assert http.get(path).content == http.get(path).content == http.get(f"/ollama{path}").content
    assert http.get(path).headers["x-content-type-options"] == "nosniff"
    assert {endpoint.scope for endpoint in ENDPOINTS if endpoint.path == path} == {"read"}


def test_a_server_that_is_never_asked_imports_nothing_of_it() -> None:
    asked = "import sys, a3s_power.api.app; print(*(name for name in sys.modules if name.startswith('a3s_power.api')))"
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    assert "a3s_power.api.power.description" in found
    assert [name for name in found if name.endswith(("descriptions", "described", "openapi", "page"))] == []


def test_the_page_shows_every_route_and_type(description: dict[str, Any], tmp_path: Path) -> None:
    page = client(tmp_path, version="1.2.3").get("/docs").text
    for method, path, operation in _operations(description):
        assert f'<b class="method">{method.upper()}</b> <code>{path}</code>' in page
        assert f'id="{operation["operationId"]}"' in page
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert targets - set(re.findall(r'id="([^"]+)"', page)) == set()
    assert {f'id="{name}"' in page for name in description["components"]["schemas"]} == {True}


def test_the_page_runs_nothing_and_fetches_nothing(tmp_path: Path) -> None:
    answer = client(tmp_path).get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    known = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{known}'; ")
    assert "unsafe" not in policy
    assert not re.search(r"<script|<img|<link|<iframe|https?:|\son\w+=|\sstyle=|url\(|@import", answer.text)


@pytest.mark.timeout(max(120, _CALLS))
def test_answers_to_calls_that_nobody_thought_of_are_as_described(fuzzed: str) -> None:
    """A few hundred of them; `A3S_POWER_FUZZ=20000` makes so many."""
    told = httpx2.get(f"{fuzzed}/openapi.json", timeout=DEADLINE).json()
    fuzzer = Fuzzer(fuzzed, told)
    fuzzer.run(_EACH, 0)
    for number in itertools.takewhile(lambda _: fuzzer.calls < _CALLS, itertools.count(1)):
        fuzzer.run(_EACH, number)
    assert not fuzzer.findings, described(fuzzer.findings)
    assert {200, 400, 404} <= set(fuzzer.statuses)


@pytest.mark.parametrize(
    ("path", "change", "problem"),
    [
        ("/api/version", lambda answers: answers.pop("200"), "status"),
        ("/api/version", lambda answers: answers["200"].update(content={"text/plain": {}}), "content-type"),
        (
            "/api/version",
            lambda answers: answers["200"]["content"]["application/json"].update(schema={"required": ["x"]}),
            "required",
        ),
    ],
)
def test_an_answer_that_is_not_as_described_is_found(fuzzed: str, path: str, change: Any, problem: str) -> None:
    told = httpx2.get(f"{fuzzed}/openapi.json", timeout=DEADLINE).json()
    told["paths"] = {path: {"get": told["paths"][path]["get"]}}
    change(told["paths"][path]["get"]["responses"])
    fuzzer = Fuzzer(fuzzed, told)
    fuzzer.run(1, 0)
    assert problem in fuzzer.findings[0].problem.lower()


def test_a_piece_of_a_stream_that_is_not_as_described_is_found(fuzzed: str) -> None:
    told = httpx2.get(f"{fuzzed}/openapi.json", timeout=DEADLINE).json()
    told["paths"] = {"/api/generate": told["paths"]["/api/generate"]}
    told["components"]["schemas"]["ollama.GenerateAnswer"]["required"].append("nonsense")
    fuzzer = Fuzzer(fuzzed, told)
    fuzzer.run(10, 0)
    assert any("nonsense" in finding.problem for finding in fuzzer.findings)


def test_only_what_a_sheet_has_is_a_foreseen_failure() -> None:
    assert foreseen('{"error":"option \\"seed\\" must be of type integer"}')
    assert not foreseen('{"error":"internal server error, see the server\'s log for request x"}')
    assert not foreseen('{"error":{"message":"option"}}')
    assert not foreseen("")
