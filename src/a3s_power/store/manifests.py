"""Manifests: which blobs a name stands for, one file for each name."""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import msgspec

from a3s_power.core import limits
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadManifest, InvalidName, ModelNotFound
from a3s_power.core.manifest import Manifest, read_manifest
from a3s_power.core.names import ModelName
from a3s_power.log import get_logger
from a3s_power.store.files import open_regular, place, refusals, remove_if_there, sync, write_whole
from a3s_power.store.layout import Layout

log = get_logger(__name__)

_ANY: Final = (None, None, None, None)
"""Host, namespace, model and tag of every name."""

_STAYS: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR})
_MENTION = re.compile(rb"sha256[:-]([0-9a-fA-F]{64})")


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest as it lies there: its file's bytes, their digest, the file's time, and what they say."""

    name: ModelName
    content: bytes
    digest: Digest
    modified: datetime
    manifest: Manifest


class Scan(NamedTuple):
    """All manifests of a store.

    `mentioned` is every blob one of them speaks of, the corrupt ones included as far as their text shows it; `whole`
    is false when that cannot be trusted, because a file or folder could not be read to its end.
    """

    stored: list[Stored]
    corrupt: list[str]
    mentioned: frozenset[Digest]
    whole: bool


class Manifests:
    """The `manifests` folder. Changes are made under the store's lock by whoever calls them; reading needs none."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def read(self, name: ModelName) -> Stored:
        """The manifest of a name, in whatever case the name is written. Raises ModelNotFound and BadManifest."""
        if (stored := self.exact(name)) is not None:
            return stored
        if (found := self.find(name)) is not None:
            if (stored := self.exact(found)) is not None:
                return stored
            log.debug("manifest went away while it was looked up", model=name)
        raise ModelNotFound(name.short)

    def exact(self, name: ModelName) -> Stored | None:
        """The manifest of a name that is written as it is stored; `None` without one. Raises BadManifest."""
        with refusals():
            try:
                return self._stored(name)
            except FileNotFoundError:
                return None

    def find(self, name: ModelName) -> ModelName | None:
        """The name of the manifest this name means, `None` without one: case is ignored where the spelling differs."""
        with refusals():
            for parts in _files(self._layout.manifests, like=name.parts):
                with suppress(InvalidName):
                    return ModelName(*parts)
        return None

    def spelled(self, name: ModelName) -> ModelName:
        """The name as it is to be written: each part in a spelling that some manifest already has for it."""
        with refusals():
            found = self.find(name)
            if found is not None:
                return found
            known: tuple[dict[str, str], ...] = tuple({} for _ in name.parts)
            for there in self._names():
                for spellings, part, wanted in zip(known, there.parts, name.parts, strict=True):
                    if part == wanted or part.lower() not in spellings:
                        spellings[part.lower()] = part
        return ModelName(
            *(spellings.get(part.lower(), part) for spellings, part in zip(known, name.parts, strict=True))
        )

    def scan(self) -> Scan:
        """Read them all. What cannot be read is told to the log and otherwise passed over."""
        stored: list[Stored] = []
        corrupt: list[str] = []
        mentioned: set[Digest] = set()
        closed: list[OSError] = []
        for parts in _files(self._layout.manifests, closed.append):
            try:
                content, changed = self._content(parts)
            except FileNotFoundError:
                continue
            except OSError as error:
                closed.append(error)
                continue
            try:
                entry = _parsed(ModelName(*parts), content, changed)
            except (InvalidName, BadManifest) as error:
                log.warning("bad manifest skipped", manifest="/".join(parts), error=error)
                corrupt.append("/".join(parts))
                mentioned.update(Digest.parse(match[0].decode()) for match in _MENTION.finditer(content))
                if len(content) > limits.MANIFEST_BYTES:
                    closed.append(OSError(errno.EFBIG, os.strerror(errno.EFBIG)))
            else:
                stored.append(entry)
                mentioned |= entry.manifest.blobs
        for problem in closed:
            log.warning("models folder cannot be read in full", error=problem.strerror)
        return Scan(stored, corrupt, frozenset(mentioned), whole=not closed)

    def write(self, name: ModelName, content: bytes) -> None:
        """Put a manifest under exactly this name; at any time the old or the new one is there. Raises StoreFailed."""
        with refusals():
            write_whole(self._layout.manifests, name.parts, content)

    def remove(self, name: ModelName) -> None:
        """Remove the manifest of exactly this name and the folders it leaves empty. Raises StoreFailed."""
        *folders, tag = name.parts
        with refusals(), suppress(FileNotFoundError):
            with place(self._layout.manifests, *folders) as folder:
                remove_if_there(folder, tag)
                sync(folder)
            self._remove_empty(self._layout.manifest(name).parent)

    def remove_empty_folders(self) -> None:
        """Remove every folder below that holds nothing. Raises StoreFailed."""
        with refusals():
            for top, folders, _ in os.walk(self._layout.manifests, topdown=False):
                for folder in folders:
                    self._remove_empty(Path(top, folder))

    def _remove_empty(self, folder: Path) -> None:
        """Remove a folder and those above it, as far as they hold nothing."""
        while folder != self._layout.manifests:
            try:
                folder.rmdir()
            except OSError as error:
                if error.errno not in _STAYS:
                    raise
                return
            folder = folder.parent

    def _stored(self, name: ModelName) -> Stored:
        return _parsed(name, *self._content(name.parts))

    def _content(self, parts: tuple[str, ...]) -> tuple[bytes, float]:
        *folders, tag = parts
        with place(self._layout.manifests, *folders) as folder, open_regular(folder, tag) as file:
            status = os.fstat(file.fileno())
            # One byte more than may be, so that a reader sees that it is too much.
            return file.read(min(status.st_size, limits.MANIFEST_BYTES + 1)), status.st_mtime

    def _names(self) -> Iterator[ModelName]:
        for parts in _files(self._layout.manifests):
            with suppress(InvalidName):
                yield ModelName(*parts)


def _parsed(name: ModelName, content: bytes, changed: float) -> Stored:
    return Stored(
        name=name,
        content=content,
        digest=Digest.of(content),
        modified=datetime.fromtimestamp(changed, UTC).astimezone(),
        manifest=read_manifest(content),
    )


def _raise(error: OSError) -> NoReturn:
    raise error


def _files(
    folder: Path, refused: Callable[[OSError], None] = _raise, like: tuple[str | None, ...] = _ANY
) -> Iterator[tuple[str, ...]]:
    """The parts of every regular file as deep as `like` is long and, case aside, of its names; no link is followed."""
    part, *rest = like
    for entry in sorted(_entries(folder, refused), key=lambda entry: (entry.name != part, entry.name)):
        if part is not None and entry.name.lower() != part.lower():
            continue
        if not rest and entry.is_file(follow_symlinks=False):
            yield (entry.name,)
        if rest and entry.is_dir(follow_symlinks=False):
            for below in _files(Path(entry.path), refused, tuple(rest)):
                yield (entry.name, *below)


def _entries(folder: Path, refused: Callable[[OSError], None]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        refused(error)
        return []
