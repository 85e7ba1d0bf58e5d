"""Section 11 of the security sheet: nothing that a model, a registry or a client says drives a terminal or a log."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from a3s_power import log
from a3s_power.cli.editor import in_editor
from a3s_power.core.events import Done, Text
from a3s_power.core.usage import Usage
from tests.fakes import FakeInference, service
from tests.running import playing
from tests.scripted import Answer, Shell, scripted
from tests.served import DEADLINE, environment, served
from tests.terminals import on_terminal

_TITLE = "\x1b]0;t\x07"
_CLIPBOARD = "\x1b]52;c;QkFTRTY0\x07"
_ATTACK = f"{_CLIPBOARD}{_TITLE}\x1b[2J\x1b[6n\x1b]8;;http://evil\x07\x1bPq\x1b\\\x9b31m\r\b\b\x07\x1b[201~"
_DRIVES = ("\x1b]", "\x1b[2J", "\x1bP", "\x1b[201~", "\x9b", "\x07", "\x08")
_LONG = "long" * 2500


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Shell:
    """Runs commands in this process, with a home of their own."""
    monkeypatch.setenv("A3S_POWER_HOME", str(tmp_path))
    return Shell(monkeypatch, capsys)


def _message(text: str, *, done: bool = False) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": text}, "done": done}


def _world(**show: Any) -> dict[str, Answer | Callable[..., Answer]]:
    return {
        "POST /api/show": Answer({"capabilities": ["completion"], **show}),
        "POST /api/generate": Answer(lines=({"response": "", "done": True},)),
        "GET /api/tags": Answer({"models": [_model("m")]}),
    }


def _model(name: str) -> dict[str, Any]:
    common = {"size": 1, "size_vram": 1, "digest": f"{_TITLE}{'d' * 64}", "context_length": 1}
    return {"name": name, **common, "modified_at": "2026-01-01T00:00:00Z", "expires_at": "2126-01-01T00:00:00Z"}


def test_an_answer_in_a_chat_drives_nothing(tmp_path: Path) -> None:
    """TERM-01, however it is cut; the answer stays what it was for the next question."""
    pieces = [_message(char) for char in _ATTACK]
    world = _world() | {"POST /api/chat": Answer(lines=(*pieces, _message("end", done=True)))}
    with scripted(world) as server:
        at = {"OLLAMA_HOST": server.address}
        with on_terminal(tmp_path, "run", "m", settings=at, columns=300) as terminal:
            terminal.until(">>> ")
            before = len(terminal.written)
            terminal.send("hi\r")
            terminal.until("end\n\n>>> ")
            shown = terminal.written[before:].partition("\\x1b]52;c;")[2].partition("end")[0]
            assert shown
            assert [drive for drive in _DRIVES if drive in shown] == []
            terminal.send("again\r")
            terminal.until(lambda each: each.text.count("end\n\n>>> ") == 2)
        said = server.bodies("/api/chat")[1]["messages"][1]["content"]
    assert said == f"{_ATTACK}end"


def test_names_and_values_of_every_listing_drive_nothing(shell: Shell) -> None:
    """TERM-02."""
    hostile = f"a{_TITLE}\u202e\n{_LONG}"
    info = {"general.architecture": hostile, "general.name": hostile, "general.tags": [hostile, hostile]}
    world = _world(
        details={"parameter_size": hostile, "quantization_level": hostile},
        model_info=info,
        capabilities=[hostile],
        parameters=f"stop {hostile}",
        tensors=[{"name": hostile, "type": hostile, "shape": [1]}],
        system=hostile,
        license=hostile,
        remote_host=hostile,
        remote_model=hostile,
    )
    world |= {f"GET /api/{path}": Answer({"models": [_model(hostile)]}) for path in ("tags", "ps")}
    lines = (
        {"status": hostile},
        {"status": hostile, "digest": hostile, "total": 1, "completed": 1},
        {"error": hostile},
    )
    world |= {f"POST /api/{path}": Answer(lines=lines) for path in ("pull", "push")}
    world |= {"POST /api/copy": Answer({"error": hostile}, 400)}
    with scripted(world) as server:
        for line in ("list", "ps", "show m", "show -v m"):
            out = shell(*line.split(), server=server).out
            assert "\x1b" not in out
            assert "\u202e" not in out
            assert "\\x1b]0;t\\x07" in out
            assert _LONG not in out
        for line in ("pull m", "push m", "cp a b"):
            ran = shell(*line.split(), server=server)
            assert ran.status == 1
            assert "\x1b" not in ran.out + ran.err
            assert "\\x1b]0;t\\x07" in ran.err


def test_what_is_typed_and_said_back_drives_nothing(tmp_path: Path) -> None:
    """TERM-03: pasted into the line, and as the name of a model, a parameter, a file."""
    world = _world()
    with scripted(world) as server:
        world["POST /api/show"] = Answer({"capabilities": ["completion"]})
        with on_terminal(tmp_path, "run", "m", settings={"OLLAMA_HOST": server.address}, columns=300) as terminal:
            terminal.until(">>> ")
            for command, said in (
                ("/load a{}b", "Loading model 'a\\x1b]0;t\\x07b'"),
                ("/save a{}/b/c/d/e", "error: The model name 'a\\x1b]0;t\\x07/b/c/d/e' is invalid"),
                ("/set parameter a{} 1", "unknown parameter 'a\\x1b]0;t\\x07'"),
                ("/set a{}", "Unknown command '/set a\\x1b]0;t\\x07'"),
                ("/a{}", "Unknown command '/a\\x1b]0;t\\x07'"),
            ):
                terminal.send(f"\x1b[200~{command.format(_TITLE)}\x1b[201~\r")
                terminal.until(said)
        assert _TITLE not in terminal.written


def test_a_log_line_stays_one_whatever_a_client_says(tmp_path: Path) -> None:
    """TERM-04: model name, path, and a header's value; as text and as JSON."""
    forged = "x\r\n2026 INFO login ok\x1b[31m"
    for form in ("text", "json"):
        home = tmp_path / form
        home.mkdir()
        with served(home, A3S_POWER_LOG_FORMAT=form, OLLAMA_DEBUG="2") as server:
            with httpx2.Client(base_url=server.url, timeout=DEADLINE) as http:
                http.post("/api/chat", json={"model": forged, "messages": []})
                http.post("/api/show", json={"model": forged}, headers={b"User-Agent": b"x\x9b\xe2\x80\xae ok"})
                http.get("/api/%0d%0a2026%20INFO%20login%20ok%1b[31m")
            written = server.log()
        assert "\x1b" not in written
        assert "\x9b" not in written
        assert [line for line in written.splitlines() if line.startswith("2026")] == []
        assert all(line.startswith("time=" if form == "text" else "{") for line in written.splitlines())


def test_a_forged_field_is_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    """TERM-04: neither a name nor a value of a field makes another field."""
    record = logging.LogRecord("x", logging.INFO, "f.py", 1, "m", None, None)
    record.fields = {"model": 'x" level=ERROR msg="y'}
    line = log.Lines("text").format(record)
    assert line.endswith(r'model="x\" level=ERROR msg=\"y"')
    assert json.loads(log.Lines("json").format(record))["model"] == 'x" level=ERROR msg="y'


_FRAME = '\n\ndata: {"x":1}\n\nevent: evil\n'


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_an_event_stays_one_whatever_the_model_says(tmp_path: Path, path: str) -> None:
    """TERM-08."""
    played = service(tmp_path, FakeInference(Text(_FRAME), Text("\r\n: x\n"), Done(reason="stop", usage=Usage())))
    asked = {"model": "power-tiny", "stream": True, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    asked |= {"input": "hi"} if path == "/v1/responses" else {}
    with playing(played) as port, httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as http:
        text = http.post(path, json=asked).text
    lines = [line for line in text.split("\n") if line]
    assert "evil" in text
    assert not [line for line in lines if line.startswith(('data: {"x"', "event: evil", ": x"))]
    for line in lines:
        field, _, value = ("data", ":", line) if path == "/api/chat" else line.partition(": ")
        assert field in ("data", "event")
        assert field == "event" or value == "[DONE]" or isinstance(json.loads(value), dict)


@pytest.mark.parametrize("variable", ["OLLAMA_EDITOR", "VISUAL", "EDITOR"])
def test_an_editor_is_a_program_and_its_words_and_no_line_for_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    """TERM-10."""
    for name in ("OLLAMA_EDITOR", "VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, f"no-such-editor; touch {tmp_path}/pwned $(touch {tmp_path}/pwned)")
    assert in_editor("text $(touch pwned)") == ""
    assert capsys.readouterr().err.startswith('error: editor "no-such-editor; ')
    assert not (tmp_path / "pwned").exists()


def test_no_pager_is_ever_called(tmp_path: Path) -> None:
    """TERM-10."""
    pager = {"PAGER": f"touch {tmp_path}/pwned", "MANPAGER": f"touch {tmp_path}/pwned"}
    for line in ("--help", "help run", "config"):
        command = [sys.executable, "-m", "a3s_power", *line.split()]
        done = subprocess.run(command, env=environment(tmp_path, pager), capture_output=True, check=True)
        assert done.stdout
    assert not (tmp_path / "pwned").exists()
