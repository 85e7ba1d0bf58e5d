"""Create beside a server on this machine: files come into its models folder without being sent, and it is said how."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from a3s_power.core.names import ModelName
from a3s_power.service.transfers import LocalTransfers
from a3s_power.store import Store
from tests.fakes import service
from tests.models import tiny_llama
from tests.running import playing
from tests.scripted import Answer, Shell, scripted
from tests.shared import shared_file
from tests.stores import files_below

_NAME = ModelName.parse("mine")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The models folder that the commands' settings name; it is not there yet."""
    return tmp_path / "home" / "models"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A model, and a Modelfile that names it."""
    path = tmp_path / "tiny.gguf"
    tiny_llama(path)
    (tmp_path / "Modelfile").write_text("FROM ./tiny.gguf")
    return path


@pytest.fixture
def here(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server that uses that folder."""
    with playing(service(models, transfers=LocalTransfers(Store(models)))) as port:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{port}")
        yield models


def _digest(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def _weights(models: Path) -> Path:
    return Path(Store(models).models.read(_NAME).files.weights)


def _shares(target: int, request: int, source: int) -> int:
    """What the kernel does on a file system that can share blocks, as far as a reader sees it."""
    assert request == 0x40049409
    os.lseek(source, 0, os.SEEK_SET)
    while piece := os.read(source, 1 << 20):
        os.write(target, piece)
    return 0


def _cannot(*_: Any) -> int:
    raise OSError(95, "Operation not supported")


def test_a_file_is_copied_once_where_blocks_cannot_be_shared(
    shell: Shell, here: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "ioctl", _cannot)
    ran = shell("create", "mine")
    assert (ran.status, ran.out) == (0, "")
    assert f"copying file {_digest(tiny)} on this machine 100%\n" in ran.err
    assert _weights(here).read_bytes() == tiny.read_bytes()
    assert f"using the file that is there as {_digest(tiny)}\n" in shell("create", "mine").err


def test_blocks_are_shared_where_they_can_be(
    shell: Shell, here: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "ioctl", _shares)
    ran = shell("create", "mine")
    assert (ran.status, ran.out) == (0, "")
    assert f"sharing the blocks of {tiny} (reflink) as {_digest(tiny)}\n" in ran.err
    assert _weights(here).read_bytes() == tiny.read_bytes()
    assert len(files_below(here / "blobs")) == 2


def test_a_reference_leaves_the_file_where_it_is(shell: Shell, here: Path, tiny: Path) -> None:
    ran = shell("create", "mine", "--link", "reference")
    said = f"using {tiny} without a copy (reference: it must stay where it is) as {_digest(tiny)}\n"
    assert (ran.status, said in ran.err) == (0, True)
    assert _weights(here) == tiny
    assert tiny.stat().st_nlink == 1


def test_a_hard_link_is_a_second_name_of_the_file(shell: Shell, here: Path, tiny: Path) -> None:
    ran = shell("create", "mine", "--link=hard")
    assert (ran.status, f"without a copy (hard link) as {_digest(tiny)}\n" in ran.err) == (0, True)
    assert _weights(here).samefile(tiny)


def test_a_draft_model_comes_the_same_way(shell: Shell, here: Path, tiny: Path, tmp_path: Path) -> None:
    tiny_llama(tmp_path / "small.gguf", seed=1)
    (tmp_path / "Modelfile").write_text("FROM ./tiny.gguf\nDRAFT ./small.gguf")
    assert shell("create", "mine", "--link", "reference", "--draft-quantize", "q8_0").status == 0
    files = Store(here).models.read(_NAME).files
    assert (files.weights, Path(files.draft).parent) == (str(tiny), here / "blobs")
    shown = shell("show", "mine", "--modelfile").out
    assert (f"FROM {tiny}\n" in shown, f"DRAFT {files.draft}\n" in shown) == (True, True)


def test_an_adapter_may_be_a_folder_of_safetensors(shell: Shell, here: Path) -> None:
    folder = shared_file("models/power-tiny/power-tiny-lora-arr")
    Path("Modelfile").write_text(f"FROM power-tiny\nADAPTER {folder}\n")
    ran = shell("create", "mine")
    assert (ran.status, "converting adapter\n" in ran.err) == (0, True)
    assert len(Store(here).models.read(_NAME).files.adapters) == 1


def test_a_projector_can_be_added_to_a_model(shell: Shell, here: Path) -> None:
    projector = shared_file("models/power-tiny/power-tiny-mmproj.gguf")
    Path("Modelfile").write_text(f"FROM power-tiny\nFROM {projector}\n")
    assert shell("create", "mine").status == 0
    assert Store(here).models.read(_NAME).can("vision")


@pytest.mark.parametrize("flags", [[], ["--link", "reference"]])
def test_a_file_that_cannot_be_read_is_told(shell: Shell, here: Path, flags: list[str]) -> None:
    Path("Modelfile").write_text("FROM /dev/zero")
    ran = shell("create", "mine", *flags)
    assert (ran.status, "not a regular file" in ran.err) == (1, True)


def test_a_server_of_another_folder_gets_the_file(
    shell: Shell, models: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    with playing(service(elsewhere, transfers=LocalTransfers(Store(elsewhere)))) as port:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{port}")
        refused = shell("create", "mine", "--link", "reference")
        ran = shell("create", "mine")
    complaint = "--link needs a server on this machine that uses the models folder of these settings"
    assert (refused.status, f"Error: {complaint}\n" in refused.err) == (1, True)
    assert f"copying file {_digest(tiny)} 100%\n" in ran.err
    assert _weights(elsewhere).read_bytes() == tiny.read_bytes()
    assert not models.exists()


def test_a_folder_that_cannot_be_written_is_left_to_the_server(shell: Shell, models: Path, tiny: Path) -> None:
    models.parent.mkdir()
    models.write_text("no folder")
    answers = {"GET /": Answer(), "POST /api/create": Answer(lines=({"status": "success"},))}
    path = f"/api/blobs/{_digest(tiny)}"
    with scripted(answers | {f"HEAD {path}": Answer(status=404), f"POST {path}": Answer(status=201)}) as server:
        assert shell("create", "mine", server=server).status == 0
    assert server.bodies(path) == [b"", tiny.read_bytes()]


def test_how_to_link_must_be_known(shell: Shell) -> None:
    ran = shell("create", "mine", "--link", "soft")
    assert ran.err == 'Error: invalid value for --link: "soft" (must be hard or reference)\n'
