"""References: blobs whose file others may change, because it lies elsewhere or is a hard link, and how it was."""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Final, Self

import msgspec

from a3s_power.core import limits
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadFile
from a3s_power.gguf.reader import open_regular as open_elsewhere
from a3s_power.log import get_logger
from a3s_power.store.files import open_regular, place, remove_if_there, write_whole
from a3s_power.store.layout import Layout

log = get_logger(__name__)

_RECORD_BYTES: Final = 16_384
_ROOT: Final = 0


class Reference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file as it was when it had its digest: bytes, and the time of its last change in nanoseconds since 1970.

    `path` is empty for a hard link: that one lies among the blobs. `owner` is the user whose record it is, as the
    system says, -1 for one that is not written yet.
    """

    path: str = ""
    size: int
    changed_ns: int
    owner: int = -1

    @classmethod
    def of(cls, status: os.stat_result, path: str = "") -> Self:
        """What a file's status says."""
        return cls(path=path, size=status.st_size, changed_ns=status.st_mtime_ns)

    def describes(self, status: os.stat_result) -> bool:
        """Whether the file has the size and the time it had."""
        return (self.size, self.changed_ns) == (status.st_size, status.st_mtime_ns)


class References:
    """The `references` folder: a record for each such blob. Commands on this machine make them, no request does."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def of(self, digest: Digest) -> Reference | None:
        """The blob's record; `None` for an ordinary blob. Raises OSError."""
        try:
            with place(self._layout.references) as folder, open_regular(folder, digest.file_name) as file:
                said = msgspec.json.decode(file.read(_RECORD_BYTES), type=Reference)
                return msgspec.structs.replace(said, owner=os.fstat(file.fileno()).st_uid)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _unusable(digest, "its record cannot be read") from error

    def check(self, digest: Digest, reference: Reference, file: Path) -> None:
        """Raise BadFile unless the file is still what it was: by size and time, and by its digest when these differ.

        Whoever can write into a models folder must not read through the server what they could not read themselves:
        only records of this process's own user, or of root, are followed.
        """
        if reference.owner not in (_own_user(), _ROOT):
            raise _unusable(digest, "another user made it")
        try:
            with open_elsewhere(file) as content:
                status = os.fstat(content.fileno())
                if reference.describes(status):
                    return
                same = status.st_size == reference.size and hashed(content) == digest
        except (OSError, BadFile) as error:
            log.warning("a file that a model refers to cannot be read", path=file, error=error)
            raise _unusable(digest, "that file is gone, or cannot be read") from error
        if not same:
            log.warning("a file that a model refers to was changed", path=file)
            raise _unusable(digest, "that file was changed")
        self.write(digest, Reference.of(status, reference.path))

    def write(self, digest: Digest, reference: Reference) -> None:
        """Note a file for a blob. Raises OSError."""
        write_whole(self._layout.root, ("references", digest.file_name), msgspec.json.encode(reference) + b"\n")

    def touch(self, digest: Digest) -> None:
        """Make the blob young, so that no start-up takes it for forgotten; a linked file keeps its time."""
        record = self._layout.references / digest.file_name
        os.utime(record if record.is_file() else self._layout.blob(digest))

    def remove(self, digest: Digest) -> None:
        """Forget the file, which stays. Raises OSError."""
        try:
            with place(self._layout.references) as folder:
                remove_if_there(folder, digest.file_name)
        except FileNotFoundError:
            return


def _own_user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else _ROOT


def hashed(file: BinaryIO) -> Digest:
    """The digest of a whole file. Raises OSError."""
    file.seek(0)
    whole = hashlib.sha256()
    while chunk := file.read(limits.MIB):
        whole.update(chunk)
    return Digest(whole.hexdigest())


def _unusable(digest: Digest, why: str) -> BadFile:
    return BadFile(f"blob {digest} is a reference to a file: {why}. Create the model again")
