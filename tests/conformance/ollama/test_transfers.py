"""Sections 2.11 and 2.12 of the sheet of Ollama's API: what pull and push read, and how they tell how it goes."""

import socket
from pathlib import Path
from typing import Any

import httpx2
import pytest

from a3s_power.core.errors import DiskFull, NeedsConsent, NotThere, StoreFailed, Unreachable
from a3s_power.core.events import Progress
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Pull, Push
from tests.fakes import FakeTransfers, client, lines, service
from tests.running import playing
from tests.served import until

_DIGEST = "sha256:" + "ab" * 32
_MANIFEST = Progress("pulling manifest")
_ABSENT = NotThere("pull model manifest: file does not exist")
_MISSING = StoreFailed("open manifests/registry.ollama.ai/library/m/latest: no such file or directory")
_SUCCESS = Progress("success")


def _asked(folder: Path, path: str, body: dict[str, Any], *script: Any) -> tuple[httpx2.Response, FakeTransfers]:
    """The answer to a request where transfers go by this script, and those."""
    transfers = FakeTransfers(*script)
    http = client(folder, service(folder, transfers=transfers))
    return http.post(path, json=body), transfers


def test_a_pull_is_told_line_by_line(tmp_path: Path) -> None:
    """Row 142."""
    script = [
        _MANIFEST,
        Progress("pulling abababababab", _DIGEST, 10),
        Progress("pulling abababababab", _DIGEST, 10, 10),
        Progress("verifying sha256 digest"),
        Progress("writing manifest"),
        _SUCCESS,
    ]
    answer, _ = _asked(tmp_path, "/api/pull", {"model": "m"}, *script)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert answer.text == (
        '{"status":"pulling manifest"}\n'
        f'{{"status":"pulling abababababab","digest":"{_DIGEST}","total":10}}\n'
        f'{{"status":"pulling abababababab","digest":"{_DIGEST}","total":10,"completed":10}}\n'
        '{"status":"verifying sha256 digest"}\n'
        '{"status":"writing manifest"}\n'
        '{"status":"success"}\n'
    )


def test_an_unknown_model_is_an_error_line(tmp_path: Path) -> None:
    """Row 140."""
    answer, _ = _asked(tmp_path, "/api/pull", {"model": "nope"}, _MANIFEST, _ABSENT)
    assert answer.status_code == 200
    assert lines(answer.text) == [{"status": "pulling manifest"}, {"error": str(_ABSENT)}]


def test_an_unknown_model_is_an_error_answer_where_nothing_is_streamed(tmp_path: Path) -> None:
    """Row 141."""
    answer, _ = _asked(tmp_path, "/api/pull", {"model": "nope", "stream": False}, _MANIFEST, _ABSENT)
    assert (answer.status_code, answer.json()) == (500, {"error": str(_ABSENT)})
    assert answer.headers["content-type"] == "application/json"


def test_a_push_of_an_unknown_model_is_an_error_line(tmp_path: Path) -> None:
    """Row 144."""
    script = [Progress("retrieving manifest"), Progress("couldn't retrieve manifest"), _MISSING]
    answer, _ = _asked(tmp_path, "/api/push", {"model": "m"}, *script)
    assert answer.status_code == 200
    assert lines(answer.text) == [
        {"status": "retrieving manifest"},
        {"status": "couldn't retrieve manifest"},
        {"error": str(_MISSING)},
    ]
    whole, _ = _asked(tmp_path, "/api/push", {"model": "m", "stream": False}, *script)
    assert (whole.status_code, whole.json()) == (500, {"error": str(_MISSING)})


@pytest.mark.parametrize("path", ["/api/pull", "/api/push"])
def test_without_a_stream_only_the_end_is_said(tmp_path: Path, path: str) -> None:
    answer, _ = _asked(tmp_path, path, {"model": "m", "stream": False}, _MANIFEST, _SUCCESS)
    assert (answer.status_code, answer.content) == (200, b'{"status":"success"}')
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("error", [DiskFull("no space left on device"), Unreachable('Get "https://x": refused')])
def test_an_error_before_the_first_line_has_its_own_status(tmp_path: Path, error: StoreFailed | Unreachable) -> None:
    answer, _ = _asked(tmp_path, "/api/pull", {"model": "m"}, error)
    assert (answer.status_code, answer.json()) == (error.status, {"error": error.message})
    assert answer.headers["content-type"] == "application/json"


def test_what_a_search_found_is_told_and_not_taken(tmp_path: Path) -> None:
    """OUT-13: a client may ask its user, and come again with the name, or with consent."""
    found = NeedsConsent("pull model manifest: file does not exist. A search found x", "hf.co/u/r:Q4_K_M")
    said = {"error": found.message, "found": "hf.co/u/r:Q4_K_M"}
    answer, transfers = _asked(tmp_path, "/api/pull", {"model": "lama"}, _MANIFEST, found)
    assert lines(answer.text)[-1] == said
    assert transfers.asked == [Pull(source="lama:latest")]
    whole, _ = _asked(tmp_path, "/api/pull", {"model": "lama", "stream": False}, found)
    assert (whole.status_code, whole.json()) == (500, said)


@pytest.mark.parametrize(
    ("body", "pull"),
    [
        ({"model": "m"}, Pull(source="m:latest")),
        ({"name": "a/m:1b"}, Pull(source="a/m:1b")),
        ({"model": "m:local"}, Pull(source="m:latest")),
        ({"model": "hf.co/u/r:Q8_0"}, Pull(source="hf.co/u/r:Q8_0")),
        ({"model": "http://h:5000/a/m", "insecure": True}, Pull(source="http://h:5000/a/m", insecure=True)),
        ({"model": "https://h/a/b/c/m.gguf"}, Pull(source="https://h/a/b/c/m.gguf")),
        ({"model": "m", "consent": True, "username": "u"}, Pull(source="m:latest", consent=True)),
    ],
)
def test_a_pull_is_of_a_name_or_an_address(tmp_path: Path, body: dict[str, Any], pull: Pull) -> None:
    _, transfers = _asked(tmp_path, "/api/pull", body, _SUCCESS)
    assert transfers.asked == [pull]


@pytest.mark.parametrize(
    ("body", "push"),
    [
        ({"name": "a/m"}, Push(model=ModelName.parse("a/m"))),
        (
            {"model": "m", "destination": "https://r", "insecure": True, "username": "u", "password": "p"},
            Push(model=ModelName.parse("m"), destination="https://r", insecure=True, username="u", password="p"),
        ),
        ({"model": "http://h:5000/a/m"}, Push(model=ModelName.parse("h:5000/a/m"), destination="http://h:5000")),
    ],
)
def test_a_push_may_have_a_destination(tmp_path: Path, body: dict[str, Any], push: Push) -> None:
    _, transfers = _asked(tmp_path, "/api/push", body, _SUCCESS)
    assert transfers.asked == [push]


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("/api/pull", {"model": ""}, 400, "invalid model name"),
        ("/api/pull", {"model": "a b"}, 400, "invalid model name"),
        ("/api/pull", {"model": "/etc/passwd"}, 400, "invalid model name"),
        *(
            ("/api/pull", {"model": address}, 400, "invalid model name")
            for address in ("file:///etc/passwd", "ftp://h/m.gguf", "data://x", "gopher://h/a/m")
        ),
        *(
            ("/api/pull", {"model": address}, 400, f"invalid URL {address!r}")
            for address in (
                "http://evil.com\\@127.0.0.1/m.gguf",
                "http://good.com:80@127.0.0.1/m.gguf",
                "http://127.1/m.gguf",
                "http://0/m.gguf",
                "https://ex\u3002com/m.gguf",
            )
        ),
        ("/api/pull", {"model": "m", "insecure": 1}, 400, None),
        ("/api/push", {"model": "", "name": ""}, 400, "model is required"),
        ("/api/push", {"model": "/etc/passwd"}, 400, "invalid model name"),
        ("/api/push", {"model": "../x"}, 400, "invalid model name"),
        ("/api/push", {"model": "m", "destination": []}, 400, None),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_line(
    tmp_path: Path, path: str, body: dict[str, Any], status: int, error: str | None
) -> None:
    """OUT-03, OUT-12, PATH-04: the same for what exists and what does not."""
    answer, transfers = _asked(tmp_path, path, body, _SUCCESS)
    assert (answer.status_code, transfers.asked) == (status, [])
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    kind = "PullRequest" if path == "/api/pull" else "PushRequest"
    assert answer.json()["error"] == error or f"Go struct field {kind}." in answer.json()["error"]


def test_a_client_that_leaves_ends_its_pull(tmp_path: Path) -> None:
    transfers = FakeTransfers(*[_MANIFEST] * 100_000)
    body = b'{"model":"m"}'
    head = f"POST /api/pull HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with playing(service(tmp_path, transfers=transfers)) as port:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(head + body)
            assert connection.recv(16).startswith(b"HTTP/1.1 200")
        until(lambda: transfers.left == 1)
