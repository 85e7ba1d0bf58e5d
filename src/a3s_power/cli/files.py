"""Files of this machine, on their way to the server: opened so that none can be read for ever, hashed, and sent."""

import hashlib
import os
import stat
from collections.abc import Callable, Generator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Final

from a3s_power.cli.client import Client, pieces_of
from a3s_power.cli.progress import Progress
from a3s_power.core.errors import BadFile

# Opening a pipe must not wait for its writer.
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_HASHERS: Final = 4


def opened(path: Path) -> tuple[BufferedReader, int]:
    """A regular file to read, and its size in bytes. Raises PowerError for what is none or cannot be opened."""
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        raise BadFile(f"open {path}: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise BadFile(f"{path} is not a regular file")
    return os.fdopen(descriptor, "rb"), status.st_size


def digests(files: Mapping[str, Path]) -> dict[str, str]:
    """The digest of each file; several are read at once. Raises PowerError."""
    if len(files) < 2:
        return {name: _digest(path) for name, path in files.items()}
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 -- a single file does without

    with ThreadPoolExecutor(min(_HASHERS, os.cpu_count() or 1)) as threads:
        return dict(zip(files, threads.map(_digest, files.values()), strict=True))


def _digest(path: Path) -> str:
    file, _ = opened(path)
    with file:
        try:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        except OSError as error:
            raise BadFile(f"read {path}: {error.strerror}") from error


def send(client: Client, digest: str, path: Path, progress: Progress) -> None:
    """Have the server hold a file as the blob of this digest. Raises PowerError."""
    if client.has_blob(digest):
        return
    file, size = opened(path)
    with file:
        sending = client.upload(f"/api/blobs/{digest}", pieces_of(file), size)
        progress.percent(f"copying file {digest}", (sent / size for sent in sending))


def watched(sending: Generator[int, None, bytes], show: Callable[[int], None]) -> bytes:
    """Send to the end, telling how many bytes were sent so far; the answer's content."""
    while True:
        try:
            show(next(sending))
        except StopIteration as ended:
            content: bytes = ended.value
            return content
