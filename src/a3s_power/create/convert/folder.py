"""Folder: the files of one model by name, each open; from here there is no way to any other file."""

from collections.abc import Mapping
from typing import BinaryIO, TypeVar

import msgspec

from a3s_power.core import limits
from a3s_power.core.errors import BadFile
from a3s_power.gguf.layout import quoted

T = TypeVar("T")


class Folder:
    """Files to read, and `notes`: what of them is changed or left out, told to whoever wants the model."""

    def __init__(self, files: Mapping[str, BinaryIO]) -> None:
        self._files = dict(files)
        self.notes: list[str] = []

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._files)

    def file(self, name: str) -> BinaryIO:
        """The file of a name that is there."""
        return self._files[name]

    def note(self, text: str) -> None:
        """Tell of something, once."""
        if text not in self.notes:
            self.notes.append(text)

    def content(self, name: str, most: int = limits.CONFIG_BYTES) -> bytes | None:
        """A small file as a whole, `None` when it is not there. Raises BadFile when it is over `most` bytes."""
        file = self._files.get(name)
        if file is None:
            return None
        file.seek(0)
        content = file.read(most + 1)
        if len(content) > most:
            raise BadFile(f"{quoted(name)} is larger than {most} bytes")
        return content

    def json(self, name: str, kind: type[T], most: int = limits.CONFIG_BYTES) -> T | None:
        """A file of JSON, `None` when it is not there. Raises BadFile for one over `most` bytes or of another form."""
        content = self.content(name, most)
        return None if content is None else decoded(name, content, kind)


def decoded(name: str, content: bytes, kind: type[T]) -> T:
    """JSON of a form. Raises BadFile, which names the file."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadFile(f"{name} cannot be read: {error}") from None
