"""The command as its users run it: with a server, and without one."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.served import DEADLINE, Served, environment, free_port, served, until
from tests.shared import BUILTIN_MODEL

_SUM = "What is 3 + 4?"
_SURE = ("--temperature", "0", "--think=false")
_FOREVER = "Repeat blue forever."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a home of its own."""
    with served(tmp_path_factory.mktemp("home"), OLLAMA_CONTEXT_LENGTH="512") as running:
        yield running


class _Command:
    """Runs `a3s-power` in a home; the server is the one at the address, if anybody listens there."""

    def __init__(self, home: Path, address: str) -> None:
        self._world = environment(home, {"OLLAMA_HOST": address, "A3S_POWER_OFFLINE": "1"})
        self._home = home

    def start(self, *args: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "a3s_power", *args]
        return subprocess.Popen(
            command, env=self._world, cwd=self._home, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
        )

    def __call__(self, *args: str) -> tuple[int, str, str]:
        """Status, output and errors."""
        with self.start(*args) as process:
            out, err = process.communicate(timeout=DEADLINE)
            return process.returncode, out, err

    def processes(self) -> list[int]:
        """Everything that runs with this home in its environment, children's children too."""
        mark = f"HOME={self._home}\0".encode()
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if mark in _content(path)]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.fixture
def command(server: Served) -> _Command:
    """The command, with the server."""
    return _Command(server.home, f"127.0.0.1:{server.port}")


@pytest.fixture
def alone(tmp_path: Path) -> _Command:
    """The command, where nobody listens."""
    return _Command(tmp_path, f"127.0.0.1:{free_port()}")


def test_a_model_lives_from_its_modelfile_to_its_removal(command: _Command, tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(BUILTIN_MODEL.read_bytes())
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text(
        'FROM ./tiny.gguf\nSYSTEM """You are\nterse."""\nPARAMETER temperature 0\nPARAMETER stop "<end>"\n'
    )
    status, out, err = command("create", "mine", "-f", str(modelfile))
    assert (status, out) == (0, "")
    assert err.startswith("gathering model components\n")
    assert err.endswith("writing manifest\nsuccess\n")
    assert command("show", "mine", "--system") == (0, "You are\nterse.", "")
    assert command("cp", "mine", "copy") == (0, "copied 'mine' to 'copy'\n", "")
    names = [line.split()[0] for line in command("list", "co")[1].splitlines()]
    assert names == ["NAME", "copy:latest"]
    assert command("rm", "mine", "copy") == (0, "deleted 'mine'\ndeleted 'copy'\n", "")
    assert command("show", "mine") == (1, "", "Error: model 'mine:latest' not found\n")


def test_a_modelfile_that_was_shown_makes_the_same_model(command: _Command, tmp_path: Path) -> None:
    """TERM-09."""
    hostile = 'a "b" c\n# FROM x\nPARAMETER seed 1\n  """c'
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text(
        f'FROM power-tiny\nSYSTEM "{hostile}"\nPARAMETER stop " x "\nPARAMETER top_p 0.7\nMESSAGE user hi\n'
    )
    assert command("create", "first", "-f", str(modelfile))[0] == 0
    shown = command("show", "first", "--modelfile")[1]
    modelfile.write_text(shown)
    assert command("create", "second", "-f", str(modelfile))[0] == 0
    again = command("show", "second", "--modelfile")[1]
    assert again.replace("second:latest", "first:latest") == shown
    assert command("show", "second", "--system")[1] == hostile
    assert command("rm", "first", "second")[0] == 0


def test_a_question_is_answered_and_the_model_stays_until_it_is_stopped(command: _Command) -> None:
    status, out, err = command("run", "power-tiny", _SUM, *_SURE, "--verbose")
    assert (status, out) == (0, "7\n\n")
    assert err.startswith("total duration:       ")
    assert "\neval rate:            " in err
    header, line = command("ps")[1].splitlines()
    assert header.split() == ["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"]
    assert line.startswith("power-tiny:latest    ")
    assert line.endswith("minutes from now    ")
    assert command("stop", "power-tiny") == (0, "", "")
    assert len(command("ps")[1].splitlines()) == 1


def test_show_prints_the_page_of_the_built_in_model(command: _Command) -> None:
    page = command("show", "power-tiny", "--verbose")[1]
    assert page.startswith("  Model\n    architecture        llama    \n    parameters          2.75M    \n")
    assert "  Capabilities\n    completion    \n    tools         \n" in page
    assert "    token_embd.weight " in page


def test_without_a_server_a_question_is_answered_all_the_same(alone: _Command, tmp_path: Path) -> None:
    status, out, err = alone("run", "power-tiny", _SUM, *_SURE)
    assert (status, out) == (0, "7\n\n")
    assert err.startswith("No server at http://127.0.0.1:")
    assert err.endswith(": serving for this command only.\n")
    assert alone.processes() == []
    assert 'msg="server ended"' in (tmp_path / "power/logs/run.log").read_text()


def test_without_a_server_an_unknown_model_is_told(alone: _Command) -> None:
    status, out, err = alone("run", "nope", "hi")
    assert (status, out) == (1, "")
    assert "\npulling manifest\nError: " in err
    assert "offline: registry.ollama.ai was not asked" in err
    assert alone.processes() == []


def test_a_server_that_cannot_start_says_why(alone: _Command, tmp_path: Path) -> None:
    (tmp_path / "power").mkdir()
    (tmp_path / "power/config.toml").write_text("origins = ['no origin at all']")
    status, out, err = alone("run", "power-tiny", "hi")
    assert (status, out) == (1, "")
    assert "Error: the server ended: " in err
    assert "no origin at all" in err


def test_a_base_folder_that_cannot_be_is_told(alone: _Command, tmp_path: Path) -> None:
    (tmp_path / "power").mkdir()
    (tmp_path / "power/logs").write_text("a file")
    status, _, err = alone("run", "power-tiny", "hi")
    assert status == 1
    assert err.endswith(f"\nError: open {tmp_path}/power/logs/run.log: File exists\n")


def _talking(command: _Command) -> subprocess.Popen[str]:
    """A command whose answer has begun and never ends."""
    process = command.start("run", "power-tiny", _FOREVER, *_SURE)
    assert process.stdout is not None
    assert process.stdout.read(4)
    return process


def test_ctrl_c_ends_an_answer_without_failure(alone: _Command) -> None:
    with _talking(alone) as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err.count("\n")) == (0, 1)
    assert alone.processes() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_command_leaves_nothing_behind(alone: _Command, number: signal.Signals) -> None:
    with _talking(alone) as process:
        assert len(alone.processes()) == 3
        process.send_signal(number)
        process.communicate(timeout=DEADLINE)
    assert process.returncode == -number
    until(lambda: not alone.processes())


def test_a_killed_server_is_told(alone: _Command) -> None:
    with _talking(alone) as process:
        own, server = sorted(alone.processes())[:2]
        assert own == process.pid
        os.kill(server, signal.SIGKILL)
        _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert "\nError: the server ended: " in err
    until(lambda: not alone.processes())


def test_ctrl_c_before_the_answer_ends_everything(alone: _Command) -> None:
    with alone.start("run", "power-tiny", _FOREVER) as process:
        until(lambda: len(alone.processes()) > 1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    until(lambda: not alone.processes())


def test_ctrl_c_ends_a_bench_and_both_its_engines(alone: _Command) -> None:
    with alone.start("bench", "power-tiny", "--prompt", "16", "--generate", "64", "--rounds", "1000") as process:
        # The command, its server, the server's child, and the engine beside it.
        until(lambda: len(alone.processes()) >= 4)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    until(lambda: not alone.processes())
