"""Where prompts are kept that outlive their child: a folder for each way of loading, bounded, for us alone."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from a3s_power.core.errors import EngineFailed
from a3s_power.engines.engine import LoadOptions
from a3s_power.scheduler.prefixes import Prefixes
from tests.scheduling import FakeRunner, a_need

_OPTIONS = LoadOptions(context_length=4096)


class Keeping(FakeRunner):
    """One that writes so many bytes, or fails."""

    def __init__(self, folder: str, size: int) -> None:
        super().__init__(1, ready=True)
        self.folder = Path(folder)
        self.size = size
        self.limits = list[int]()

    async def keep_prompts(self, limit: int) -> int:
        """Write."""
        self.limits.append(limit)
        if self.size < 0:
            raise EngineFailed("the disk is full")
        (self.folder / "slot-0.bin").write_bytes(bytes(self.size))
        return 1


def _place(prefixes: Prefixes, options: LoadOptions = _OPTIONS, **need: Any) -> str:
    return prefixes.place(a_need(**need), options)


@pytest.mark.parametrize(
    "prefixes", [lambda _folder: Prefixes(), lambda folder: Prefixes(folder, 0), lambda _folder: Prefixes(None, 1000)]
)
def test_nothing_is_kept_unless_it_is_wanted(tmp_path: Path, prefixes: Callable[[Path], Prefixes]) -> None:
    assert not _place(prefixes(tmp_path / "prompts"))
    assert not list(tmp_path.iterdir())


def test_some_loads_have_nothing_to_keep(tmp_path: Path) -> None:
    prefixes = Prefixes(tmp_path, 1000)
    assert not _place(prefixes, embedding=True)
    assert not _place(prefixes, LoadOptions(context_length=4096, draft="model"))
    assert _place(prefixes, LoadOptions(context_length=4096, draft="ngram"))


def test_a_folder_is_for_us_alone_and_the_same_for_the_same_load(tmp_path: Path) -> None:
    prefixes = Prefixes(tmp_path / "prompts", 1000)
    place = _place(prefixes)
    assert place == _place(prefixes)
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "prompts", Path(place))] == [0o700, 0o700]


@pytest.mark.parametrize(
    ("need", "options"),
    [
        ({"name": "b"}, {}),
        ({"adapters": (("/blobs/a", 1.0),)}, {}),
        ({"projectors": ("/blobs/p",)}, {}),
        ({"engine": "echo"}, {}),
        ({}, {"context_length": 8192}),
        ({}, {"parallel": 2}),
        ({}, {"kv_cache_type": "q8_0"}),
        ({}, {"gpu_layers": 3}),
    ],
)
def test_another_way_of_loading_has_another_folder(
    tmp_path: Path, need: dict[str, Any], options: dict[str, Any]
) -> None:
    prefixes = Prefixes(tmp_path, 1000)
    other = LoadOptions(**{"context_length": 4096} | options)
    assert _place(prefixes) != _place(prefixes, other, **need)


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert not _place(Prefixes(tmp_path / "file" / "prompts", 1000))
    assert "cannot be kept" in caplog.text


async def test_those_used_longest_ago_go_when_there_are_too_many(tmp_path: Path) -> None:
    prefixes, places = Prefixes(tmp_path, 1000), list[Path]()
    for number, name in enumerate("abc"):
        places.append(Path(_place(prefixes, name=name)))
        runner = Keeping(str(places[-1]), 400)
        await prefixes.keep(runner, str(places[-1]))
        assert runner.limits == [1000]
        os.utime(places[-1], (number, number))
    prefixes.tidy()
    assert [place.exists() for place in places] == [False, True, True]


async def test_one_that_is_too_large_alone_goes_too(tmp_path: Path) -> None:
    prefixes = Prefixes(tmp_path, 1000)
    place = _place(prefixes)
    await prefixes.keep(Keeping(place, 2000), place)
    assert not Path(place).exists()


async def test_a_child_that_cannot_write_ends_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prefixes = Prefixes(tmp_path, 1000)
    place = _place(prefixes)
    await prefixes.keep(Keeping(place, -1), place)
    assert "were not kept" in caplog.text


async def test_one_that_is_stuck_is_not_asked(tmp_path: Path) -> None:
    prefixes = Prefixes(tmp_path, 1000)
    runner = Keeping(_place(prefixes), 1)
    runner.poisoned = True
    await prefixes.keep(runner, str(runner.folder))
    assert not runner.limits
