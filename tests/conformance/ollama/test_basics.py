"""Rows of the sheet of Ollama's API that hold for every route: roots, paths, bodies and model names."""

from typing import Any

import httpx2
import pytest

from tests.fakes import lines


def test_the_root_says_that_ollama_is_running(http: httpx2.Client) -> None:
    """Row 1."""
    answer = http.get("/")
    assert (answer.status_code, answer.text) == (200, "Ollama is running")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_a_head_of_the_root_has_its_headers_and_no_body(http: httpx2.Client) -> None:
    """Row 2."""
    answer = http.head("/")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "17")


def test_a_head_of_the_version_is_answered(http: httpx2.Client) -> None:
    """Row 3."""
    assert http.head("/api/version").status_code == 200
    assert list(http.get("/api/version").json()) == ["version"]


@pytest.mark.parametrize(
    ("row", "method", "path", "status", "text", "headers"),
    [
        (6, "GET", "/api/nope", 404, "404 page not found", {}),
        (6, "GET", "/API/tags", 404, "404 page not found", {}),
        (7, "GET", "/api/show", 405, "405 method not allowed", {"allow": "POST"}),
        (7, "PUT", "/api/tags", 405, "405 method not allowed", {"allow": "HEAD, GET"}),
        (7, "HEAD", "/api/ps", 405, "", {"allow": "GET"}),
        (8, "POST", "/api/delete", 405, "405 method not allowed", {"allow": "DELETE"}),
        (9, "POST", "/api/chat/", 307, "", {"location": "/api/chat"}),
        (9, "GET", "/api/tags/", 301, "", {"location": "/api/tags"}),
        (9, "GET", "/ollama/api/tags/?a=b", 301, "", {"location": "/ollama/api/tags?a=b"}),
        (9, "POST", "/api//chat", 301, "", {"location": "/api/chat"}),
        (9, "GET", "/ollama/../api/./tags", 200, None, {}),
    ],
)
def test_the_router_answers_like_ollamas(
    http: httpx2.Client, row: int, method: str, path: str, status: int, text: str | None, headers: dict[str, str]
) -> None:
    answer = http.request(method, path)
    assert answer.status_code == status, f"row {row}"
    assert text is None or answer.text == text, f"row {row}"
    assert {name: answer.headers[name] for name in headers} == headers, f"row {row}"
    if status in (404, 405):
        assert answer.headers["content-type"] == "text/plain", f"row {row}"


@pytest.mark.parametrize(
    ("row", "path", "content"),
    [
        (14, "/api/chat", b'{"model":"m"} garbage'),
        (15, "/api/chat", b'{"MODEL":"m"}'),
        (15, "/api/chat", b'{"Model":"x","modeL":"m"}'),
        (18, "/api/chat", b'{"model":"m","messages":null,"stream":null,"keep_alive":null,"options":null}'),
        (18, "/api/generate", b'{"model":"m","prompt":null,"think":null,"images":null,"context":null,"format":null}'),
        (17, "/api/chat?model=nope", b'{"model":"m","unknown":{"a":[1.5e3]}}'),
    ],
)
def test_a_body_is_read_as_go_reads_it(http: httpx2.Client, row: int, path: str, content: bytes) -> None:
    answer = http.post(path, content=content)
    assert (answer.status_code, answer.json()["done_reason"]) == (200, "load"), f"row {row}"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_the_type_of_a_body_does_not_matter(http: httpx2.Client, content_type: str) -> None:
    """Row 16."""
    answer = http.post("/api/chat", content=b'{"model":"m"}', headers={"Content-Type": content_type})
    assert answer.json()["done_reason"] == "load"


def test_the_query_does_not_matter(http: httpx2.Client) -> None:
    """Row 17."""
    body = {"model": "m", "prompt": "a", "options": {"num_predict": 2}}
    answer = http.post("/api/generate?stream=false", json=body)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert len(lines(answer.text)) > 1


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (28, "M"),
        (30, "registry.ollama.ai/library/m:latest"),
        (31, "m:local"),
        (30, "library/m"),
        (31, " m "),
        (30, "https://registry.ollama.ai/library/M:LATEST"),
    ],
)
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/api/embed"])
def test_a_name_is_echoed_as_it_was_written(http: httpx2.Client, row: int, path: str, name: str) -> None:
    body: dict[str, Any] = {"model": name}
    if path == "/api/embed":
        body = {"model": name.replace("m", "b").replace("M", "B")} if "." not in name else {"model": "B"}
    answer = http.post(path, json=body)
    assert (answer.status_code, answer.json()["model"]) == (200, body["model"]), f"row {row}"


def test_every_route_is_there_a_second_time(http: httpx2.Client) -> None:
    """Beside the sheet: a gateway in front of other services has the routes under `/ollama`."""
    assert http.get("/ollama/api/version").json() == http.get("/api/version").json()
    assert http.get("/ollama/").text == "Ollama is running"
