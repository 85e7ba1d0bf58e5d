"""Chats find what they have in common with earlier ones, on one slot and on several, whatever else is asked there."""

from pathlib import Path

import pytest

from tests.runners import answer, loaded, raw

_BEGINNING = "The house of the old man has a cat and a dog and a bird. " * 12


@pytest.mark.parametrize("slots", [1, 3])
async def test_chats_that_begin_alike_do_not_forget_each_other(tmp_path: Path, slots: int) -> None:
    chats = {name: _BEGINNING + name for name in ("one", "another of them", "a third")}
    known = dict.fromkeys(chats, 0)
    async with loaded("llamacpp", tmp_path, parallel=slots, prompt_cache_mib=64) as runner:
        for turn in range(3):
            for name, text in chats.items():
                said, done = await answer(runner, raw(f"{text} and so on", num_predict=8))
                read = done.usage.prompt_tokens - done.usage.cached_tokens
                # The last token that was said was never read.
                assert not turn or read <= done.usage.prompt_tokens - known[name] + 1
                chats[name] = f"{text} and so on{said}"
                known[name] = done.usage.prompt_tokens + done.usage.output_tokens


async def test_without_a_cache_a_chat_still_goes_on_in_its_own_slot(tmp_path: Path) -> None:
    async with loaded("llamacpp", tmp_path, parallel=2, prompt_cache_mib=0) as runner:
        for text in ("a cat " * 60, "a dog " * 60):
            await answer(runner, raw(text, num_predict=2))
        for text in ("a cat " * 60, "a dog " * 60):
            _, done = await answer(runner, raw(text, num_predict=2))
            assert done.usage.cached_tokens == done.usage.prompt_tokens - 1
