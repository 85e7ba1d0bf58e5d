"""`bench` on a real server, with the engine beside it: figures of the right shape, whatever they are."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from a3s_power.cli.folder import models_folder
from tests.models import tiny_llama
from tests.scripted import Shell
from tests.served import Served, served
from tests.stores import add_model

_FEW = ("--generate", "4", "--rounds", "1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of two slots, in a process of its own."""
    with served(tmp_path_factory.mktemp("home"), OLLAMA_NUM_PARALLEL="2", OLLAMA_CONTEXT_LENGTH="256") as running:
        yield running


@pytest.fixture
def bench(shell: Shell, server: Served, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Runs the command on the machine of the server."""
    monkeypatch.setenv("A3S_POWER_HOME", str(server.home / "power"))
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{server.port}")
    return shell


def _json(shell: Shell, *args: str, model: str = "power-tiny") -> Any:
    ran = shell("bench", model, *_FEW, *args, "--json")
    assert ran.status == 0, ran.err
    return json.loads(ran.out)


def test_both_sides_are_measured_with_prompts_of_exact_length(bench: Shell) -> None:
    found = _json(bench, "--prompt", "24,12", "--clients", "2,1")
    assert [(row["prompt_tokens"], row["clients"]) for row in found["rows"]] == [(12, 1), (12, 2), (24, 1), (24, 2)]
    for row in found["rows"]:
        for side in (row["server"], row["bare"]):
            assert side.keys() == {"first_ms", "cached_ms", "prompt", "output"}
            assert min(side.values()) > 0
        assert row["ratio"]["output"] == pytest.approx(row["server"]["output"] / row["bare"]["output"])
    assert (found["engine"], found["load_options"]["parallel"], found["no_bare"]) == ("llamacpp", 2, None)


def test_a_table_tells_how_the_model_was_loaded(bench: Shell) -> None:
    lines = bench("bench", "power-tiny", *_FEW, "--prompt", "10", "--clients", "3").out.splitlines()
    assert lines[0].split()[:3] == ["PROMPT", "CLIENTS", "ASKED"]
    assert lines[1].split()[:3] == ["10", "3", "server"]
    assert [line.split("  ")[0] for line in map(str.strip, lines[2:4])] == ["bare engine", "server / bare"]
    assert lines[4].startswith("loaded with parallel 2, context_length 256, batch ")
    assert lines[5:] == ["3 clients share 2 slots: OLLAMA_NUM_PARALLEL gives more"]


def test_without_the_engine_the_reason_is_told(
    bench: Shell, server: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert _json(bench, "--prompt", "8", "--clients", "1", "--no-bare")["no_bare"] == "not asked for"
    server.post("/api/copy", {"source": "power-tiny", "destination": "elsewhere"})
    monkeypatch.setenv("A3S_POWER_HOME", str(tmp_path))
    found = _json(bench, "--prompt", "8", "--clients", "1", model="elsewhere")
    assert found["no_bare"] == "the model is not in this machine's models folder"
    assert (found["rows"][0]["bare"], found["rows"][0]["ratio"]) == (None, None)


def test_another_model_of_the_same_name_is_not_compared(
    bench: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("A3S_POWER_HOME", str(tmp_path))
    tiny_llama(tmp_path / "tiny.gguf")
    add_model(models_folder(), "power-tiny", weights=(tmp_path / "tiny.gguf").read_bytes())
    found = _json(bench, "--prompt", "8", "--clients", "1")
    assert found["no_bare"] == "the model in this machine's models folder is another one"


def test_a_plot_has_a_line_for_each_number_of_clients(bench: Shell, tmp_path: Path) -> None:
    ran = bench(
        "bench",
        "power-tiny",
        *_FEW,
        "--prompt",
        "8,16",
        "--clients",
        "1,2",
        "--no-bare",
        "--plot",
        str(tmp_path / "a.svg"),
    )
    assert ran.status == 0
    drawn = "".join(ET.parse(tmp_path / "a.svg").getroot().itertext())
    assert [title in drawn for title in ("power-tiny", "Reading prompts", "Writing 4 tokens", "First token")] == [
        True
    ] * 4
    assert (drawn.count("1 at once"), drawn.count("2 at once, same prompt again")) == (4, 1)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--prompt", "1,x"), "--prompt must be numbers from 1 to 1000000 with commas between, such as 1,2,4"),
        (("--prompt", ""), "--prompt must be numbers from 1 to 1000000 with commas between, such as 1,2,4"),
        (("--clients", "0"), "--clients must be numbers from 1 to 1000 with commas between, such as 1,2,4"),
        (("--generate", "1"), "--generate must be at least 2"),
        (("--rounds", "0"), "--rounds must be at least 1"),
        (("--plot", "a.png"), "plots are drawn as SVG: a.png does not end in .svg"),
        (("--prompt", "300", "--generate", "9"), "a prompt of 300 tokens and an answer of 9 are more than the context"),
    ],
)
def test_what_cannot_be_measured_is_said_first(bench: Shell, flags: tuple[str, ...], complaint: str) -> None:
    ran = bench("bench", "power-tiny", *flags)
    assert (ran.status, ran.out) == (1, "")
    assert f"Error: {complaint}" in ran.err


def test_an_unknown_model_is_said_in_the_servers_words(bench: Shell) -> None:
    ran = bench("bench", "nobody")
    assert ran.status == 1
    assert "Error: model 'nobody' not found" in ran.err
