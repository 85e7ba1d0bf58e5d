"""What a chat does at a slash: one function a command, and the table that finds it, in the order Ollama looks."""

import base64
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from a3s_power.cli import slash_help
from a3s_power.cli.client import Client, Refused
from a3s_power.cli.editor import QUOTES, in_editor
from a3s_power.cli.media import MOST_BYTES
from a3s_power.cli.session import Session, pairs, used
from a3s_power.cli.show import page
from a3s_power.cli.terminal import harmless, is_terminal, one_line
from a3s_power.core.errors import BadRequest, InvalidName, PowerError
from a3s_power.core.names import ModelName

_UNKNOWN: Final = "Unknown command '{}'. Type /? for help"
_LEVELS: Final = ("low", "medium", "high", "max")
_COPIERS: Final = (("pbcopy",), ("wl-copy",), ("xclip", "-selection", "clipboard"), ("clip",))


class Chat(Protocol):
    """What a command may change and ask."""

    client: Client
    session: Session
    pending: str
    """What stands before the next question."""

    def answer(self) -> None:
        """Have the model answer what was said."""

    def keep_history(self, keep: bool) -> None:  # noqa: FBT001 -- one word, one meaning
        """Whether what is typed goes to the file."""

    def enter(self, model: str) -> bool:
        """Go on with another model; whether it is there."""


class Said(NamedTuple):
    """The words behind a command's own, and the whole input."""

    words: list[str]
    line: str


def at_slash(chat: Chat, line: str) -> None:
    """Do what the line says. Raises EOFError when that is to leave."""
    word, *words = line.split()
    said = Said(words, line)
    for command in COMMANDS:
        if word == command.word or (command.begins and line.startswith(command.word)):
            command.do(chat, said)
            return
    print(_UNKNOWN.format(one_line(word)))


def _list(chat: Chat, said: Said) -> None:
    # A command's own module; its function is called as the builtin.
    from a3s_power.cli.list import named  # noqa: PLC0415
    from a3s_power.cli.list import page as list_page  # noqa: PLC0415

    print(list_page(named(chat.client.models("/api/tags"), said.words)), end="")


def _load(chat: Chat, said: Said) -> None:
    if len(said.words) != 1:
        print("Usage:\n  /load <modelname>")
        return
    print(f"Loading model '{one_line(said.words[0])}'")
    if not chat.enter(said.words[0]):
        print(f"Couldn't find model '{one_line(said.words[0])}'")


def _save(chat: Chat, said: Said) -> None:
    if len(said.words) != 1:
        print("Usage:\n  /save <modelname>")
        return
    (name,) = said.words
    try:
        ModelName.parse(name)
        for _ in chat.client.stream("/api/create", chat.session.saving(name)):
            pass
    except (InvalidName, Refused) as error:
        if isinstance(error, InvalidName) or "invalid model name" in str(error):
            print(f"error: The model name '{one_line(name)}' is invalid")
        else:
            print(f"error: {harmless(str(error))}")
        return
    print(f"Created new model '{one_line(name)}'")


def _clear(chat: Chat, _: Said) -> None:
    chat.session.clear()
    print("Cleared session context")


def _set(chat: Chat, said: Said) -> None:
    if not said.words:
        print(slash_help.SET_HELP, file=sys.stderr)
    elif said.words[0] == "parameter":
        _parameter(chat, said.words[1:])
    elif said.words[0] == "system":
        _system(chat, said.line)
    elif said.words[0] == "template":
        _template(chat, said.line)
    elif said.words[0] in ("think", "nothink"):
        _think(chat, said.words)
    elif said.words[0] == "format":
        _format(chat, said.words[1:])
    elif said.words[0] in _SWITCHES:
        _SWITCHES[said.words[0]](chat)
    else:
        print(_UNKNOWN.format(one_line(f"/set {said.words[0]}")))


def _parameter(chat: Chat, words: list[str]) -> None:
    if len(words) < 2:
        print(slash_help.PARAMETER_HELP, file=sys.stderr)
        return
    name, *values = words
    try:
        chat.session.set_parameter(name, values)
    except BadRequest as error:
        print(f'Couldn\'t set parameter: "{one_line(str(error))}"')
    else:
        print(f"Set parameter '{name}' to '{one_line(', '.join(values))}'")


def _system(chat: Chat, line: str) -> None:
    text = line.partition("system")[2].strip()
    several = text.startswith(QUOTES)
    text = text.removeprefix(QUOTES).removesuffix(QUOTES) if several else " ".join(text.split())
    if not text:
        print(slash_help.SET_HELP, file=sys.stderr)
        return
    chat.session.set_system(text)
    print("Set system message.")


def _template(chat: Chat, line: str) -> None:
    text = line.partition("template")[2].strip()
    text = text.removeprefix(QUOTES).removesuffix(QUOTES) if text.startswith(QUOTES) else text
    if not text:
        print(slash_help.SET_HELP, file=sys.stderr)
        return
    chat.session.set_template(text)
    print("Set prompt template; what was said before is forgotten.")


def _think(chat: Chat, words: list[str]) -> None:
    session, level = chat.session, words[1] if len(words) > 1 else ""
    if level and level not in _LEVELS:
        print(_UNKNOWN.format(one_line(f"/set think {level}")))
        return
    session.think, session.think_said = (False if words[0] == "nothink" else level or True), True
    print(
        "Set 'nothink' mode."
        if words[0] == "nothink"
        else f"Set 'think' mode to '{level}'."
        if level
        else "Set 'think' mode."
    )
    if session.think and not session.shown.thinks:
        print(f'warning: model "{one_line(session.model)}" does not support thinking output', file=sys.stderr)


def _format(chat: Chat, words: list[str]) -> None:
    if words != ["json"]:
        print("Invalid or missing format. For 'json' mode use '/set format json'")
        return
    chat.session.format = "json"
    print("Set format to 'json' mode.")


def _wrap(chat: Chat, *, on: bool) -> None:
    chat.session.wrap = on
    print(f"Set '{'wordwrap' if on else 'nowordwrap'}' mode.")


def _verbose(chat: Chat, *, on: bool) -> None:
    chat.session.verbose = on
    print(f"Set '{'verbose' if on else 'quiet'}' mode.")


def _no_format(chat: Chat) -> None:
    chat.session.format = None
    print("Disabled format.")


_SWITCHES: Final[Mapping[str, Callable[[Chat], None]]] = {
    "history": lambda chat: chat.keep_history(True),
    "nohistory": lambda chat: chat.keep_history(False),
    "wordwrap": lambda chat: _wrap(chat, on=True),
    "nowordwrap": lambda chat: _wrap(chat, on=False),
    "verbose": lambda chat: _verbose(chat, on=True),
    "quiet": lambda chat: _verbose(chat, on=False),
    "noformat": _no_format,
}


def _show(chat: Chat, said: Said) -> None:
    if not said.words:
        print(slash_help.SHOW_HELP, file=sys.stderr)
        return
    answer = chat.client.ask("POST", "/api/show", {"model": chat.session.model})
    match said.words[0]:
        case "info":
            print(page(answer), end="", file=sys.stderr)
        case "parameters":
            _show_parameters(chat, str(answer.get("parameters") or ""))
        case "system":
            text = chat.session.system or answer.get("system")
            print(f"{harmless(text)}\n" if text else "No system message was specified for this model.")
        case "license" | "modelfile" | "template" as part:
            text = answer.get(part)
            name = "prompt template" if part == "template" else part
            print(harmless(text) if text else f"No {name} was specified for this model.")
        case other:
            print(_UNKNOWN.format(one_line(f"/show {other}")))


def _show_parameters(chat: Chat, own: str) -> None:
    print("Model defined parameters:")
    if own:
        for line in own.splitlines():
            print(f"  {one_line(line)}")
    else:
        print("  No additional parameters were specified for this model.")
    print()
    if chat.session.options:
        print("User defined parameters:")
        for name, value in pairs(chat.session.options):
            print(f"  {name:<30} {one_line(value)}")
        print()


def _help(chat: Chat, said: Said) -> None:
    topic = said.words[0].removeprefix("/") if said.words else ""
    if topic in ("shortcut", "shortcuts"):
        text = slash_help.SHORTCUTS
    elif topic in ("set", "show"):
        text = slash_help.SET_HELP if topic == "set" else slash_help.SHOW_HELP
    else:
        text = slash_help.HELP + (slash_help.MEDIA_HELP if chat.session.shown.sees else "")
    print(text, file=sys.stderr)


def _retry(chat: Chat, _: Said) -> None:
    question = chat.session.undo()
    if question is None:
        print("There is no question to ask again.")
        return
    chat.session.messages.append(question)
    chat.answer()


def _undo(chat: Chat, _: Said) -> None:
    question = chat.session.undo()
    print("There is nothing to take back." if question is None else f"Took back: {one_line(question['content'])}")


def _edit(chat: Chat, _: Said) -> None:
    question = chat.session.undo()
    if question is None:
        print("There is no question to change.")
        return
    text = in_editor(question["content"])
    chat.session.messages.append(question | {"content": text or question["content"]})
    if text:
        chat.answer()


def _copy(chat: Chat, _: Said) -> None:
    """By the system's own program where there is one; else by asking the terminal, in base64 that drives nothing."""
    text = chat.session.last_answer()
    if not text:
        print("There is no answer to copy.")
        return
    if program := _copied(text):
        print(f"Copied the last answer with {program}.")
    elif is_terminal(sys.stdout):
        sys.stdout.write(f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07")
        print("Asked the terminal to copy the last answer.")
    else:
        print("There is no clipboard here.")


def _copied(text: str) -> str:
    """The system's program that has copied the text; empty when none did."""
    program = next((one for one in _COPIERS if shutil.which(one[0])), None)
    if program is None:
        return ""
    done = subprocess.run(program, input=text.encode(), capture_output=True, check=False)  # noqa: S603 -- of the table
    return "" if done.returncode else program[0]


def _context(chat: Chat, _: Said) -> None:
    session = chat.session
    loaded = chat.client.models("/api/ps")
    wanted = session.shown.answer.get("model") or session.model
    limit = next(
        (
            each.get("context_length", 0)
            for each in loaded
            if session.model in (each["name"], each["name"].removesuffix(":latest"), wanted)
        ),
        0,
    )
    filled = used(session.last)
    print(
        f"{filled} of {limit} tokens, {100 * filled // limit} %"
        if limit
        else f"{filled} tokens; the model is not loaded"
    )
    turns = sum(message["role"] != "system" for message in session.messages)
    print(
        f"{turns} messages"
        + (f", {dropped} of them left out of the last prompt" if (dropped := left_out(session.last)) else "")
    )


def left_out(last: Mapping[str, object]) -> int:
    """How many of the oldest messages an answer says it was made without."""
    said = last.get("dropped_messages")
    return said if isinstance(said, int) else 0


def _file(chat: Chat, said: Said) -> None:
    if not said.words:
        print("Usage:\n  /file <path>")
        return
    path = Path(said.line.partition(" ")[2].strip()).expanduser()
    try:
        if path.stat().st_size > MOST_BYTES:
            raise PowerError("file size exceeds maximum limit (100MB)")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PowerError(f"open {path}: {getattr(error, 'strerror', None) or 'is no text'}") from None
    chat.pending += f"{path.name}:\n```\n{text}\n```\n\n"
    print(f"The next question begins with {one_line(path.name)} ({len(text)} characters).")


def _bye(_chat: Chat, _: Said) -> None:
    raise EOFError


class Slash(NamedTuple):
    """A command: its word, what it does, and whether whatever begins with the word means it, as in Ollama."""

    word: str
    do: Callable[[Chat, Said], None]
    begins: bool = True


COMMANDS: Final = (
    Slash("/list", _list),
    Slash("/load", _load),
    Slash("/save", _save),
    Slash("/clear", _clear),
    Slash("/set", _set),
    Slash("/show", _show),
    Slash("/help", _help),
    Slash("/?", _help),
    Slash("/exit", _bye),
    Slash("/bye", _bye),
    Slash("/retry", _retry, begins=False),
    Slash("/undo", _undo, begins=False),
    Slash("/edit", _edit, begins=False),
    Slash("/copy", _copy, begins=False),
    Slash("/context", _context, begins=False),
    Slash("/file", _file, begins=False),
)
