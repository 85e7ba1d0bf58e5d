"""Ranges of a blob: what goes on with a transfer that broke."""

import hashlib
import os
from pathlib import Path
from typing import Final

import httpx2
import pytest

from a3s_power.registry.settings import Cutting
from tests.fakes import client, service
from tests.pulling import pull, supply
from tests.running import playing
from tests.shared import BUILTIN_MODEL

_CONTENT: Final = os.urandom(1000)
_PATH: Final = f"/api/blobs/sha256:{hashlib.sha256(_CONTENT).hexdigest()}"


@pytest.mark.parametrize(
    ("wanted", "status", "said", "content"),
    [
        ("bytes=0-9", 206, "bytes 0-9/1000", _CONTENT[:10]),
        ("bytes=10-", 206, "bytes 10-999/1000", _CONTENT[10:]),
        ("bytes=-10", 206, "bytes 990-999/1000", _CONTENT[-10:]),
        ("bytes=-5000", 206, "bytes 0-999/1000", _CONTENT),
        ("bytes=990-5000", 206, "bytes 990-999/1000", _CONTENT[990:]),
        ("Bytes=999-999", 206, "bytes 999-999/1000", _CONTENT[999:]),
        ("bytes=1000-", 416, "bytes */1000", b""),
        ("bytes=-0", 416, "bytes */1000", b""),
        ("bytes=9-5", 200, None, _CONTENT),
        ("bytes=-", 200, None, _CONTENT),
        ("bytes=0-1,5-6", 200, None, _CONTENT),
        ("lines=0-1", 200, None, _CONTENT),
        ("", 200, None, _CONTENT),
    ],
)
def test_a_range_of_a_blob(tmp_path: Path, wanted: str, status: int, said: str | None, content: bytes) -> None:
    http = client(tmp_path, service(tmp_path))
    http.post(_PATH, content=_CONTENT)
    answer: httpx2.Response = http.get(_PATH, headers={"Range": wanted} if wanted else {})
    assert (answer.status_code, answer.headers.get("content-range"), answer.content) == (status, said, content)
    assert answer.headers["accept-ranges"] == "bytes"


def test_a_blob_is_pulled_from_a_server_of_ours_in_parts(tmp_path: Path) -> None:
    weights = BUILTIN_MODEL.read_bytes()
    digest = hashlib.sha256(weights).hexdigest()
    with playing(service(tmp_path / "theirs")) as port:
        address = f"http://127.0.0.1:{port}/api/blobs/sha256:{digest}"
        httpx2.post(address, content=weights).raise_for_status()
        world = supply(tmp_path, cutting=Cutting(parts=4, least=100_000, most=200_000))
        pull(world, address)
        (stored,) = world.store.manifests.scan().stored
        assert stored.manifest.layers[0].digest == f"sha256:{digest}"
