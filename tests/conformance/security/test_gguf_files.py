"""Hostile model files against the header reader: security cases GGUF-01 to GGUF-08, GGUF-13 and GGUF-15."""

import io
import os
import random
import socket
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from a3s_power.core.errors import BadFile
from a3s_power.core.limits import MIB
from a3s_power.gguf.facts import facts, kind_of, model_info, tensor_list
from a3s_power.gguf.layout import Header
from a3s_power.gguf.reader import read_header
from tests.hostile import ODD, REFUSED
from tests.models import tiny_llama

_SECONDS = 20.0
_BYTES = 32 * MIB


def _measured(read: Callable[[], Header]) -> Header:
    tracemalloc.start()
    begun = time.monotonic()
    try:
        return read()
    finally:
        seconds, (_, peak) = time.monotonic() - begun, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seconds < _SECONDS
        assert peak < _BYTES


@pytest.mark.parametrize("arrays", [False, True], ids=["without-arrays", "with-arrays"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_file_is_refused_with_a_reason(name: str, arrays: bool) -> None:
    """GGUF-01, GGUF-02, GGUF-04, GGUF-05, GGUF-06, GGUF-07, GGUF-08."""
    with pytest.raises(BadFile, match=r"\w") as caught:
        _measured(lambda: read_header(io.BytesIO(REFUSED[name]), arrays=arrays))
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("arrays", [False, True], ids=["without-arrays", "with-arrays"])
@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_read_and_described(name: str, arrays: bool) -> None:
    """GGUF-01, GGUF-13."""
    header = _measured(lambda: read_header(io.BytesIO(ODD[name]), arrays=arrays))
    assert facts(header).architecture == "llama"
    assert kind_of(header) == "model"
    assert model_info(header, verbose=arrays)["general.architecture"] == "llama"
    assert len(tensor_list(header)) == len(header.tensors)


def test_the_corpus_is_whole() -> None:
    assert len(REFUSED) + len(ODD) == 59


def test_a_model_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    """GGUF-07."""
    tiny_llama(tmp_path / "tiny.gguf")
    whole = (tmp_path / "tiny.gguf").read_bytes()
    chance = random.Random(7)
    for _ in range(200):
        cut = whole[: chance.randrange(len(whole))]
        with pytest.raises(BadFile):
            read_header(io.BytesIO(cut), arrays=True)


@pytest.mark.parametrize("arrays", [False, True])
def test_a_bit_flipped_anywhere_in_the_header_does_no_harm(tmp_path: Path, arrays: bool) -> None:
    """GGUF-07."""
    tiny_llama(tmp_path / "tiny.gguf")
    whole = bytearray((tmp_path / "tiny.gguf").read_bytes())
    header_bytes = read_header(tmp_path / "tiny.gguf").data_offset
    chance = random.Random(11)
    refused = 0
    for _ in range(1000):
        at, bit = chance.randrange(header_bytes), 1 << chance.randrange(8)
        whole[at] ^= bit
        try:
            facts(read_header(io.BytesIO(whole), arrays=arrays))
        except BadFile:
            refused += 1
        whole[at] ^= bit
    assert refused > 100


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/random", "/dev/null", "/proc/self/mem", "/"])
def test_a_device_or_folder_is_no_model(path: str) -> None:
    """GGUF-15."""
    if not Path(path).exists():
        pytest.skip(f"no {path} on this system")
    with pytest.raises(BadFile):
        _measured(lambda: read_header(path))


def test_a_pipe_nobody_writes_to_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadFile, match="not a regular file"):
        _measured(lambda: read_header(tmp_path / "pipe"))


def test_a_socket_is_no_model(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(BadFile, match="not a regular file"):
            read_header(tmp_path / "socket")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "tiny.gguf")
    (tmp_path / "link").symlink_to("tiny.gguf")
    with pytest.raises(BadFile, match="not a regular file"):
        read_header(tmp_path / "link")
