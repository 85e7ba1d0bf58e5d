"""Records docs/sessions.md: the commonest tasks as they look in a terminal, each by running it here and now.

It serves from a throwaway folder with the built-in model, so it needs no network; `python -m tools.sessions` writes.
"""

import functools
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.served import Served, environment, served
from tests.terminals import Terminal, on_terminal

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "sessions.md"
_HEAD: Final = """\
# In the terminal

Recorded by `python -m tools.sessions` with the model inside the package.
Times and identifiers differ from run to run. Lines that begin with `$` were typed, and so was what stands behind
`>>>` in a chat.
"""
_WIDTH: Final = 110


class Task(NamedTuple):
    """A task: what it is called, and the lines that are typed for it."""

    title: str
    lines: tuple[str, ...]


TASKS: Final = (
    Task("Ask once", ('a3s-power run power-tiny "What is 3 + 4?" --think=false',)),
    Task("Ask about what is piped in", ("echo 'What is 3 + 4?' | a3s-power run power-tiny --think=false --verbose",)),
    Task(
        "Make a model of your own",
        (
            "printf 'FROM power-tiny\\nSYSTEM Be brief.\\nPARAMETER temperature 0\\n' > Modelfile",
            "a3s-power create mine",
            "a3s-power show mine",
        ),
    ),
    Task("See what is there, and what is loaded", ("a3s-power list", "a3s-power load mine", "a3s-power ps")),
    Task("Take a model out of memory", ("a3s-power stop mine", "a3s-power ps")),
    Task("Copy and remove", ("a3s-power cp mine yours", "a3s-power rm mine yours")),
    Task("Carry a model to another machine", ("a3s-power export power-tiny tiny.tar", "a3s-power import tiny.tar")),
    Task("See what takes the room", ("a3s-power df", "a3s-power prune --dry-run")),
    Task("See what a model reads", ('a3s-power render power-tiny "Hello"', 'a3s-power tokenize power-tiny "Hello"')),
    Task("Find out what is wrong", ("a3s-power doctor", "a3s-power run no-such-model hi", "a3s-power lst")),
)
_CHAT: Final = ("What is 3 + 4?", '"""What is', '5 + 4?"""', "/context", "/undo", "/bye")


def sessions() -> Iterator[str]:
    """The page, block by block."""
    yield _HEAD
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        # Nothing recorded here may depend on what lies outside.
        with served(home, A3S_POWER_OFFLINE="1") as server:
            for task in TASKS:
                yield f"## {task.title}\n\n```text\n{''.join(_ran(server, line) for line in task.lines)}```\n"
            yield f"## Chat\n\n```text\n$ a3s-power run power-tiny --think=false\n{_chatted(server)}\n```\n"


def _ran(server: Served, line: str) -> str:
    """A line and what it prints, errors where they came."""
    own = environment(server.home, {"OLLAMA_HOST": f"127.0.0.1:{server.port}", "COLUMNS": str(_WIDTH)})
    world = own | {"PATH": f"{Path(sys.executable).parent}:{own['PATH']}"}
    done = subprocess.run(  # noqa: S602 -- the lines above
        line,
        shell=True,
        env=world,
        cwd=server.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return f"$ {line}\n{_same(done.stdout, server)}"


def _chatted(server: Served) -> str:
    flags = ("--think=false", "--temperature", "0")
    settings = {"OLLAMA_HOST": f"127.0.0.1:{server.port}"}
    with on_terminal(server.home, "run", "power-tiny", *flags, columns=_WIDTH, settings=settings) as terminal:
        for number, line in enumerate(_CHAT, 1):
            terminal.until(_waits)
            asked = terminal.text.count(">>>")
            terminal.send(f"{line}\r")
            opened = line.startswith('"""') or number == len(_CHAT)
            terminal.until(functools.partial(_asked, least=asked + (not opened)))
        terminal.end()
        return _same(terminal.text, server)


def _waits(terminal: Terminal) -> bool:
    return bool(terminal.lines) and terminal.lines[-1].startswith((">>>", "..."))


def _asked(terminal: Terminal, least: int) -> bool:
    return terminal.text.count(">>>") >= least


def _same(text: str, server: Served) -> str:
    """The text without what is of this machine only."""
    text = text.replace(str(server.home), "/home/you").replace(f":{server.port}", ":11434")
    return "".join(f"{line.rstrip()}\n" for line in re.sub(r"\n{3,}", "\n\n", text).strip("\n").splitlines())


if __name__ == "__main__":
    PAGE.write_text("\n".join(sessions()), encoding="utf-8")
