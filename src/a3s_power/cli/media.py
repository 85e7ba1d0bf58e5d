"""Files named in a prompt: pictures and sounds by their paths, as Ollama finds them in what people type."""

import base64
import re
import sys
from pathlib import Path
from typing import Final

from a3s_power.cli.terminal import one_line
from a3s_power.core.errors import BadRequest

MOST_BYTES: Final = 104_857_600
_SNIFFED_BYTES: Final = 512
_PATH: Final = re.compile(r"(?:[a-zA-Z]:)?(?:\./|/|\\)[\S\\ ]+?\.(?:jpg|jpeg|png|webp|wav)\b", re.IGNORECASE)
_ESCAPED: Final = re.compile(r"\\([ ()\[\]{}$&;'\\*?~])")
_KINDS: Final = (
    (b"\xff\xd8\xff", 0, "image", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", 0, "image", "image/png"),
    (b"WEBP", 8, "image", "image/webp"),
    (b"WAVE", 8, "audio", "audio/wave"),
    (b"GIF8", 0, "", "image/gif"),
    (b"BM", 0, "", "image/bmp"),
    (b"%PDF-", 0, "", "application/pdf"),
    (b"PK\x03\x04", 0, "", "application/zip"),
    (b"\x1f\x8b\x08", 0, "", "application/x-gzip"),
)
"""What a file begins with, at which byte, what that is where a model can be given it, and its type."""
_BINARY: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
"""Bytes that no text has."""


def begins_with_path(text: str) -> bool:
    """Whether the first thing in a text is such a path, so that a slash there begins no command."""
    found = _PATH.match(text)
    return found is not None and Path(_plain(found[0])).exists()


def extract(text: str) -> tuple[str, list[str]]:
    """The text without the paths in it, and the files' contents in base64. A path of no file stays in the text.

    Raises:
        BadRequest: a file that is no picture or sound, or is too large, or cannot be read; that is told here already.
    """
    files: list[str] = []
    for found in _PATH.findall(text):
        path = Path(_plain(found))
        if not path.exists():
            continue
        try:
            kind, content = _read(path)
        except BadRequest as error:
            print(f'Couldn\'t process file: "{one_line(str(error))}"', file=sys.stderr)
            raise
        print(f"Added {kind} '{one_line(_plain(found))}'", file=sys.stderr)
        text = text.replace(f"'{found}'", "").replace(found, "")
        files.append(base64.b64encode(content).decode())
    return (text.strip() if files else text), files


def _plain(path: str) -> str:
    return _ESCAPED.sub(r"\1", path)


def _read(path: Path) -> tuple[str, bytes]:
    try:
        with path.open("rb") as file:
            head = file.read(_SNIFFED_BYTES)
            kind, mime = next(
                ((name, mime) for magic, at, name, mime in _KINDS if head[at : at + len(magic)] == magic),
                ("", "application/octet-stream" if _BINARY.search(head) else "text/plain; charset=utf-8"),
            )
            if not kind:
                raise BadRequest(f"invalid file type: {mime}")
            if path.stat().st_size > MOST_BYTES:
                raise BadRequest("file size exceeds maximum limit (100MB)")
            return kind, head + file.read()
    except OSError as error:
        raise BadRequest(f"open {path}: {(error.strerror or str(error)).lower()}") from error
