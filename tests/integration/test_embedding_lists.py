"""Long lists of texts: in pieces, in order, as each text alone would be, and in nobody's way."""

import math
from collections.abc import AsyncIterator

import anyio
import pytest

from a3s_power.aio import task_group
from a3s_power.core.errors import PromptTooLong
from a3s_power.runner.frames import Embed
from a3s_power.runner.process import RunnerProcess
from tests.runners import loaded, until
from tests.shared import shared_file


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The one that runners are for."""
    return "asyncio"


@pytest.fixture(scope="module")
async def runner(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunnerProcess]:
    """A model that makes vectors, with slots that share a batch."""
    weights = shared_file("models/minilm/all-MiniLM-L6-v2-Q8_0.gguf")
    async with loaded(
        "llamacpp", tmp_path_factory.mktemp("lists"), weights, embedding=True, context_length=256, parallel=4
    ) as runner:
        yield runner


def _texts(count: int) -> tuple[str, ...]:
    return tuple(f"text number {number} of many" for number in range(count))


async def test_a_long_list_gives_what_each_text_gives_alone(runner: RunnerProcess) -> None:
    texts = _texts(70)
    together = await runner.embed(Embed(texts=texts))
    assert len(together.rows) == len(texts)
    for place in (0, 31, 32, 69):
        alone = await runner.embed(Embed(texts=(texts[place],)))
        assert together.rows[place] == pytest.approx(alone.rows[0], abs=1e-5)
        assert math.hypot(*alone.rows[0]) == pytest.approx(1, abs=1e-5)


async def test_texts_that_are_cut_keep_their_places(runner: RunnerProcess) -> None:
    long = "word " * 400
    texts = (*_texts(40), long, *_texts(40), long)
    assert (await runner.embed(Embed(texts=texts))).cut == (40, 81)
    with pytest.raises(PromptTooLong):
        await runner.embed(Embed(texts=texts, truncate=False))


async def test_one_text_does_not_wait_for_a_long_list_of_another(runner: RunnerProcess) -> None:
    done = list[str]()
    begun = anyio.Event()

    async def embed(name: str, count: int) -> None:
        begun.set()
        await runner.embed(Embed(texts=_texts(count)))
        done.append(name)

    with anyio.fail_after(60):
        async with task_group() as group:
            group.start_soon(embed, "list", 300)
            await begun.wait()
            await embed("one", 1)
    assert done == ["one", "list"]


async def test_a_list_tells_how_it_goes_forward_and_one_that_is_left_ends(runner: RunnerProcess) -> None:
    with anyio.fail_after(60):
        async with task_group() as group:
            group.start_soon(lambda: runner.embed(Embed(texts=_texts(300))))
            await until(lambda: runner.stuck_seconds > 0)
            group.cancel_scope.cancel()
    await until(lambda: runner.busy == 0)
    assert runner.stuck_seconds == 0
