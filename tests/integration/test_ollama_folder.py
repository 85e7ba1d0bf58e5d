"""A folder that Ollama left behind runs as it is, and the model that comes with the package answers right."""

import time
from pathlib import Path

import pytest

from a3s_power.core.options import DEFAULTS, Options
from a3s_power.runner.frames import Run
from a3s_power.store import Store
from a3s_power.store.bundled import NAME, bundled_gguf
from tests.ollama_folder import RUNNABLE, lay_out
from tests.runners import answer, loaded
from tests.stores import named

pytestmark = pytest.mark.anyio

QUESTION = "<|im_start|>user\nWhat is 3 + 4?<|im_end|>\n<|im_start|>assistant\n"


async def test_every_model_of_the_folder_that_has_weights_answers(tmp_path: Path) -> None:
    lay_out(tmp_path / "models", bundled_gguf().read_bytes())
    store = Store(tmp_path / "models")
    store.start(time.time())
    for name in sorted(RUNNABLE):
        model = store.models.read(named(name))
        async with loaded("llamacpp", tmp_path, model.files.weights) as runner:
            text, _ = await answer(
                runner, Run(text=QUESTION, options=Options.merged(DEFAULTS, Options(temperature=0.0)))
            )
        assert text == "7", name


async def test_the_bundled_model_adds_right_every_time_as_its_parameters_have_it(tmp_path: Path) -> None:
    model = Store(tmp_path / "models").models.read(NAME)
    options = Options.merged(DEFAULTS, model.asked.checked())
    async with loaded("llamacpp", tmp_path, model.files.weights) as runner:
        texts = {(await answer(runner, Run(text=QUESTION, options=options)))[0] for _ in range(10)}
    assert texts == {"7"}
