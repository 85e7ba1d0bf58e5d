"""Section 2.13 of the sheet of Ollama's API: what a server without a cloud answers; and the routes of our own."""

from pathlib import Path
from typing import Any

import pytest

from tests.fakes import client


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "answer"),
    [
        ("GET", "/api/status", b"", 200, {"cloud": {"disabled": True, "source": "env"}}),
        ("GET", "/api/experimental/model-recommendations", b"", 200, {"recommendations": []}),
        ("POST", "/api/me", b"", 503, {"error": "account unavailable"}),
        ("POST", "/api/signout", b"", 401, {"error": "you are not currently signed in"}),
        ("DELETE", "/api/user/keys/{key}", b"", 401, {"error": "you are not currently signed in"}),
        ("POST", "/api/experimental/web_search", b"", 400, {"error": "missing request body"}),
        (
            "POST",
            "/api/experimental/web_search",
            b"{}",
            403,
            {"error": "ollama cloud is disabled: web search is unavailable"},
        ),
        (
            "POST",
            "/api/experimental/web_fetch",
            b"{}",
            403,
            {"error": "ollama cloud is disabled: web fetch is unavailable"},
        ),
        (
            "POST",
            "/api/show",
            b'{"model":"m:cloud"}',
            403,
            {"error": "ollama cloud is disabled: remote model details are unavailable"},
        ),
        (
            "POST",
            "/api/pull",
            b'{"model":"m:cloud"}',
            403,
            {"error": "ollama cloud is disabled: remote model is unavailable"},
        ),
        (
            "POST",
            "/api/pull",
            b'{"model":"m:cloud:local"}',
            400,
            {"error": 'use either :local or :cloud, not both: "m:cloud:local"'},
        ),
        ("DELETE", "/api/delete", b'{"model":"m:7b-cloud"}', 404, {"error": "model 'm:7b-cloud' not found"}),
        ("GET", "/health", b"", 200, {"status": "ok", "version": "1.2.3", "uptime_seconds": 90, "loaded_models": 0}),
        ("GET", "/api/version", b"", 200, {"version": "0.9.9"}),
    ],
)
def test_a_route_answers(
    tmp_path: Path, method: str, path: str, content: bytes, status: int, answer: dict[str, Any]
) -> None:
    http = client(tmp_path, version="1.2.3", ollama_version="0.9.9")
    said = http.request(method, path, content=content)
    assert (said.status_code, said.json()) == (status, answer)
    assert said.headers["content-type"] == "application/json; charset=utf-8"
