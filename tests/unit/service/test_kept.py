"""Kept responses: found again, forgotten in time, within their bounds, and nobody else's to read."""

import math
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from a3s_power.core.errors import BadRequest, NotFound, StoreFailed, TooLarge
from a3s_power.service import kept
from a3s_power.service.kept import LocalResponses
from a3s_power.service.ports import Kept

_MANY = 1_000_000


@contextmanager
def _opened(folder: Path, *, count: int = 10, size: int = _MANY, seconds: float = math.inf) -> Iterator[LocalResponses]:
    with closing(LocalResponses(folder / "kept" / "responses.db", count=count, size=size, seconds=seconds)) as opened:
        yield opened


def _response(number: int, previous: str = "", items: bytes = b"[]") -> Kept:
    return Kept(f"resp_{number}", previous, items, b"{}")


async def _there(responses: LocalResponses, numbers: range) -> list[int]:
    """Those that are there; finding one is using it, so the last one that is there was used last."""
    found = []
    for number in numbers:
        try:
            found.append(int((await responses.find(f"resp_{number}")).id.removeprefix("resp_")))
        except NotFound:
            continue
    return found


async def test_a_response_is_found_again_also_when_the_file_was_closed(tmp_path: Path) -> None:
    one = Kept("resp_1", "", b'[{"a":"\xc3\xa9"}]', b'{"b":1}')
    with _opened(tmp_path) as responses:
        await responses.keep(one)
        assert await responses.find("resp_1") == one
    with _opened(tmp_path) as responses:
        assert await responses.find("resp_1") == one


async def test_a_chain_begins_with_the_first(tmp_path: Path) -> None:
    chain = (_response(1), _response(2, "resp_1"), _response(3, "resp_2"))
    with _opened(tmp_path) as responses:
        for one in (*chain, _response(4, "resp_1")):
            await responses.keep(one)
        assert await responses.chain("resp_3") == chain


async def test_a_chain_that_has_lost_a_link_is_not_found(tmp_path: Path) -> None:
    with _opened(tmp_path) as responses:
        await responses.keep(_response(1))
        await responses.keep(_response(2, "resp_1"))
        await responses.remove("resp_1")
        with pytest.raises(NotFound, match="Response with id 'resp_1' not found"):
            await responses.chain("resp_2")
        assert (await responses.find("resp_2")).previous == "resp_1"


async def test_a_chain_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "CHAT_BODY_BYTES", 100)
    with _opened(tmp_path) as responses:
        await responses.keep(_response(1, items=b"x" * 60))
        await responses.keep(_response(2, "resp_1", items=b"x" * 60))
        assert len(await responses.chain("resp_1")) == 1
        with pytest.raises(BadRequest, match="goes on from is larger than"):
            await responses.chain("resp_2")


@pytest.mark.parametrize("ask", [LocalResponses.find, LocalResponses.chain, LocalResponses.remove])
@pytest.mark.parametrize("known_as", ["resp_2", "", "' OR 1=1 --", "resp_1\0"])
async def test_what_is_not_there_is_not_found(tmp_path: Path, ask: Callable[..., Any], known_as: str) -> None:
    with _opened(tmp_path) as responses:
        await responses.keep(_response(1))
        if known_as or ask is not LocalResponses.chain:
            with pytest.raises(NotFound):
                await ask(responses, known_as)


async def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    with _opened(tmp_path, count=3) as responses:
        for number in (1, 2, 3):
            await responses.keep(_response(number))
        await responses.find("resp_1")
        await responses.keep(_response(4))
        assert await _there(responses, range(1, 5)) == [1, 3, 4]


async def test_a_chain_stays_together_while_it_is_used(tmp_path: Path) -> None:
    with _opened(tmp_path, count=3) as responses:
        await responses.keep(_response(1))
        await responses.keep(_response(2, "resp_1"))
        await responses.keep(_response(3))
        await responses.chain("resp_2")
        await responses.keep(_response(4))
        assert await _there(responses, range(1, 5)) == [1, 2, 4]


async def test_they_take_no_more_room_than_they_may(tmp_path: Path) -> None:
    """DOS-21."""
    with _opened(tmp_path, count=1000, size=100_000) as responses:
        for number in range(50):
            await responses.keep(_response(number, items=b"x" * 10_000))
        there = await _there(responses, range(50))
        assert there == list(range(50 - len(there), 50))
        assert len(there) == 9
    assert (tmp_path / "kept" / "responses.db").stat().st_size < 200_000


async def test_one_that_is_too_large_alone_is_refused_and_drives_nobody_out(tmp_path: Path) -> None:
    with _opened(tmp_path, size=10_000) as responses:
        await responses.keep(_response(1))
        with pytest.raises(TooLarge):
            await responses.keep(_response(2, items=b"x" * 10_000))
        assert await _there(responses, range(3)) == [1]


async def test_what_nobody_used_for_long_is_forgotten(tmp_path: Path) -> None:
    with _opened(tmp_path, seconds=1000) as responses:
        await responses.keep(_response(1))
        with responses._database as database:
            database.execute("UPDATE responses SET used = used - 2000")
        for ask in (responses.find, responses.chain, responses.remove):
            with pytest.raises(NotFound):
                await ask("resp_1")
        await responses.keep(_response(2))
    with _opened(tmp_path) as responses:
        assert await _there(responses, range(3)) == [2]


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "kept" / "responses.db"
    file.parent.mkdir()
    file.touch(0o644)
    with _opened(tmp_path) as responses:
        await responses.keep(_response(1))
        for path in file.parent.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


@pytest.mark.parametrize("content", [b"no database " * 100, "newer"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | str) -> None:
    file = tmp_path / "kept" / "responses.db"
    if isinstance(content, bytes):
        file.parent.mkdir()
        file.write_bytes(content)
    else:
        with _opened(tmp_path) as responses:
            responses._database.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreFailed, match=r"responses\.db: responses cannot be kept"), _opened(tmp_path):
        pass


async def test_a_failure_of_the_file_is_a_failure_of_the_store(tmp_path: Path) -> None:
    with _opened(tmp_path) as responses:
        await responses.keep(_response(1))
        with pytest.raises(StoreFailed):
            await responses.keep(_response(1))
        assert await _there(responses, range(2)) == [1]
