"""The security sheet's rows on paths, names and blobs, as far as a request can try them."""

import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from starlette.testclient import TestClient

from a3s_power.service.transfers import LocalTransfers
from a3s_power.store import Store
from tests.fakes import client, service
from tests.running import playing
from tests.stores import add_model, files_below

_HEX = "0" * 64
_TRICKS = [
    "../../../../var/pwn",
    "sha256:../../../../var/pwn",
    f"sha256-{_HEX[1:]}",
    f"sha256:{_HEX}0",
    f"sha256:{_HEX}\n",
    f"sha256:{_HEX}\0",
    f"sha256:..%2f{_HEX}",
    f"SHA256:{_HEX}",
    "sha256:" + "０" * 64,
    f"sha512:{_HEX}",
    f"sha256:{_HEX}/../x",
    "sha256:" + "g" * 64,
]


@pytest.fixture
def local(tmp_path: Path) -> TestClient:
    """A client over an empty store."""
    return client(tmp_path / "models", service(tmp_path / "models"))


@pytest.mark.parametrize("digest", _TRICKS)
@pytest.mark.parametrize("method", ["HEAD", "GET", "POST", "DELETE"])
def test_a_digest_is_never_a_path(local: TestClient, tmp_path: Path, method: str, digest: str) -> None:
    """PATH-01: also with its slashes hidden from the router."""
    for text in (quote(digest), quote(digest, safe="")):
        answer = local.request(method, f"/api/blobs/{text}", content=b"x" if method == "POST" else None)
        assert answer.status_code in (301, 400, 404, 405), text
        if answer.status_code == 400 and method != "HEAD":
            assert answer.json() == {"error": "invalid digest format"}
    assert files_below(tmp_path) == set()


@pytest.mark.parametrize(
    "files",
    [
        {"a": "sha256:../../x"},
        {"a": ""},
        {"a": f"sha256:{_HEX}\n"},
    ],
)
@pytest.mark.parametrize("field", ["files", "adapters"])
def test_a_digest_of_a_create_is_never_a_path(tmp_path: Path, field: str, files: dict[str, str]) -> None:
    """PATH-02."""
    answer = _real(tmp_path).post("/api/create", json={"model": "x", "files": {}, field: files})
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid digest format"})


@pytest.mark.parametrize(
    "name",
    ["../../x", "/etc/x", "a/../../x", "", "a\0b", "C:\\x", "a\\..\\b", ".", "a//b", "a/"],
)
def test_a_file_of_a_create_is_relative(tmp_path: Path, name: str) -> None:
    """PATH-03: and the refusal names no path."""
    answer = _real(tmp_path).post("/api/create", json={"model": "x", "files": {name: f"sha256:{_HEX}"}})
    assert (answer.status_code, answer.json()) == (400, {"error": "file path must be relative"})


@pytest.mark.parametrize("source", ["/etc/passwd", "/nope", "./x", "~/x", "file:///etc/passwd", "../x", "a/../b"])
def test_a_source_is_never_a_file(tmp_path: Path, source: str) -> None:
    """PATH-04: the same answer whether the file exists or not."""
    answer = _real(tmp_path).post("/api/create", json={"model": "x", "from": source})
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid model name"})


_NAMES = [
    *("../x", "..", ".", "a/../b", "/x", "a//b", "a\\b", "a:b:c", "a" * 81, "a\nb", "a\x1b[31m", "-rf", "--help"),
    *(
        "é",
        "\U0001f600",
        "\u202ea",
        "%2e%2e",
        "a" * 2**20,
        "a b",
        "a\0",
        "m:",
        ":m",
        "m@x",
        "m/",
        "Ａ",
    ),
]


@pytest.mark.parametrize("name", _NAMES)
def test_a_name_is_never_a_path(local: TestClient, tmp_path: Path, name: str) -> None:
    """PATH-05."""
    for path in (
        "/api/chat",
        "/api/generate",
        "/api/embed",
        "/api/embeddings",
        "/api/show",
        "/api/pull",
        "/api/create",
    ):
        answer = local.post(path, json={"model": name})
        assert (answer.status_code, answer.json()) == (400, {"error": "invalid model name"}), path
    for body in ({"source": name, "destination": "x"}, {"source": "x", "destination": name}):
        answer = local.post("/api/copy", json=body)
        assert answer.status_code == 400
        assert answer.json()["error"].endswith("is invalid")
    assert local.request("DELETE", "/api/delete", content=json.dumps({"model": name})).status_code == 400
    assert files_below(tmp_path) == set()


def test_a_link_in_the_store_is_not_followed(local: TestClient, tmp_path: Path) -> None:
    """PATH-08."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    blobs = tmp_path / "models" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"sha256-{_HEX}").symlink_to(secret)
    answer = local.get(f"/api/blobs/sha256:{_HEX}")
    assert (answer.status_code, b"secret" in answer.content) == (404, False)


def test_wrong_content_leaves_no_file(local: TestClient, tmp_path: Path) -> None:
    """PATH-09."""
    answer = local.post(f"/api/blobs/sha256:{_HEX}", content=b"x")
    found = hashlib.sha256(b"x").hexdigest()
    error = f'digest mismatch, expected "sha256:{_HEX}", got "sha256:{found}"'
    assert (answer.status_code, answer.json()) == (400, {"error": error})
    assert files_below(tmp_path) == set()


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A real server over an empty store."""
    with playing(service(tmp_path / "models")) as port:
        yield port


def test_half_an_upload_leaves_no_file(port: int, tmp_path: Path) -> None:
    """PATH-10."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = f"POST /api/blobs/sha256:{_HEX} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 3_000_000)
        _until(lambda: bool(files_below(tmp_path)))
    _until(lambda: not files_below(tmp_path))


def test_two_uploads_of_one_blob_at_once_make_one(port: int, tmp_path: Path) -> None:
    """PATH-10."""
    content = os.urandom(3_000_000)
    path = f"http://127.0.0.1:{port}/api/blobs/sha256:{hashlib.sha256(content).hexdigest()}"
    with ThreadPoolExecutor(2) as pool:
        statuses = set(pool.map(lambda _: httpx2.post(path, content=content).status_code, range(2)))
    assert statuses <= {200, 201}
    assert len(files_below(tmp_path)) == 1
    assert httpx2.get(path).content == content


def test_an_upload_larger_than_the_disk_is_refused_before_it_comes(port: int, tmp_path: Path) -> None:
    """PATH-11."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(10)
        head = f"POST /api/blobs/sha256:{_HEX} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999999\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 507 ")
    assert files_below(tmp_path) == set()


def test_a_blob_that_is_referred_to_stays(tmp_path: Path) -> None:
    """PATH-12."""
    store = Store(tmp_path / "models")
    manifest = add_model(store, "m")
    http = client(tmp_path / "models")
    for digest in (manifest.config.digest, manifest.layers[0].digest):
        assert http.delete(f"/api/blobs/{digest}").status_code == 409
        assert http.head(f"/api/blobs/{digest}").status_code == 200


def _real(folder: Path) -> TestClient:
    """A client over a real builder of models."""
    store = Store(folder / "models")
    return client(folder, service(folder / "models", transfers=LocalTransfers(store)))


def _until(holds: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)
