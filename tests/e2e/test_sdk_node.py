"""The official Node clients of OpenAI, Anthropic and Ollama against our server; they are there after `npm install`."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from a3s_power.store import Store
from tests.models import tiny_llama
from tests.served import Served, served
from tests.shared import REPOSITORY
from tests.stores import add_model

_FOLDER: Final = REPOSITORY / "tests" / "node"
_SECONDS: Final = 120.0


@pytest.fixture(scope="module")
def node() -> str:
    """The program; without it or without the clients the tests are skipped."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("needs node")
    if not (_FOLDER / "node_modules").is_dir():
        pytest.skip("needs the clients: npm install in tests/node")
    return found


@pytest.fixture(scope="module")
def server(node: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with power-tiny, and with `embedder`, which makes vectors."""
    assert node
    home: Path = tmp_path_factory.mktemp("home")
    tiny_llama(home / "embedder.gguf", key_values={"llama.pooling_type": 1})
    weights = (home / "embedder.gguf").read_bytes()
    add_model(Store(home / "power" / "models"), "embedder", weights=weights)
    with served(home, OLLAMA_NUM_PARALLEL="4", OLLAMA_CONTEXT_LENGTH="1024") as running:
        yield running


@pytest.mark.parametrize("client", ["openai", "anthropic", "ollama"])
def test_the_official_client_finds_what_it_expects(node: str, server: Served, client: str) -> None:
    ran = subprocess.run(
        [node, "--test", "--test-reporter=spec", f"{client}.test.mjs"],
        cwd=_FOLDER,
        env={"PATH": os.environ["PATH"], "BASE_URL": server.url},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}\n{server.log()[-4000:]}"
