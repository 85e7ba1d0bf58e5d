"""Converted models beside Transformers itself, by weights that nobody has recorded; skipped where it is not there."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests import oracle
from tests.conversions import names, recorded, write_folder
from tests.converting import check

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", names())
async def test_the_engine_says_what_transformers_says(tmp_path: Path, name: str, seed: int) -> None:
    for package in ("torch", "transformers", "tokenizers", "sentencepiece"):
        pytest.importorskip(package, reason=f"needs {package}, which the project does not")
    model = replace(recorded(name), seed=seed)
    folder = write_folder(tmp_path / "original", model)
    await check(tmp_path, oracle.answered(folder, model))
