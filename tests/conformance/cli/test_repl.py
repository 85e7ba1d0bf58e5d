"""Section 6 of the sheet: what the interactive chat says to each input, in a real terminal, and what it asks for."""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.scripted import Answer, Asked, Ran, Scripted, Shell, scripted
from tests.terminals import Terminal, on_terminal

_DONE = {"message": {"role": "assistant", "content": ""}, "done": True, "eval_count": 1, "eval_duration": 10**9}
_MODEL: dict[str, Any] = {
    "capabilities": ["completion"],
    "parameters": "top_k    3",
    "template": "{{ .Prompt }}",
    "modelfile": "FROM x",
    "model_info": {"general.architecture": "llama"},
    "details": {"quantization_level": "Q8_0"},
}
_PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def _said(*contents: str, **more: Any) -> Answer:
    return Answer(
        lines=(*({"message": {"role": "assistant", "content": text}} for text in contents), {**_DONE, **more})
    )


def _world(
    model: dict[str, Any] | None = None, chat: Answer | Callable[[Asked], Answer] | None = None
) -> dict[str, Answer | Callable[[Asked], Answer]]:
    return {
        "POST /api/show": Answer(_MODEL | (model or {})),
        "POST /api/generate": Answer(lines=({"response": "", "done": True, "done_reason": "load"},)),
        "POST /api/chat": chat or _said("hello"),
        "POST /api/create": Answer(lines=({"status": "success"},)),
        "GET /api/tags": Answer({"models": []}),
    }


@contextmanager
def _chatting(home: Path, server: Scripted, *flags: str, columns: int = 200, rows: int = 60) -> Iterator[Terminal]:
    at = {"OLLAMA_HOST": server.address}
    with on_terminal(home, "run", "m", *flags, columns=columns, rows=rows, settings=at) as terminal:
        terminal.until(">>> ")
        yield terminal


def _say(terminal: Terminal, text: str) -> list[str]:
    """Type an input; the lines between it and the next prompt, empty ones left out."""
    before = sum(line.startswith(">>>") for line in terminal.lines)
    terminal.send(f"{text}\r")
    terminal.until(lambda each: sum(line.startswith(">>>") for line in each.lines) > before)
    lines = terminal.lines
    at = [number for number, line in enumerate(lines) if line.startswith(">>>")]
    return [line for line in lines[at[-2] + 1 : at[-1]] if line]


_UNKNOWN = "Unknown command '{}'. Type /? for help"
_SAYS: tuple[tuple[str, list[str]], ...] = (
    ("/clear", ["Cleared session context"]),
    ("/load", ["Usage:", "  /load <modelname>"]),
    ("/load a b", ["Usage:", "  /load <modelname>"]),
    ("/save", ["Usage:", "  /save <modelname>"]),
    ("/save new", ["Created new model 'new'"]),
    ("/save -bad", ["error: The model name '-bad' is invalid"]),
    ("/set wordwrap", ["Set 'wordwrap' mode."]),
    ("/set nowordwrap", ["Set 'nowordwrap' mode."]),
    ("/set format json", ["Set format to 'json' mode."]),
    ("/set format", ["Invalid or missing format. For 'json' mode use '/set format json'"]),
    ("/set noformat", ["Disabled format."]),
    ("/set verbose", ["Set 'verbose' mode."]),
    ("/set quiet", ["Set 'quiet' mode."]),
    ("/set history", []),
    ("/set nohistory", []),
    ("/set think", ["Set 'think' mode.", 'warning: model "m" does not support thinking output']),
    ("/set think high", ["Set 'think' mode to 'high'.", 'warning: model "m" does not support thinking output']),
    ("/set think loud", [_UNKNOWN.format("/set think loud")]),
    ("/set nothink", ["Set 'nothink' mode."]),
    ("/set system Be  brief.", ["Set system message."]),
    ("/set nonsense", [_UNKNOWN.format("/set nonsense")]),
    ("/set parameter top_p 0.5", ["Set parameter 'top_p' to '0.5'"]),
    ("/set parameter stop a b", ["Set parameter 'stop' to 'a, b'"]),
    ("/set parameter nope 1", ["Couldn't set parameter: \"unknown parameter 'nope'\""]),
    ("/set parameter seed x", ['Couldn\'t set parameter: "invalid int value [x]"']),
    ("/set parameter top_p x", ['Couldn\'t set parameter: "invalid float value [x]"']),
    ("/set parameter use_mmap x", ['Couldn\'t set parameter: "invalid bool value [x]"']),
    ("/show license", ["No license was specified for this model."]),
    ("/show modelfile", ["FROM x"]),
    ("/show system", ["Be brief."]),
    ("/show template", ["{{ .Prompt }}"]),
    ("/show nonsense", [_UNKNOWN.format("/show nonsense")]),
    ("/nonsense", [_UNKNOWN.format("/nonsense")]),
    ("   ", []),
)


def test_each_input_has_its_answer(tmp_path: Path) -> None:
    with scripted(_world()) as server, _chatting(tmp_path, server) as terminal:
        assert [(text, _say(terminal, text)) for text, _ in _SAYS] == list(_SAYS)
        assert _say(terminal, "/show parameters") == [
            "Model defined parameters:",
            "  top_k    3",
            "User defined parameters:",
            f"  {'top_p':<30} 0.5",
            f"  {'stop':<30} a",
            f"  {'stop':<30} b",
        ]


@pytest.mark.parametrize(
    ("text", "first", "count"),
    [
        ("/?", "Available Commands:", 17),
        ("/help", "Available Commands:", 17),
        ("/set", "Available Commands:", 14),
        ("/? set", "Available Commands:", 14),
        ("/? /show", "Available Commands:", 7),
        ("/show", "Available Commands:", 7),
        ("/? shortcuts", "Available keyboard shortcuts:", 13),
        ("/set parameter top_k", "Available Parameters:", 12),
        ("/show info", "  Model", 7),
    ],
)
def test_help_is_shown(tmp_path: Path, text: str, first: str, count: int) -> None:
    with scripted(_world()) as server, _chatting(tmp_path, server) as terminal:
        lines = _say(terminal, text)
    assert (lines[0], len(lines)) == (first, count)


def test_an_answer_follows_from_all_that_was_said(tmp_path: Path) -> None:
    with scripted(_world()) as server, _chatting(tmp_path, server, "--keepalive", "5m", "--num-ctx", "99") as terminal:
        assert _say(terminal, "one") == ["hello"]
        _say(terminal, "/set system Be brief.")
        _say(terminal, "/set system Be quick.")
        _say(terminal, "/set format json")
        _say(terminal, "two")
        _say(terminal, "/clear")
        _say(terminal, "three")
        assert server.bodies("/api/generate")[0] == {
            "model": "m",
            "prompt": "",
            "keep_alive": "5m0s",
            "options": {"num_ctx": 99},
        }
        first, second, third = server.bodies("/api/chat")
    assert first["messages"] == [{"role": "user", "content": "one"}]
    assert [(message["role"], message["content"]) for message in second["messages"]] == [
        *(("user", "one"), ("assistant", "hello"), ("system", "Be quick."), ("user", "two")),
    ]
    assert (second["format"], second["options"], second["keep_alive"]) == ("json", {"num_ctx": 99}, "5m0s")
    assert [message["role"] for message in third["messages"]] == ["system", "user"]


def test_a_chat_is_saved_with_all_that_was_set(tmp_path: Path) -> None:
    with scripted(_world()) as server, _chatting(tmp_path, server) as terminal:
        _say(terminal, "/set system Be brief.")
        _say(terminal, "/set parameter seed 7")
        _say(terminal, "one")
        _say(terminal, "/save new")
        (body,) = server.bodies("/api/create")
    assert body == {
        "model": "new",
        "from": "m",
        "system": "Be brief.",
        "parameters": {"seed": 7},
        "messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "hello"}],
    }


def test_a_template_of_ones_own_renders_what_follows(tmp_path: Path) -> None:
    world = _world()
    said = ({"response": "hello"}, {"response": "", "done": True, "context": [1, 2]})
    world["POST /api/generate"] = Answer(lines=said)
    with scripted(world) as server, _chatting(tmp_path, server) as terminal:
        _say(terminal, "/set system Be brief.")
        forgotten = ["Set prompt template; what was said before is forgotten."]
        assert _say(terminal, "/set template <{{ .System }}|{{ .Prompt }}>") == forgotten
        assert _say(terminal, "one") == ["hello"]
        _say(terminal, "two")
        _, first, second = server.bodies("/api/generate")
    template = "<{{ .System }}|{{ .Prompt }}>"
    assert first == {"model": "m", "prompt": "one", "template": template, "system": "Be brief."}
    assert second == {**first, "prompt": "two", "context": [1, 2]}


def test_thinking_is_asked_for_where_the_model_can_and_kept_with_the_answer(tmp_path: Path) -> None:
    thought = {"message": {"role": "assistant", "content": "", "thinking": "hm"}}
    answer = Answer(lines=(thought, {"message": {"role": "assistant", "content": "yes"}}, _DONE))
    with (
        scripted(_world({"capabilities": ["completion", "thinking"]}, answer)) as server,
        _chatting(tmp_path, server) as terminal,
    ):
        assert _say(terminal, "one") == ["Thinking...", "hm", "...done thinking.", "yes"]
        _say(terminal, "/set nothink")
        _say(terminal, "two")
        first, second = server.bodies("/api/chat")
    assert (first["think"], second["think"]) == (True, False)
    assert second["messages"][1] == {"role": "assistant", "content": "yes", "thinking": "hm"}


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ('"m" does not support thinking', 'error: 400 Bad Request: "m" does not support thinking'),
        ("upstream error", "An error occurred while processing your message. Please try again."),
    ],
)
def test_after_some_errors_the_chat_goes_on(tmp_path: Path, error: str, shown: str) -> None:
    with (
        scripted(_world(chat=Answer({"error": error}, 400))) as server,
        _chatting(tmp_path, server) as terminal,
    ):
        assert _say(terminal, "one") == [shown]


def test_after_others_it_ends(tmp_path: Path) -> None:
    with (
        scripted(_world(chat=Answer({"error": "no\x1b[2J"}, 500))) as server,
        _chatting(tmp_path, server) as terminal,
    ):
        terminal.send("one\r")
        assert terminal.end() == 1
        assert terminal.lines[-1] == "Error: 500 Internal Server Error: no\\x1b[2J"


def test_messages_of_the_model_are_shown_first(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho\x1b[2J"}]
    with scripted(_world({"messages": messages})) as server, _chatting(tmp_path, server) as terminal:
        terminal.until(lambda each: each.text.count(">>> ") == 2)
        assert terminal.lines[:2] == [">>> Hi", "Ho\\x1b[2J"]


def test_a_picture_is_sent_with_the_message_and_its_path_is_not(tmp_path: Path) -> None:
    (tmp_path / "a b.png").write_bytes(_PNG)
    (tmp_path / "no.png").write_text("text")
    with (
        scripted(_world({"capabilities": ["completion", "vision"]})) as server,
        _chatting(tmp_path, server) as terminal,
    ):
        assert _say(terminal, "./a\\ b.png what is it?") == ["Added image './a b.png'", "hello"]
        refused = 'Couldn\'t process file: "invalid file type: text/plain; charset=utf-8"'
        assert _say(terminal, f"{tmp_path}/no.png what?") == [refused]
        assert _say(terminal, "/nothing/here.png what?") == [_UNKNOWN.format("/nothing/here.png")]
        (body,) = server.bodies("/api/chat")
    assert body["messages"] == [{"role": "user", "content": "what is it?", "images": [base64.b64encode(_PNG).decode()]}]


def test_a_model_that_does_not_see_gets_paths_as_text(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_PNG)
    with scripted(_world()) as server, _chatting(tmp_path, server) as terminal:
        assert _say(terminal, "./a.png") == ["hello"]
        assert server.bodies("/api/chat")[0]["messages"] == [{"role": "user", "content": "./a.png"}]


@pytest.mark.parametrize(
    ("columns", "words", "lines"),
    [
        (20, ["one two ", "three ", "four five"], ["one two three", "four five"]),
        (20, ["日本語日本語日本語日本語"], ["日本語日本語日", "本語日本語"]),
        (20, ["ab cd ef gh ij 👍👍"], ["ab cd ef gh ij", "👍👍"]),
        (20, ["averyverylongwordindeed"], ["averyverylongwo", "rdindeed"]),
    ],
)
def test_answers_are_broken_between_words(tmp_path: Path, columns: int, words: list[str], lines: list[str]) -> None:
    with (
        scripted(_world(chat=_said(*words))) as server,
        _chatting(tmp_path, server, columns=columns) as terminal,
    ):
        assert [line.rstrip() for line in _say(terminal, "x")] == lines


def test_what_did_not_fit_is_told(tmp_path: Path) -> None:
    with (
        scripted(_world(chat=_said("hello", dropped_messages=3))) as server,
        _chatting(tmp_path, server) as terminal,
    ):
        assert _say(terminal, "x") == [
            *("hello", "(the 3 oldest messages did not fit into the context and were left out)"),
        ]


@pytest.mark.parametrize(
    ("host", "said"), [("https://ollama.com:443", "'ollama.com' ⚡"), ("http://h:1", "'http://h:1'")]
)
def test_where_a_remote_model_is_stands_before_the_chat(tmp_path: Path, host: str, said: str) -> None:
    with (
        scripted(_world({"remote_host": host, "remote_model": "far"})) as server,
        _chatting(tmp_path, server) as terminal,
    ):
        assert terminal.lines[0] == f"Connecting to 'far' on {said}"


@pytest.mark.parametrize(
    ("content", "mime"),
    [
        (b"GIF89a", "image/gif"),
        (b"%PDF-1.7", "application/pdf"),
        (b"text", "text/plain; charset=utf-8"),
        ("é\x1b".encode(), "text/plain; charset=utf-8"),
        (b"\x00\x01", "application/octet-stream"),
    ],
)
def test_a_file_that_no_model_takes_ends_a_run(shell: Shell, tmp_path: Path, content: bytes, mime: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with scripted(_world({"capabilities": ["completion", "vision"]})) as server:
        ran = shell("run", "m", f"what is {tmp_path}/a.png", server=server)
        assert server.bodies("/api/generate") == []
    said = f"invalid file type: {mime}"
    assert ran == Ran(1, "", f'Couldn\'t process file: "{said}"\nError: {said}\n')


def test_a_run_sends_the_files_that_its_prompt_names(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "it's (1).png").write_bytes(_PNG)
    with scripted(_world({"capabilities": ["completion", "vision"]})) as server:
        ran = shell("run", "m", f"what is {tmp_path}/it\\'s\\ \\(1\\).png ?", server=server)
        (body,) = server.bodies("/api/generate")
    assert (ran.status, ran.err) == (0, f"Added image '{tmp_path}/it's (1).png'\n")
    assert (body["prompt"], body["images"]) == ("what is  ?", [base64.b64encode(_PNG).decode()])
