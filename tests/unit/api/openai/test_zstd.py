"""Bodies packed by Zstandard: unpacked, and never into more than a body may be."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from a3s_power.api.openai.zstd import UNPACKED_BYTES, unpacked
from a3s_power.core.errors import BadRequest, TooLarge
from a3s_power.core.events import Done, Text
from a3s_power.core.messages import Message
from a3s_power.core.requests import Chat
from a3s_power.core.usage import Usage
from tests.fakes import FakeInference, client, service

_PATH = "/v1/responses"
_HEADERS = {"content-encoding": "zstd"}


@pytest.fixture
def library() -> ModuleType:
    """What packs."""
    return import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


@pytest.mark.parametrize("content", [b"", b"a", b"ab" * 300_000, bytes(UNPACKED_BYTES)])
def test_what_was_packed_is_unpacked(library: ModuleType, content: bytes) -> None:
    assert unpacked(library.compress(content)) == content


def test_a_bomb_is_refused(library: ModuleType) -> None:
    """PATH-15."""
    with pytest.raises(TooLarge, match="the limit is 20 MiB"):
        unpacked(library.compress(bytes(UNPACKED_BYTES + 1)))


def test_a_packing_that_wants_much_memory_is_refused(library: ModuleType) -> None:
    options = {library.CompressionParameter.window_log: 27, library.CompressionParameter.content_size_flag: 0}
    packer = library.ZstdCompressor(options=options)
    packed = packer.compress(b"a" * 1000) + packer.flush()
    with pytest.raises(BadRequest, match="failed to decompress zstd body"):
        unpacked(packed)


@pytest.mark.parametrize("harm", [lambda packed: packed[:-3], lambda packed: packed + packed, lambda packed: b"{}"])
def test_what_is_no_whole_frame_is_refused(library: ModuleType, harm: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BadRequest, match="failed to decompress zstd body"):
        unpacked(harm(library.compress(b"abc" * 100)))


def test_a_packed_request_is_answered(library: ModuleType, tmp_path: Path) -> None:
    """Row 57."""
    inference = FakeInference(Text("a"), Done("stop", Usage()))
    http = client(tmp_path, service(tmp_path, inference))
    body = library.compress(msgspec.json.encode({"model": "m", "input": "hi" * 1000}))
    answer = http.post(_PATH, content=body, headers=_HEADERS)
    assert answer.json()["output"][0]["content"][0]["text"] == "a"
    (request,) = inference.asked
    assert isinstance(request, Chat)
    assert request.messages == (Message(role="user", content="hi" * 1000),)
    refused = http.post(_PATH, content=body[:-1], headers=_HEADERS)
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "failed to decompress zstd body")
    deep = library.compress(b'{"model":"m","input":' + b"[" * 100_000)
    assert http.post(_PATH, content=deep, headers=_HEADERS).status_code == 400


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd, gzip"])
def test_other_packings_are_refused(tmp_path: Path, encoding: str) -> None:
    answer = client(tmp_path).post(_PATH, content=b"x", headers={"content-encoding": encoding})
    assert answer.status_code == 415


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"])
def test_other_routes_take_no_packed_body(tmp_path: Path, path: str) -> None:
    assert client(tmp_path).post(path, content=b"x", headers=_HEADERS).status_code == 415
