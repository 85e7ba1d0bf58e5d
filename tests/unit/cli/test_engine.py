"""`engine`: what is listed, chosen, removed and refused, and what doctor says of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from a3s_power.cli import native
from a3s_power.native.shelf import Built, Measured, Shelf, Speed
from tests.scripted import Ran, Shell

_MEASURED = Measured(wheel=Speed(100.0, 40.0), native=Speed(150.0, 44.0))
_SAID = "prompts 1.50 times, answers 1.10 times as fast"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def built(home: Path) -> str:
    """An engine on the shelf, by its name."""
    shelf, name = Shelf(home / "engines"), "1-epyc"
    made = shelf.folder / ".building-1-x"
    made.mkdir(parents=True)
    program = made / "llama-server"
    program.write_text("#!/bin/sh\necho 'Available devices:'\n")
    program.chmod(0o755)
    shelf.put(made, Built(name=name, version="1", sha256="0", processor="Epyc", backend="cpu", compiler="c", built=1.0))
    shelf.note(name, _MEASURED)
    return name


def _listed(shell: Shell) -> dict[str, Any]:
    return {each["name"]: (each["used"], each["what"]) for each in json.loads(shell("engine", "list", "--json").out)}


def _engine_of_doctor(shell: Shell) -> Any:
    return next(each for each in json.loads(shell("doctor", "--json").out) if each["name"] == "engine")


def test_without_any_the_prebuilt_one_is_used(shell: Shell) -> None:
    assert _listed(shell) == {"llamacpp": (True, "llama.cpp, prebuilt, for any processor")}
    assert shell("engine").out == shell("engine", "list").out


def test_one_that_was_built_is_chosen_and_removed(shell: Shell, built: str, home: Path) -> None:
    what = f"llama.cpp of xllamacpp 1, built for Epyc; {_SAID}"
    assert _listed(shell)[built] == (False, what)
    assert shell("engine", "use", built) == Ran(
        0, f"engine '{built}' is used from the next start of the server on\n", ""
    )
    assert _listed(shell)[built] == (True, what)
    program = home / "engines" / built / "llama-server"
    assert _engine_of_doctor(shell) == {"name": "engine", "ok": True, "seen": f"{built}: {program}", "advice": ""}
    program.unlink()
    broken = _engine_of_doctor(shell)
    assert (broken["ok"], str(program) in broken["seen"]) == (False, True)
    assert shell("engine", "remove", built) == Ran(0, f"removed engine '{built}'\n", "")
    assert _listed(shell)["llamacpp"][0]


def test_the_settings_win_and_that_is_told(shell: Shell, built: str, home: Path) -> None:
    (home / "config.toml").write_text('[llama_server]\npath = "/opt/mine"\n')
    assert _listed(shell)["llamaserver"] == (True, "your llama-server, /opt/mine")
    said = shell("engine", "use", built).out
    assert said == f"engine '{built}' is chosen, but the settings name another one: llamaserver\n"
    (home / "config.toml").write_text('engine = "gone"\n')
    assert _listed(shell)["gone"] == (True, f"not there: {home}/engines/gone/llama-server")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["fly"], 'unknown word "fly"'),
        (["use"], "takes the name of an engine"),
        (["list", "x"], "takes no name"),
        (["use", "x"], "there is no engine 'x'"),
        (["measure", "llamacpp"], "no engine 'llamacpp' was built here"),
        (["remove", "llamacpp"], "no engine 'llamacpp' was built here"),
        (["build", "--backend", "tpu"], "must be one of cpu, cuda, hip"),
    ],
)
def test_what_makes_no_sense_is_refused(shell: Shell, words: list[str], why: str) -> None:
    ran = shell("engine", *words)
    assert (ran.status, ran.out) == (1, "")
    assert why in ran.err


def test_a_build_needs_a_compiler_and_the_right_file(
    shell: Shell, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert "there is none: " in shell("engine", "build").err
    (tmp_path / "c++").write_text("#!/bin/sh\n")
    (tmp_path / "c++").chmod(0o755)
    monkeypatch.setattr("a3s_power.native.build.ROOM_BYTES", 1)
    other = tmp_path / "other.tar.gz"
    other.write_bytes(b"x")
    assert "is not the source this version builds" in shell("engine", "build", "--source", str(other)).err
    monkeypatch.setenv("A3S_POWER_OFFLINE", "1")
    assert "offline: xllamacpp" in shell("engine", "build").err
    assert list((home / "engines").iterdir()) == []


def test_flags_that_may_not_be_added_are_refused_at_once(shell: Shell, home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text('[llama_server]\nargs = ["--host", "0.0.0.0"]\n')
    assert "'--host' is not among the flags" in shell("engine", "list").err
    assert not _engine_of_doctor(shell)["ok"]


def test_doctor_says_when_a_build_would_pay(shell: Shell, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "wide_instructions", lambda: "AVX-512")
    assert "the processor has AVX-512" in _engine_of_doctor(shell)["advice"]
    assert "a3s-power engine build" in _engine_of_doctor(shell)["advice"]
    monkeypatch.setattr(native, "wide_instructions", lambda: "")
    assert _engine_of_doctor(shell)["advice"] == ""


def test_doctor_says_what_one_that_is_not_used_was_found_to_bring(
    shell: Shell, built: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "wide_instructions", lambda: "AMX")
    advice = _engine_of_doctor(shell)["advice"]
    assert _SAID in advice
    assert f"a3s-power engine use {built}" in advice
