"""What a model has read outlives its child, where that is wanted: the next one reads only what is new."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from a3s_power.core.errors import EngineFailed
from a3s_power.core.events import Done
from a3s_power.core.model import ModelFiles
from tests.runners import answer, load_options, raw, spawned
from tests.shared import BUILTIN_MODEL

_ENOUGH = 1 << 30
_TALES = tuple(f"{name} is a {word} of the house and has a name. " * 12 for name, word in (("A", "cat"), ("B", "dog")))


async def _turn(scratch: Path, folder: Path, *texts: str, keep: int = _ENOUGH, **options: Any) -> list[Done]:
    """Load, ask for each text, and keep what was read; how each answer ended."""
    async with spawned("llamacpp", scratch) as runner:
        files = ModelFiles(weights=str(BUILTIN_MODEL), prompts=str(folder))
        await runner.load(files, load_options(**options))
        ends = [(await answer(runner, raw(text, num_predict=4)))[1] for text in texts]
        await runner.keep_prompts(keep)
        return ends


def _read(done: Done) -> int:
    return done.usage.prompt_tokens - done.usage.cached_tokens


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where they are kept."""
    folder = tmp_path / "prompts"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The one that runners are for."""
    return "asyncio"


@pytest.fixture(scope="module")
async def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first tale in it."""
    folder = tmp_path_factory.mktemp("written")
    await _turn(folder.parent, folder, _TALES[0], parallel=1)
    return folder


@pytest.mark.parametrize("slots", [1, 2])
async def test_the_next_child_goes_on_where_the_last_one_ended(tmp_path: Path, folder: Path, slots: int) -> None:
    tales = _TALES[:slots]
    first = await _turn(tmp_path, folder, *tales, parallel=slots)
    assert all(_read(done) > 100 for done in first)
    again = await _turn(tmp_path, folder, *(tale + "And more." for tale in tales), parallel=slots)
    assert [_read(done) < 15 for done in again] == [True] * slots
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


async def test_nothing_is_written_for_short_prompts_or_without_room(tmp_path: Path, folder: Path) -> None:
    await _turn(tmp_path, folder, "Hello", parallel=1)
    await _turn(tmp_path, folder, _TALES[0], parallel=1, keep=1000)
    assert not [file for file in folder.iterdir() if file.name.startswith("slot")]


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def _bent(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _of_another(file: Path) -> None:
    note = file.with_suffix(".json")
    note.write_text(json.dumps(json.loads(note.read_text()) | {"settings": "another's"}))


def _no_json(file: Path) -> None:
    file.with_suffix(".json").write_text("{")


@pytest.mark.parametrize("damage", [_cut, _bent, _of_another, _no_json, Path.unlink])
async def test_a_file_that_is_not_as_it_was_written_is_left_alone(
    tmp_path: Path, written: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    caplog.set_level(logging.INFO, "a3s_power.runner")
    folder = shutil.copytree(written, tmp_path / "damaged")
    damage(folder / "slot-0.bin")
    (done,) = await _turn(tmp_path, folder, _TALES[0], parallel=1)
    assert done.usage.cached_tokens == 0
    assert "slot 0 is not used" in caplog.text


async def test_a_disk_that_refuses_fails_the_keeping_and_nothing_else(tmp_path: Path, folder: Path) -> None:
    async with spawned("llamacpp", tmp_path) as runner:
        await runner.load(ModelFiles(weights=str(BUILTIN_MODEL), prompts=str(folder)), load_options(parallel=1))
        await answer(runner, raw(_TALES[0], num_predict=4))
        (folder / "known.new").mkdir()
        with pytest.raises(EngineFailed):
            await runner.keep_prompts(_ENOUGH)
        assert _read((await answer(runner, raw(_TALES[0] + "And more.", num_predict=4)))[1]) < 15


async def test_without_a_place_nothing_is_kept(tmp_path: Path) -> None:
    async with spawned("llamacpp", tmp_path) as runner:
        await runner.load(ModelFiles(weights=str(BUILTIN_MODEL)), load_options(parallel=1))
        await answer(runner, raw(_TALES[0], num_predict=4))
        assert await runner.keep_prompts(_ENOUGH) == 0
