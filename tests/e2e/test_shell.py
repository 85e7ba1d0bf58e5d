"""The command in an interactive bash: completion of what is typed, and jobs that are stopped and gone on with."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.served import Served, served
from tests.terminals import Terminal, in_shell


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with the built-in model."""
    with served(tmp_path_factory.mktemp("server"), OLLAMA_CONTEXT_LENGTH="512") as running:
        # It is put in place the first time it is named; until then no list has it.
        running.post("/api/show", {"model": "power-tiny"})
        yield running


@pytest.fixture
def bash(server: Served, tmp_path: Path) -> Iterator[Terminal]:
    """A shell that waits at its prompt."""
    with in_shell(tmp_path, settings={"OLLAMA_HOST": f"127.0.0.1:{server.port}"}) as terminal:
        yield terminal


def _last(line: str) -> Callable[[Terminal], bool]:
    """Whether this is the last line on the screen."""
    return lambda terminal: terminal.lines[-1] == line


def test_bash_completes_commands_flags_and_names_with_a_colon(bash: Terminal) -> None:
    bash.send('eval "$(a3s-power completion bash)"; echo rea""dy\r')
    bash.until("\nready\n$")
    for typed, line in (
        ("a3s-power outd\t", "a3s-power outdated"),
        ("a3s-power run --temper\t", "a3s-power run --temperature"),
        ("a3s-power show power\t", "a3s-power show power-tiny:latest"),
        ("a3s-power show power-tiny:l\t", "a3s-power show power-tiny:latest"),
        ("a3s-power show power-tiny:\t", "a3s-power show power-tiny:latest"),
        ("a3s-power completion z\t", "a3s-power completion zsh"),
    ):
        bash.send(typed)
        bash.until(_last(f"$ {line}"))
        bash.send("\x15")
        bash.until(_last("$"))


def test_a_chat_is_stopped_and_gone_on_with(bash: Terminal) -> None:
    bash.send("a3s-power run power-tiny --think=false --temperature 0\r")
    bash.until(">>> ")
    bash.send("What is 3")
    bash.until(">>> What is 3")
    bash.send("\x1a")
    bash.until("Stopped")
    bash.until(_last("$"))
    bash.send("fg\r")
    bash.until(_last(">>> What is 3"))
    bash.send(" + 4?\r")
    bash.until("\n7\n")
    bash.send("/bye\r")
    bash.until(_last("$"))
