"""The recorded chat templates through llama.cpp's own Jinja: the same prompts, where it can render them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.models import tiny_llama
from tests.shared import REPOSITORY

GOLDEN: Final = REPOSITORY / "tests" / "conformance" / "templates" / "golden"
_OWN_WAYS: Final = {
    "no answer begun": "it goes on with the last answer instead",
    "documents": "it knows no documents",
    "parts": "it takes no image without an encoder",
}
_OWN_STYLES: Final = {
    "llama31": "it says that there are tools, of which there are none",
    "tekken": "it writes earlier answers anew",
}
_REFUSED: Final = {"hermes": {"tools", "results"}}
"""What its Jinja cannot do: look for a list among a mapping's keys."""


def read(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


RECORDED: Final[dict[str, dict[str, dict[str, str]]]] = read("recorded.json")
CONVERSATIONS: Final[dict[str, dict[str, Any]]] = read("conversations.json")
STYLES: Final = sorted(set(RECORDED) - set(_OWN_STYLES))


def body(name: str) -> dict[str, Any]:
    case, tools = CONVERSATIONS[name], read("tools.json")
    offered = [tools[tool] for tool in case.get("tools", ())]
    asked = {"messages": case["messages"], "chat_template_kwargs": case.get("values", {})}
    return asked | ({"tools": offered} if offered else {})


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str | None]]:
    """What llama.cpp makes of every conversation in every style."""
    model = tmp_path_factory.mktemp("model") / "tiny.gguf"
    tiny_llama(model)
    bodies = {name: body(name) for name in CONVERSATIONS if name not in _OWN_WAYS}
    asked = {
        style: {"template": (GOLDEN / f"{style}.jinja").read_text(encoding="utf-8"), "bodies": bodies}
        for style in STYLES
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.apply_template", Path(model)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        timeout=120,
    )
    answers: dict[str, dict[str, str | None]] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.mark.parametrize("style", STYLES)
def test_llama_cpp_makes_the_same_prompts(rendered: dict[str, dict[str, str | None]], style: str) -> None:
    # The first token is left to its tokenizer there.
    wanted = {
        name: recorded["prompt"].removeprefix("<s>") if "prompt" in recorded else None
        for name, recorded in RECORDED[style].items()
        if name not in _OWN_WAYS
    }
    refused = _REFUSED.get(style, set())
    assert {name: prompt for name, prompt in rendered[style].items() if name not in refused} == {
        name: prompt for name, prompt in wanted.items() if name not in refused
    }
