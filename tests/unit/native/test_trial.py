"""The model that engines are measured with: a real engine loads it, and reads as many tokens as were asked for."""

from pathlib import Path

import pytest

from a3s_power.native import trial
from tests.runners import answer, loaded, raw

pytestmark = pytest.mark.anyio


async def test_it_loads_and_goes_on_for_as_long_as_is_asked(tmp_path: Path) -> None:
    model = tmp_path / "trial.gguf"
    trial.write_model(model)
    async with loaded("llamacpp", tmp_path, model, parallel=1) as runner:
        _, done = await answer(runner, raw(trial.prompt(40), num_predict=12))
    assert (done.usage.prompt_tokens, done.usage.output_tokens, done.reason) == (41, 12, "length")
