"""The interactive chat in a real terminal, with the real server and engine: keys sent, the screen read back."""

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from a3s_power.store import Store
from tests.models import tiny_llama
from tests.served import Served, served
from tests.stores import add_model
from tests.terminals import Terminal, on_terminal

_READY = ">>> "
_PLAIN = ("--think=false", "--temperature", "0", "--seed", "1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With the built-in model, and `endless`, which never comes to an end by itself."""
    home = tmp_path_factory.mktemp("server")
    _add_endless(home)
    with served(home) as running:
        yield running


def _add_endless(home: Path) -> None:
    tiny_llama(home / "tiny.gguf", key_values={"llama.context_length": 16384})
    add_model(Store(home / "power" / "models"), "endless", weights=(home / "tiny.gguf").read_bytes())


@pytest.fixture
def chat(server: Served, tmp_path: Path) -> Iterator[Terminal]:
    """A chat that waits for its first input."""
    with on_terminal(tmp_path, "run", "power-tiny", *_PLAIN, settings=_at(server)) as terminal:
        terminal.until(_READY)
        yield terminal


def _at(server: Served) -> dict[str, str]:
    return {"OLLAMA_HOST": f"127.0.0.1:{server.port}"}


def _prompts(count: int) -> Any:
    """Whether so many inputs have been asked for."""
    return lambda terminal: sum(line.startswith(">>>") for line in terminal.lines) >= count


def _say(terminal: Terminal, text: str) -> list[str]:
    """Type a line and its end; what stands between it and the next prompt."""
    before = sum(line.startswith(">>>") for line in terminal.lines)
    terminal.send(f"{text}\r")
    terminal.until(_prompts(before + 1))
    lines = terminal.lines
    at = [number for number, line in enumerate(lines) if line.startswith(">>>")]
    return [line for line in lines[at[-2] + 1 : at[-1]] if line]


def test_a_question_is_answered_and_the_next_one_knows_of_it(chat: Terminal) -> None:
    assert _say(chat, "What is 3 + 4?") == ["7"]
    assert _say(chat, "/context")[1] == "2 messages"
    chat.send("/bye\r")
    assert chat.end() == 0


@pytest.mark.parametrize("keys", ["/bye\r", "/exit\r", "/byebye\r", "\x04"])
def test_a_chat_is_left(chat: Terminal, keys: str) -> None:
    chat.send(keys)
    assert chat.end() == 0
    assert chat.written.endswith(("\n", "\x1b[?2004l", "\x1b[?25h"))


def test_an_interrupt_while_typing_drops_the_line_and_a_second_one_leaves(chat: Terminal) -> None:
    chat.send("never sent\x03")
    chat.until("Use Ctrl + d or /bye to exit.")
    chat.until(_prompts(2))
    assert _say(chat, "What is 3 + 4?") == ["7"]
    chat.send("\x03")
    chat.until(lambda terminal: terminal.text.count("Use Ctrl + d") == 2)
    chat.send("\x03")
    assert chat.end() == 0


def test_an_interrupt_stops_the_answer_and_not_the_chat(server: Served, tmp_path: Path) -> None:
    with on_terminal(tmp_path, "run", "endless", "--num-ctx", "16384", settings=_at(server), rows=100) as terminal:
        terminal.until(_READY)
        _say(terminal, '/set parameter stop "never said"')
        before = len(terminal.text)
        terminal.send("Tell me a long story.\r")
        terminal.until(lambda each: len(each.text) > before + 150)
        terminal.send("\x03")
        terminal.until(_prompts(3))
        (said,) = _say(terminal, "/undo")
        assert said == "Took back: Tell me a long story."
        assert _say(terminal, "/undo") == ["There is nothing to take back."]
        terminal.send("\x04")
        assert terminal.end() == 0


def test_a_message_of_several_lines_is_one_message(chat: Terminal) -> None:
    chat.send('"""What is\r')
    chat.until("\n...")
    chat.send('3 + 4?"""\r')
    chat.until(_prompts(2))
    assert _say(chat, "/undo") == ["Took back: What is\\x0a3 + 4?"]
    chat.send("one\ntwo\r")
    chat.until(lambda terminal: "... two" in terminal.text)
    chat.until(_prompts(4))
    assert _say(chat, "/undo") == ["Took back: one\\x0atwo"]


def test_a_paste_of_ten_thousand_lines_is_one_message(server: Served, tmp_path: Path) -> None:
    with on_terminal(tmp_path, "run", "power-tiny", *_PLAIN, settings=_at(server)) as terminal:
        terminal.until(_READY)
        terminal.send("\x1b[200~" + "\r".join(f"line {number}" for number in range(10_000)) + "\x1b[201~")
        terminal.until("line 9999")
        terminal.send("\x15\x0b")
        terminal.send("\x03")
        terminal.until("Use Ctrl + d or /bye to exit.")
        terminal.send("/context\r")
        terminal.until("0 messages")


def test_what_was_typed_is_there_in_the_next_chat(server: Served, tmp_path: Path) -> None:
    history = tmp_path / "power" / "history"
    for number, line in enumerate(("/set quiet", "/set wordwrap")):
        with on_terminal(tmp_path, "run", "power-tiny", settings=_at(server)) as terminal:
            terminal.until(_READY)
            if number:
                terminal.send("\x1b[A")
                terminal.until(">>> /set quiet")
                terminal.send("\x15")
            _say(terminal, line)
            terminal.send("\x04")
            terminal.end()
    assert history.read_text() == "/set quiet\n/set wordwrap\n"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


@pytest.mark.parametrize("off", ["variable", "command"])
def test_history_is_not_written_when_nobody_wants_it(server: Served, tmp_path: Path, off: str) -> None:
    more = {"OLLAMA_NOHISTORY": "1"} if off == "variable" else {}
    with on_terminal(tmp_path, "run", "power-tiny", settings=_at(server) | more) as terminal:
        terminal.until(_READY)
        terminal.send("/set nohistory\r")
        terminal.until(_prompts(2))
        _say(terminal, "/set quiet")
        terminal.send("\x1b[A")
        terminal.until(lambda each: each.lines[-1] == ">>> /set quiet")
    written = (tmp_path / "power" / "history").read_text() if off == "command" else ""
    assert "quiet" not in written


_EDITED = {
    "home-end": ("\x01/\x05t", "set quie", "/set quiet"),
    "words": ("\x1bb\x17/set \x05", "/drop quiet", "/set quiet"),
    "kill": ("\x01\x0b/set quiet", "nonsense", "/set quiet"),
    "arrows": ("\x1b[D\x1b[D\x1b[3~i\x1b[C", "/set quet", "/set quit"),
    "backspace": ("\x7f\x08iet", "/set quxx", "/set quiet"),
}


@pytest.mark.parametrize(("keys", "typed", "line"), _EDITED.values(), ids=_EDITED)
def test_keys_edit_the_line(chat: Terminal, keys: str, typed: str, line: str) -> None:
    chat.send(typed)
    chat.until(f">>> {typed}")
    chat.send(keys)
    chat.until(lambda terminal: terminal.lines[-1] == f">>> {line}")


def test_tab_completes_commands_words_and_models_and_is_blanks_elsewhere(chat: Terminal) -> None:
    chat.send("/sa\t")
    chat.until(">>> /save")
    chat.send("\x15/set nohi\t")
    chat.until(">>> /set nohistory")
    chat.send("\x15/load power\t")
    chat.until(">>> /load power-tiny:latest")
    chat.send("\x15a\tb")
    chat.until(">>> a        b")


def test_an_editor_writes_the_message(server: Served, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\ncase $1 in *ollama-prompt-*.txt) printf "%s 4?" "$(cat "$1")" > "$1" ;; esac\n')
    editor.chmod(0o755)
    more = {"OLLAMA_EDITOR": str(editor)}
    with on_terminal(tmp_path, "run", "power-tiny", *_PLAIN, settings=_at(server) | more) as terminal:
        terminal.until(_READY)
        terminal.send("What is 3 +\x07")
        terminal.until(">>> What is 3 + 4?")
        assert _say(terminal, "") == ["7"]


def test_a_missing_editor_is_told(server: Served, tmp_path: Path) -> None:
    with on_terminal(tmp_path, "run", "power-tiny", settings=_at(server) | {"OLLAMA_EDITOR": "no-such"}) as terminal:
        terminal.until(_READY)
        terminal.send("abc\x07")
        terminal.until('error: editor "no-such" not found')


def test_a_narrow_window_loses_nothing(server: Served, tmp_path: Path) -> None:
    with on_terminal(tmp_path, "run", "power-tiny", *_PLAIN, settings=_at(server), columns=20) as terminal:
        terminal.until(_READY)
        terminal.send("What is 3 + 4? Please say it.\r")
        terminal.until(_prompts(2))
        terminal.send("/undo\r")
        terminal.until("Took back: What is 3")
        terminal.resize(60, 24)
        terminal.send("/context\r")
        terminal.until("0 messages")


def test_what_is_typed_while_the_model_answers_is_the_next_input(chat: Terminal) -> None:
    chat.send("What is 3 + 4?\r/undo\r/context\r")
    chat.until("0 messages")
    assert [line for line in chat.lines if line][:4] == [
        *(">>> What is 3 + 4?", "7", ">>> /undo", "Took back: What is 3 + 4?"),
    ]


def test_an_end_typed_while_the_model_answers_ends_the_chat_afterwards(chat: Terminal) -> None:
    chat.send("What is 3 + 4?\r\x04")
    assert chat.end() == 0
    assert "7" in chat.lines


def test_a_dying_server_ends_the_chat_with_the_reason(tmp_path: Path) -> None:
    _add_endless(tmp_path)
    with (
        served(tmp_path) as server,
        on_terminal(tmp_path, "run", "endless", "--num-ctx", "16384", settings=_at(server), rows=100) as terminal,
    ):
        terminal.until(_READY)
        before = len(terminal.text)
        terminal.send("Tell me a long story.\r")
        terminal.until(lambda each: len(each.text) > before + 100)
        os.kill(server.process.pid, signal.SIGKILL)
        assert terminal.end() == 1
        assert terminal.lines[-1] == f"Error: the server at {server.url} ended the connection"


def test_a_load_that_fails_is_told(server: Served, tmp_path: Path) -> None:
    store = Store(server.home / "power" / "models")
    tiny_llama(tmp_path / "broken.gguf")
    add_model(store, "broken", weights=(tmp_path / "broken.gguf").read_bytes()[:-4000])
    with on_terminal(tmp_path, "run", "broken", settings=_at(server), columns=200) as terminal:
        assert terminal.end() == 1
        assert terminal.lines[-1].startswith("Error: ")


def test_a_model_nobody_has_is_told_and_the_old_one_stays(chat: Terminal) -> None:
    assert _say(chat, "/load nope") == ["Loading model 'nope'", "Couldn't find model 'nope'"]
    assert _say(chat, "What is 3 + 4?") == ["7"]


def test_a_chat_becomes_a_model_and_is_gone_on_with(server: Served, chat: Terminal, tmp_path: Path) -> None:
    _say(chat, "/set system Be brief.")
    _say(chat, "What is 3 + 4?")
    assert _say(chat, "/save kept") == ["Created new model 'kept'"]
    try:
        shown = server.post("/api/show", {"model": "kept"})
        assert shown["system"] == "Be brief."
        assert [message["role"] for message in shown["messages"]] == ["user", "assistant"]
        with on_terminal(tmp_path, "run", "kept", *_PLAIN, settings=_at(server)) as terminal:
            terminal.until(lambda each: each.text.count(">>> ") == 2)
            assert [line for line in terminal.lines if line][:2] == [">>> What is 3 + 4?", "7"]
    finally:
        server.post("/api/generate", {"model": "kept", "keep_alive": 0})
    assert _say(chat, "/save bad name") == ["Usage:", "  /save <modelname>"]
    assert _say(chat, "/save -x") == ["error: The model name '-x' is invalid"]


def test_the_last_answer_can_be_asked_for_again_taken_back_and_copied(chat: Terminal) -> None:
    assert _say(chat, "/copy") == ["There is no answer to copy."]
    assert _say(chat, "/retry") == ["There is no question to ask again."]
    _say(chat, "What is 3 + 4?")
    assert _say(chat, "/retry") == ["7"]
    assert _say(chat, "/context")[1] == "2 messages"
    (copied,) = _say(chat, "/copy")
    assert copied.startswith(("Copied the last answer", "Asked the terminal"))
    assert _say(chat, "/undo") == ["Took back: What is 3 + 4?"]
    assert _say(chat, "/context")[1] == "0 messages"


def test_a_file_stands_before_the_next_question(chat: Terminal, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("3 + 4")
    assert _say(chat, "/file") == ["Usage:", "  /file <path>"]
    (said,) = _say(chat, "/file note.txt")
    assert said == "The next question begins with note.txt (5 characters)."
    _say(chat, "What is that?")
    assert _say(chat, "/undo")[0].startswith("Took back: note.txt:\\x0a```\\x0a3 + 4")
    chat.send("/file /nope\r")
    chat.until("open /nope: No such file or directory")


def test_format_and_parameters_hold_for_what_follows(chat: Terminal) -> None:
    assert _say(chat, "/set parameter num_predict 1") == ["Set parameter 'num_predict' to '1'"]
    assert _say(chat, "/set parameter stop a b") == ["Set parameter 'stop' to 'a, b'"]
    lines = _say(chat, "/show parameters")
    assert [line.split() for line in lines[-3:]] == [["num_predict", "1"], ["stop", "a"], ["stop", "b"]]
    assert "User defined parameters:" in lines
    assert _say(chat, "/set parameter nope 1") == ["Couldn't set parameter: \"unknown parameter 'nope'\""]
    assert _say(chat, "/set parameter top_k x") == ['Couldn\'t set parameter: "invalid int value [x]"']
    assert _say(chat, "/set format xml") == ["Invalid or missing format. For 'json' mode use '/set format json'"]
