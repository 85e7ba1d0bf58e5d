"""The table of endpoints is whole: every route has what its readers need, and answers what it does not take."""

from pathlib import Path

import pytest

from a3s_power.api.app import ENDPOINTS
from a3s_power.api.endpoint import Endpoint
from tests.fakes import client
from tests.shared import REPOSITORY

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_SCOPES = {"open", "infer", "read", "manage", "admin"}
_PATHS = sorted({endpoint.path for endpoint in ENDPOINTS})


def _filled(path: str) -> str:
    path = path.replace("{digest}", "sha256:" + "0" * 64).replace("{key}", "k")
    return path.replace("{model:path}", "m").replace("{work}", "edits")


def test_no_route_stands_twice() -> None:
    routes = [(method, endpoint.path) for endpoint in ENDPOINTS for method in endpoint.methods]
    assert len(routes) == len(set(routes))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.methods[0]} {endpoint.path}")
def test_a_route_says_who_may_and_what_it_reads(endpoint: Endpoint) -> None:
    assert endpoint.scope in _SCOPES
    assert set(endpoint.methods) <= set(_METHODS)
    changes = endpoint.scope in ("manage", "admin") or endpoint.methods in (("POST",), ("DELETE",))
    assert changes or set(endpoint.methods) <= {"GET", "HEAD"}
    assert endpoint.stream is None or endpoint.body is not None


@pytest.mark.parametrize("prefix", ["", "/ollama"])
@pytest.mark.parametrize("path", _PATHS)
def test_a_method_that_a_route_has_not_is_refused(tmp_path: Path, path: str, prefix: str) -> None:
    there = {method for endpoint in ENDPOINTS if endpoint.path == path for method in endpoint.methods}
    http = client(tmp_path)
    for method in set(_METHODS) - there:
        answer = http.request(method, prefix + _filled(path))
        assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, there)
        assert answer.text == ("" if method == "HEAD" else "405 method not allowed")


@pytest.mark.parametrize("path", _PATHS)
def test_a_route_has_a_test_of_its_answers(path: str) -> None:
    """Each is named in the conformance tests."""
    folder = REPOSITORY / "tests" / "conformance"
    texts = [file.read_text(encoding="utf-8") for file in folder.rglob("test_*.py")]
    assert any(f'"{path}"' in text or path.partition("{")[0] + "{" in text for text in texts)


@pytest.mark.parametrize("path", _PATHS)
def test_a_route_is_not_found_under_another_writing(tmp_path: Path, path: str) -> None:
    http = client(tmp_path)
    if path != "/":
        assert http.get(_filled(path).upper()).status_code == 404
        assert http.get(_filled(path) + "x/y").status_code == 404
