"""The interactive chat: reads what people type, does what begins with a slash, and has the model answer the rest."""

import contextlib
import sys
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from a3s_power import paths
from a3s_power.cli.client import Client, Refused
from a3s_power.cli.display import Answer, statistics
from a3s_power.cli.editor import QUOTES, FileHistory, Line, Words, typed_ahead
from a3s_power.cli.media import begins_with_path, extract
from a3s_power.cli.progress import Progress
from a3s_power.cli.session import Session
from a3s_power.cli.slash import COMMANDS, at_slash, left_out
from a3s_power.cli.terminal import harmless, one_line
from a3s_power.core.errors import BadRequest, PowerError

_STAYS: Final = ("does not support thinking", "invalid think value")
"""In errors after which a chat goes on."""
_OLLAMAS: Final = "https://ollama.com"
_UPSTREAM: Final = "upstream error"
_TRY_AGAIN: Final = "An error occurred while processing your message. Please try again.\n"
_HINT: Final = "\nUse Ctrl + d or /bye to exit."
_SET_WORDS: Final = (
    *("parameter", "system", "template", "history", "nohistory", "wordwrap", "nowordwrap", "format", "noformat"),
    *("verbose", "quiet", "think", "nothink"),
)
_SHOW_WORDS: Final = ("info", "license", "modelfile", "parameters", "system", "template")


def chat(client: Client, session: Session, shown: Mapping[str, Any]) -> None:
    """Talk until the person leaves."""
    # An interrupt of what an interrupt does is the second one in a row.
    with typed_ahead(), contextlib.suppress(KeyboardInterrupt):
        Repl(client, session).run(shown)


class Repl:
    """One chat on a terminal."""

    def __init__(self, client: Client, session: Session) -> None:
        self.client = client
        self.session = session
        self.pending = ""
        write = not paths.variable("OLLAMA_NOHISTORY")
        completer = Words([command.word for command in COMMANDS], self._words)
        self._line = Line(FileHistory(history_file(), write=write), completer)

    def run(self, shown: Mapping[str, Any]) -> None:
        """From the load of the model to the end. Raises what ends a chat in an error."""
        self._open(shown)
        self._replay(shown.get("messages") or ())
        interrupted = False
        while True:
            # An interrupt may come at any moment, and is the same at each: the second one in a row is to leave.
            try:
                self._do(self._line.read())
                interrupted = False
            except KeyboardInterrupt:
                if interrupted:
                    return
                interrupted = True
                print(_HINT)
            except EOFError:
                return

    def answer(self) -> None:
        """Have the model answer; an interrupt stops that and leaves the question."""
        session, content, thinking, calls, last = self.session, list[str](), list[str](), list[Any](), dict[str, Any]()
        answer = Answer(wrap=session.wrap, thinking=not session.hide_thinking)
        try:
            with (
                Progress(keep=False) as waiting,
                contextlib.closing(self.client.stream(session.path, session.request())) as lines,
            ):
                waiting.spin()
                for line in lines:
                    message = line.get("message") or {**line, "content": line.get("response")}
                    if (
                        message.get("content")
                        or message.get("tool_calls")
                        or (message.get("thinking") and not session.hide_thinking)
                    ):
                        waiting.stop()
                    answer.take(message, message.get("content") or "")
                    content.append(message.get("content") or "")
                    thinking.append(message.get("thinking") or "")
                    calls += message.get("tool_calls") or ()
                    last = line
        except KeyboardInterrupt:
            answer.end()
            print("\n")
            return
        except PowerError:
            answer.end()
            print()
            raise
        answer.end()
        print("\n", flush=True)
        session.answered("".join(content), "".join(thinking), calls, last)
        if session.verbose and last.get("done"):
            print(statistics(last), end="", file=sys.stderr)
        if dropped := left_out(last):
            print(f"(the {dropped} oldest messages did not fit into the context and were left out)", file=sys.stderr)

    def keep_history(self, keep: bool) -> None:  # noqa: FBT001 -- as `slash.Chat` has it
        """Whether what is typed goes to the file."""
        self._line.history.write = keep

    def enter(self, model: str) -> bool:
        """Go on with another model, what was said forgotten; whether it is there."""
        try:
            shown = self.client.ask("POST", "/api/show", {"model": model})
        except Refused as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return False
            raise
        self.session.model = model
        self.session.clear()
        self._open(shown)
        self._replay(shown.get("messages") or ())
        return True

    def _open(self, shown: Mapping[str, Any]) -> None:
        self.session.opened(shown)
        if host := one_line(str(shown.get("remote_host") or "")):
            model = one_line(str(shown.get("remote_model", "")))
            ollamas = host.startswith(_OLLAMAS)
            print(
                f"Connecting to '{model}' on '{'ollama.com' if ollamas else host}'{' ⚡' * ollamas}",
                file=sys.stderr,
            )
        with Progress(keep=False) as waiting:
            waiting.spin(f"loading {one_line(self.session.model)}")
            for _ in self.client.stream("/api/generate", self.session.loading()):
                pass

    def _replay(self, messages: Iterable[Mapping[str, Any]]) -> None:
        for message in messages:
            if message.get("role") == "user":
                print(f">>> {harmless(message.get('content', ''))}")
            elif message.get("role") == "assistant":
                print(f"{harmless(message.get('content', ''))}\n")

    def _do(self, text: str) -> None:
        """What one input asks for. Raises EOFError when that is to leave."""
        if not text.strip():
            return
        seen = self.session.shown.sees
        try:
            if text.startswith("/") and not (seen and begins_with_path(text)):
                at_slash(self, text)
                return
            self._ask(text, files=seen)
        except KeyboardInterrupt:
            print()
        except PowerError as error:
            self._fail(error)

    def _ask(self, text: str, *, files: bool) -> None:
        if text.startswith(QUOTES):
            text = text.removeprefix(QUOTES).rstrip().removesuffix(QUOTES)
        images: list[str] = []
        if files:
            try:
                text, images = extract(text)
            except BadRequest:
                return
        self.session.ask(self.pending + text, images)
        self.pending = ""
        self.answer()

    def _fail(self, error: PowerError) -> None:
        """Tell of an error after which the chat goes on. Raises the others."""
        text = harmless(str(error))
        if _UPSTREAM in text:
            print(_TRY_AGAIN)
        elif any(part in text for part in _STAYS):
            print(f"error: {text}")
        else:
            raise error

    def _words(self, text: str) -> Iterable[str]:
        """What may follow a command, for completion."""
        command, *words = text.split(" ")
        if command == "/set" and len(words) == 1:
            return _SET_WORDS
        if command == "/show" and len(words) == 1:
            return _SHOW_WORDS
        if command == "/load":
            with contextlib.suppress(PowerError):
                return [model["name"] for model in self.client.models("/api/tags")]
        return ()


def history_file() -> Path:
    """Where what was typed is kept."""
    return paths.base_folder() / "history"
