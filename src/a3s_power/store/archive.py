"""Archive: a model in one plain tar file, laid out as the piece of a models folder that it is.

First `manifests/<host>/<namespace>/<model>/<tag>`, then each blob of it as `blobs/sha256-<hex>`: what Ollama, too,
would find if it was unpacked by hand. It is read as what it may be, a file by a stranger: only these names, only what
the manifest lists and of the sizes that it says, and the model appears when the hash of every blob was found right.
"""

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO, Final, NamedTuple

from a3s_power.core import limits
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadFile, BadManifest, InvalidDigest, InvalidName, PowerError
from a3s_power.core.manifest import Manifest, read_config, read_manifest
from a3s_power.core.names import ModelName
from a3s_power.gguf.layout import quoted
from a3s_power.store import tar
from a3s_power.store.store import Store

_PIECE_BYTES: Final = limits.MIB
_MANIFESTS: Final = "manifests"
_BLOBS: Final = "blobs/"
_MOST_PADDING: Final = 64 * 1024
"""Tar programs fill an archive's last ten or more blocks with zeros."""

_Reading = Generator[int, memoryview, None]


class Packed(NamedTuple):
    """An archive to be read once: all its bytes, and how many they are."""

    size: int
    pieces: Iterator[bytes]


class _Part(NamedTuple):
    """A file of an archive on its way out."""

    head: bytes
    size: int
    content: BinaryIO | bytes


def pack(store: Store, name: ModelName, *, blobs: bool = True) -> Packed:
    """A model as an archive; without `blobs` only its manifest is in it. Its files are opened now, and read later.

    Raises:
        ModelNotFound: no such model, or one whose blobs are not all there.
        BadManifest, BadFile: the model cannot be read.
    """
    store.models.read(name)
    stored = store.manifests.read(name)
    content = stored.content
    with ExitStack() as files:
        parts = [_Part(tar.header("/".join((_MANIFESTS, *stored.name.parts)), len(content)), len(content), content)]
        if blobs:
            parts += [_blob_part(digest, size, store, files) for digest, size in _sizes(stored.manifest).items()]
        opened = files.pop_all()
    size = sum(len(part.head) + part.size + tar.padding(part.size) for part in parts) + len(tar.END)
    return Packed(size, _pieces(parts, opened))


def _sizes(manifest: Manifest) -> dict[Digest, int]:
    """Every blob of a manifest, once, and its size. Raises BadManifest when one is said to have two."""
    sizes: dict[Digest, int] = {}
    for layer in (manifest.config, *manifest.layers):
        if sizes.setdefault(layer.blob, layer.size) != layer.size:
            raise BadManifest(f"manifest has two sizes for {layer.digest}")
    return sizes


def _blob_part(digest: Digest, expected: int, store: Store, opened: ExitStack) -> _Part:
    size, file = store.blobs.open(digest)
    opened.enter_context(file)
    if size != expected:
        raise BadManifest(f"blob {digest} has {size} bytes and should have {expected}")
    return _Part(tar.header(_BLOBS + digest.file_name, size), size, file)


def _pieces(parts: list[_Part], opened: ExitStack) -> Iterator[bytes]:
    with opened:
        for part in parts:
            yield part.head
            if isinstance(part.content, bytes):
                yield part.content
            else:
                yield from _content(part.content, part.size)
            if rest := tar.padding(part.size):
                yield bytes(rest)
        yield tar.END


def _content(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        piece = file.read(min(size, _PIECE_BYTES))
        if not piece:
            raise BadManifest("a blob became shorter while it was read")
        size -= len(piece)
        yield piece


class Unpacking:
    """An archive on its way in. `feed` it all bytes, then `finish`; `close` it in any case.

    Blobs that are here already are not written again, and may be missing in the archive. If it is closed without having
    been finished, nothing is left of it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._written: set[Digest] = set()
        self._model: tuple[ModelName, bytes] | None = None
        self._reading = self._read()
        self._wanted = next(self._reading)

    def feed(self, content: bytes) -> None:
        """Take the next bytes.

        Raises:
            BadFile: this is no archive of a model, or a hostile one.
            DigestMismatch: a blob is not what its name says.
            DiskFull: there is no room for it.
        """
        rest = memoryview(content)
        while rest:
            piece, rest = rest[: self._wanted], rest[self._wanted :]
            self._wanted = self._reading.send(piece)

    def finish(self) -> ModelName:
        """Make the model appear; its name. Raises BadFile when the archive is cut off, BlobNotFound and StoreFailed."""
        if self._model is None:
            raise BadFile("the archive is cut off")
        name = self._store.write(*self._model)
        self._written.clear()
        return name

    def close(self) -> None:
        """Give up what was not finished. May be called again."""
        self._reading.close()
        for digest in self._written:
            # In use: another model came meanwhile that has the same blob.
            with suppress(PowerError):
                self._store.remove_blob(digest)
        self._written.clear()

    def _read(self) -> _Reading:
        """Read what is sent; yields how many bytes are wanted at most."""
        name, content = yield from self._manifest()
        with _said_by_the_archive():
            manifest = read_manifest(content)
            missing = _sizes(manifest)
        if needed := sum(size for digest, size in missing.items() if not self._keep(digest, size)):
            self._store.blobs.check_room(needed)
        while (entry := (yield from tar.entry())) is not None:
            digest = _digest(entry.name)
            if missing.pop(digest, None) != entry.size:
                raise BadFile(f"the archive's {entry.name} is not in its manifest, or not of this size, or there twice")
            yield from self._blob(digest, entry.size)
            yield from tar.exactly(tar.padding(entry.size))
        for digest, size in missing.items():
            if not self._keep(digest, size):
                raise BadFile(f"the archive is without blob {digest}, which is not here either")
        with _said_by_the_archive():
            read_config(self._store.blobs.read(manifest.config.blob, limits.CONFIG_BYTES))
        self._model = (name, content)
        yield from _zeros()

    def _keep(self, digest: Digest, size: int) -> bool:
        """Whether the blob is here already, whole; it is not taken for forgotten then."""
        return self._store.blobs.keep(digest) and self._store.blobs.size(digest) == size

    def _manifest(self) -> Generator[int, memoryview, tuple[ModelName, bytes]]:
        entry = yield from tar.entry()
        if entry is None:
            raise BadFile("the archive is empty")
        name = _name(entry.name)
        if entry.size > limits.MANIFEST_BYTES:
            raise BadFile(f"manifest is larger than {limits.MANIFEST_BYTES} bytes")
        content = yield from tar.exactly(entry.size)
        yield from tar.exactly(tar.padding(entry.size))
        return name, content

    def _blob(self, digest: Digest, size: int) -> _Reading:
        if self._keep(digest, size):
            while size:
                size -= len((yield size))
            return
        with self._store.blobs.writing(digest, size) as writer:
            while size:
                piece = yield size
                size -= len(piece)
                writer.write(piece)
        if writer.created:
            self._written.add(digest)


@contextmanager
def _said_by_the_archive() -> Iterator[None]:
    """What is wrong with a manifest is wrong with the archive, and not with this store."""
    try:
        yield
    except BadManifest as error:
        raise BadFile(f"the archive cannot be used: {error}") from error


def _name(path: str) -> ModelName:
    top, *parts = path.split("/")
    try:
        if top == _MANIFESTS and len(parts) == 4:
            return ModelName(*parts)
    except InvalidName:
        pass
    raise BadFile(f"the archive begins with {quoted(path)}, which is no manifest's place")


def _digest(path: str) -> Digest:
    try:
        digest = Digest.parse(path.removeprefix(_BLOBS))
    except InvalidDigest:
        digest = None
    if digest is None or path != _BLOBS + digest.file_name:
        raise BadFile(f"the archive holds {quoted(path)}, which is no blob's place")
    return digest


def _zeros() -> _Reading:
    """Nothing but the filling may come after the end."""
    left = _MOST_PADDING
    while True:
        piece = yield max(left, 1)
        left -= len(piece)
        if left < 0 or any(piece):
            raise BadFile("the archive goes on after its end")
