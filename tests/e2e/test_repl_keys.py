"""What the keys of the sheet do in a chat, and an interrupt in each phase of one: a real terminal, its screen read."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from a3s_power.store import Store
from tests.models import tiny_llama
from tests.registries import Registry
from tests.scripted import Answer, Asked, scripted
from tests.served import Served, served
from tests.stores import add_model
from tests.terminals import Terminal, on_terminal

_READY = ">>> "
_PLAIN = ("--think=false", "--temperature", "0", "--seed", "1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With the built-in model, and `endless`, which never comes to an end by itself."""
    home = tmp_path_factory.mktemp("server")
    tiny_llama(home / "tiny.gguf", key_values={"llama.context_length": 16384})
    add_model(Store(home / "power" / "models"), "endless", weights=(home / "tiny.gguf").read_bytes())
    with served(home) as running_server:
        yield running_server


def _at(server: Served) -> dict[str, str]:
    return {"OLLAMA_HOST": f"127.0.0.1:{server.port}"}


def _last(line: str) -> Callable[[Terminal], bool]:
    """Whether this is the last line on the screen."""
    return lambda terminal: terminal.lines[-1] == line


def _prompts(count: int) -> Callable[[Terminal], bool]:
    return lambda terminal: sum(line.startswith(">>>") for line in terminal.lines) >= count


def _ends(text: str) -> Callable[[Terminal], bool]:
    """Whether the screen ends with this, over however many lines."""
    return lambda terminal: terminal.text.replace("\n", "").endswith(text)


def _written(least: int) -> Callable[[Terminal], bool]:
    return lambda terminal: len(terminal.written) >= least


def test_the_keys_of_the_sheet_edit_and_recall(server: Served, tmp_path: Path) -> None:
    with on_terminal(tmp_path, "run", "power-tiny", *_PLAIN, settings=_at(server)) as terminal:
        terminal.until(">>> Send a message (/? for help)")
        for line in ("/set quiet", "/set wordwrap"):
            terminal.send(f"{line}\r")
            terminal.until(f"{line}\n")
        for keys, line in (
            ("\x10", "/set wordwrap"),  # Ctrl-P
            ("\x10", "/set quiet"),
            ("\x0e", "/set wordwrap"),  # Ctrl-N
            ("\x15kept\x10\x0e", "kept"),  # what is typed waits at the bottom
            ("\x1b[Hun\x1b[Fed", "unkepted"),  # Home, End
            ("\x15a bb cc\x1bb\x1bbX\x1bfY", "a XbbY cc"),  # Alt-B, Alt-F
            ("\x02\x02Z\x06W", "a XbZbWY cc"),  # Ctrl-B, Ctrl-F
            ("\x05\x1b\x7f", "a XbZbWY"),  # Alt-Backspace
            ("\x01\x04", "XbZbWY".rjust(7)),  # Ctrl-D deletes what is under the cursor
            ("\x05\x15\t|", " " * 8 + "|"),
        ):
            terminal.send(keys)
            terminal.until(_last(f">>> {line}"))
        terminal.send("\x15/bye\r")
        assert terminal.end() == 0


def test_the_screen_is_cleared_and_a_line_is_joined_to_the_one_before(server: Served, tmp_path: Path) -> None:
    with on_terminal(tmp_path, "run", "power-tiny", *_PLAIN, settings=_at(server)) as terminal:
        terminal.until(_READY)
        terminal.send("/set quiet\r")
        terminal.until("Set 'quiet' mode.")
        terminal.send("one\x0c")
        terminal.until(lambda each: each.screen == [">>> one"])
        terminal.send("\n")
        terminal.until(_last("... Press Enter to send"))
        terminal.send("\x7f")
        terminal.until(_last(">>> one"))
        terminal.send("\ntwo\x15\x08\x08")
        terminal.until(_last(">>> on"))


@pytest.mark.parametrize("columns", [20, 21])
def test_what_is_typed_across_the_edge_is_kept_whole(server: Served, tmp_path: Path, columns: int) -> None:
    with on_terminal(tmp_path, "run", "power-tiny", *_PLAIN, settings=_at(server), columns=columns) as terminal:
        terminal.until(_READY)
        for number, text in enumerate(("日本語日本語日本語日本語", "ab" + "👍" * 10 + "cd", "a" * 50), 1):
            terminal.send(f"/{text}")
            terminal.until(_ends(f">>> /{text}"))
            terminal.send("\x1b[D\x7f\x05\r")
            terminal.until(_prompts(number + 1))
            assert f"'/{text[:-2]}{text[-1]}'" in terminal.text.replace("\n", "")


def test_a_window_that_changes_while_the_model_answers_loses_nothing(server: Served, tmp_path: Path) -> None:
    with on_terminal(tmp_path, "run", "endless", "--num-ctx", "16384", settings=_at(server), rows=50) as terminal:
        terminal.until(_READY)
        terminal.send("Go on.\r")
        for columns in (30, 100, 20):
            terminal.until(_written(len(terminal.written) + 100))
            terminal.resize(columns, 50)
        terminal.send("\x03")
        terminal.until(lambda each: each.lines[-1].startswith(">>>"))
        terminal.send("/undo\r")
        terminal.until("Took back: Go on.\n>>> Send a message")
        terminal.send("\x04")
        assert terminal.end() == 0


_SHOWN = Answer({"capabilities": ["completion"]})
_LOADED = Answer(lines=({"response": "", "done": True, "done_reason": "load"},))


class _Holding:
    """Answers once it is told to; `asked` says that somebody waits."""

    def __init__(self, answer: Answer) -> None:
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self._answer = answer

    def __call__(self, _: Asked) -> Answer:
        self.asked.set()
        assert self.go_on.wait(60)
        return self._answer


def test_an_interrupt_while_the_model_loads_leaves(tmp_path: Path) -> None:
    load = _Holding(_LOADED)
    with (
        scripted({"POST /api/show": _SHOWN, "POST /api/generate": load}) as server,
        on_terminal(tmp_path, "run", "m", settings={"OLLAMA_HOST": server.address}) as terminal,
    ):
        terminal.until("loading m ")
        terminal.send("\x03")
        assert terminal.end() == 0
        assert "Traceback" not in terminal.text
        load.go_on.set()


def test_an_interrupt_before_the_first_word_drops_the_answer_and_two_at_the_prompt_leave(tmp_path: Path) -> None:
    done: dict[str, Any] = {"message": {"role": "assistant", "content": "late"}, "done": True}
    chat = _Holding(Answer(lines=(done,)))
    world: dict[str, Answer | Callable[[Asked], Answer]] = {"POST /api/show": _SHOWN, "POST /api/generate": _LOADED}
    world["POST /api/chat"] = chat
    with (
        scripted(world) as server,
        on_terminal(tmp_path, "run", "m", settings={"OLLAMA_HOST": server.address}) as terminal,
    ):
        terminal.until(_READY)
        terminal.send("hi\r")
        assert chat.asked.wait(30)
        terminal.send("\x03")
        terminal.until(_prompts(2))
        assert "late" not in terminal.text
        terminal.send("\x03")
        terminal.until("Use Ctrl + d or /bye to exit.")
        terminal.until(_prompts(3))
        terminal.send("\x03")
        assert terminal.end() == 0
        chat.go_on.set()


def test_a_model_that_is_not_there_is_pulled_before_the_chat(server: Served, tmp_path: Path) -> None:
    tiny_llama(tmp_path / "pulled.gguf", seed=78)
    with Registry().running() as registry:
        registry.add("ns/tiny:latest", weights=(tmp_path / "pulled.gguf").read_bytes())
        name = f"{registry.host}/ns/tiny"
        with on_terminal(tmp_path, "run", name, "--insecure", *_PLAIN, settings=_at(server), columns=100) as terminal:
            terminal.until(_READY)
            lines = [line for line in terminal.lines if line]
            assert (lines[0], lines[-2]) == ("pulling manifest", "success")
            assert sum(line.startswith("pulling ") and "100% ▕█" in line for line in lines) == 2
            terminal.send("/bye\r")
            assert terminal.end() == 0


def test_an_embedding_model_cannot_be_chatted_with(tmp_path: Path) -> None:
    with (
        scripted({"POST /api/show": Answer({"capabilities": ["embedding"]})}) as server,
        on_terminal(tmp_path, "run", "m", settings={"OLLAMA_HOST": server.address}, columns=120) as terminal,
    ):
        assert terminal.end() == 1
    usage = 'Usage: a3s-power run m "your text here"'
    assert terminal.lines == [f"Error: embedding models require input text. {usage}"]


@pytest.mark.parametrize("line", ["pull m", "push 127.0.0.1:1/ns/m", "create m", "run m"])
def test_an_interrupted_transfer_leaves_its_lines_and_the_status_of_an_interrupt(tmp_path: Path, line: str) -> None:
    (tmp_path / "Modelfile").write_text("FROM m")
    held = _Holding(Answer(lines=({"status": "success"},)))
    world = {f"POST /api/{name}": held for name in ("pull", "push", "create")}
    with (
        scripted({**world, "POST /api/show": Answer({"error": "model 'm' not found"}, 404)}) as server,
        on_terminal(tmp_path, *line.split(), settings={"OLLAMA_HOST": server.address}) as terminal,
    ):
        assert held.asked.wait(30)
        terminal.send("\x03")
        assert terminal.end() == 130
        assert "Traceback" not in terminal.text
        held.go_on.set()
