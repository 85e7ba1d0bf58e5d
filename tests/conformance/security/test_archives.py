"""Section 4 of the security sheet on archives: out by `GET "/api/export"`, in by `POST "/api/import"`, no further."""

import gzip
import io
import socket
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from a3s_power.core.manifest import SYSTEM
from a3s_power.store import Store
from tests.archives import BLOBS, HEAD, PLACE, SAID, WEIGHTS, WHOLE, archive, file, manifest, place
from tests.fakes import client, service
from tests.running import playing
from tests.served import until
from tests.stores import add_model, files_below


def _import(folder: Path, content: bytes, **headers: str) -> httpx2.Response:
    return client(folder).post("/api/import", content=content, headers=headers)


def test_a_model_goes_out_of_one_store_and_into_another(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    add_model(Store(here), "a/m:1b", (SYSTEM, SAID))
    out = client(here).get("/api/export", params={"model": "a/m:1b"})
    assert out.headers["content-type"] == "application/x-tar"
    assert out.headers["content-disposition"] == 'attachment; filename="m-1b.tar"'
    assert (out.headers["x-content-type-options"], int(out.headers["content-length"])) == ("nosniff", len(out.content))
    answer = _import(there, out.content)
    assert (answer.status_code, answer.json()) == (200, {"status": "success", "model": "a/m:1b"})
    assert files_below(there) == files_below(here)


def test_a_manifest_can_go_alone_and_its_blobs_one_by_one(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    made = add_model(Store(here), "m", (SYSTEM, SAID))
    other = client(there)
    out = client(here).get("/api/export?model=m&blobs=false")
    assert other.post("/api/import", content=out.content).status_code == 400
    for digest in made.blobs:
        content = client(here).get(f"/api/blobs/{digest}").content
        assert other.post(f"/api/blobs/{digest}", content=content).status_code == 201
    assert other.post("/api/import", content=out.content).status_code == 200
    assert files_below(there) == files_below(here)


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        ("", 400, "model is required"),
        ("model=", 400, "model is required"),
        ("model=../x", 400, "invalid model name"),
        ("model=%2Fetc%2Fpasswd", 400, "invalid model name"),
        ("model=m:cloud", 403, "ollama cloud is disabled: remote model is unavailable"),
        ("model=m&blobs=maybe", 400, "blobs must be true or false"),
        ("model=nope", 404, "model 'nope:latest' not found"),
    ],
)
def test_an_export_of_nothing_is_refused(tmp_path: Path, query: str, status: int, error: str) -> None:
    answer = client(tmp_path).get(f"/api/export?{query}")
    assert (answer.status_code, answer.json()) == (status, {"error": error})


def _slip(path: str) -> bytes:
    return archive(HEAD, *BLOBS, file(path, b"pwned"))


def _odd(kind: bytes) -> bytes:
    return archive(HEAD, *BLOBS, file("x", b"", type=kind, linkname="/etc/passwd"))


def _zipped(path: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        made.writestr(path, b"pwned")
    return target.getvalue()


def _zipped_link() -> bytes:
    target = io.BytesIO()
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(target, "w") as made:
        made.writestr(link, "/etc/passwd")
    return target.getvalue()


_HOSTILE = {
    "slip.tar": _slip("../../../../tmp/pwn"),
    "slip.tar.gz": gzip.compress(_slip("../../../../tmp/pwn")),
    "absolute.tar": _slip("/tmp/pwn"),
    "symlink.tar": _odd(tarfile.SYMTYPE),
    "symlink.tar.gz": gzip.compress(_odd(tarfile.SYMTYPE)),
    "hardlink.tar": _odd(tarfile.LNKTYPE),
    "hardlink.tar.gz": gzip.compress(_odd(tarfile.LNKTYPE)),
    "device.tar": _odd(tarfile.CHRTYPE),
    "device.tar.gz": gzip.compress(_odd(tarfile.CHRTYPE)),
    "slip.zip": _zipped("../../../../tmp/pwn"),
    "link.zip": _zipped_link(),
    "bomb.gz": gzip.compress(bytes(10 * 2**20)),
    "whole.tar.gz": gzip.compress(WHOLE),
    "wrong-bytes.tar": archive(HEAD, *BLOBS[:2], file(place(SAID), SAID[::-1])),
    "dangling.tar": archive(file(PLACE, manifest()), BLOBS[0]),
    "cut.tar": WHOLE[:3000],
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_hostile_archive_is_refused_whole(tmp_path: Path, name: str) -> None:
    """PATH-14, PATH-15: nothing of it is unpacked, and the refusal names no place of this machine."""
    folder = tmp_path / "models"
    answer = _import(folder, _HOSTILE[name])
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert str(tmp_path) not in answer.text
    assert files_below(tmp_path) == set()
    assert client(folder).get("/api/tags").json() == {"models": []}


def test_a_compressed_body_is_not_unpacked(tmp_path: Path) -> None:
    """PATH-15."""
    answer = _import(tmp_path, gzip.compress(WHOLE), **{"Content-Encoding": "gzip"})
    assert answer.status_code == 415
    assert files_below(tmp_path) == set()


def test_a_link_in_the_store_is_not_written_through(tmp_path: Path) -> None:
    """PATH-08."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    folder = tmp_path / "models"
    (folder / "blobs").mkdir(parents=True)
    (folder / place(WEIGHTS)).symlink_to(secret)
    assert _import(folder, WHOLE).status_code == 200
    assert (secret.read_bytes(), (folder / place(WEIGHTS)).is_symlink()) == (b"secret", False)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A real server over an empty store."""
    with playing(service(tmp_path / "models")) as port:
        yield port


def test_half_an_archive_leaves_nothing(port: int, tmp_path: Path) -> None:
    """PATH-10: as it is with a blob."""
    head = f"POST /api/import HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(WHOLE)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + WHOLE[:4000])
    until(lambda: files_below(tmp_path) == set())
    assert httpx2.get(f"http://127.0.0.1:{port}/api/version").status_code == 200
