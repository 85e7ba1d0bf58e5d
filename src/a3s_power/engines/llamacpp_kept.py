"""Kept prompts: what llama.cpp's slots hold, written to files before the child ends and read again after a load.

The engine reads such a file as if it were its own memory, so one goes to it only when it is what was written here, by
its digest, and by a load with the same settings; any other is left alone, and the log says so.
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from a3s_power.core.errors import PowerError
from a3s_power.engines.llamacpp_socket import EngineSocket

_LEAST_TOKENS: Final = 32
"""A shorter prompt is read again faster than its file."""
_OURS_ALONE: Final = 0o600


class _Told(msgspec.Struct):
    """What the engine says of a slot."""

    id: int
    n_prompt_tokens: int = 0


class _Note(msgspec.Struct):
    """What stands beside a slot's file: its digest, the settings it was made with, its prompt where that is known."""

    sha256: str
    settings: str
    tokens: int
    prompt: str = ""


class KeptPrompts:
    """The files of one load's slots. `settings` is whatever changes the engine's memory; a folder is for one model."""

    def __init__(self, folder: str, socket: EngineSocket, settings: str, token_bytes: float) -> None:
        """`token_bytes` is about what a token takes in a file."""
        self._folder = Path(folder)
        self._socket = socket
        self._settings = settings
        self._token_bytes = token_bytes

    def restore(self, slots: int) -> dict[int, str]:
        """Give slots what was kept of them. Returns their prompts, as far as those are known."""
        found = {}
        for slot in range(slots):
            try:
                note = self._checked(slot)
                if note is not None:
                    self._socket.ask(f"/slots/{slot}?action=restore", {"filename": self._file(slot).name})
                    found[slot] = note.prompt
            except (OSError, ValueError, PowerError, msgspec.MsgspecError) as error:
                _log(f"the kept prompt of slot {slot} is not used: {error}")
        return found

    def keep(self, prompts: dict[int, str], limit: int) -> int:
        """Write what the slots hold, at most about so many bytes. Returns how many tokens that is.

        Raises OSError, and what the engine raises.
        """
        kept, room = 0, limit
        for slot, tokens in self._lengths():
            if tokens >= _LEAST_TOKENS and tokens * self._token_bytes <= room:
                room -= self._write(slot, prompts.get(slot, ""))
                kept += tokens
        return kept

    def _lengths(self) -> Iterator[tuple[int, int]]:
        """Slots and the tokens in them."""
        for told in msgspec.convert(self._socket.ask("/slots"), list[_Told]):
            yield told.id, told.n_prompt_tokens

    def _write(self, slot: int, prompt: str) -> int:
        """Write a slot's file and the note beside it, which counts from the moment it is there. Returns the bytes."""
        file, note = self._file(slot), self._note(slot)
        note.unlink(missing_ok=True)
        # The engine would make it by the umask; it writes into what is there.
        os.close(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, _OURS_ALONE))
        try:
            saved = self._socket.ask(f"/slots/{slot}?action=save", {"filename": file.name})
        except PowerError:
            file.unlink(missing_ok=True)
            raise
        said = _Note(sha256=_digest(file), settings=self._settings, tokens=saved["n_saved"], prompt=prompt)
        partial = note.with_suffix(".new")
        with os.fdopen(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, _OURS_ALONE), "wb") as content:
            content.write(msgspec.json.encode(said))
        partial.replace(note)
        return file.stat().st_size

    def _checked(self, slot: int) -> _Note | None:
        """The note of a slot whose file is as it was written; `None` without one. Raises ValueError for others."""
        try:
            note = msgspec.json.decode(self._note(slot).read_bytes(), type=_Note)
        except FileNotFoundError:
            return None
        if note.settings != self._settings:
            raise ValueError(f"it was written with {note.settings}, and this is {self._settings}")
        if _digest(self._file(slot)) != note.sha256:
            raise ValueError("its file is not what was written")
        return note

    def _file(self, slot: int) -> Path:
        return self._folder / f"slot-{slot}.bin"

    def _note(self, slot: int) -> Path:
        return self._folder / f"slot-{slot}.json"


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 -- a child's stderr is its log
