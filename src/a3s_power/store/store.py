"""Store: blobs, manifests and models of one folder, and the changes that need several of them to agree."""

from collections.abc import Callable, Collection
from pathlib import Path

from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadManifest, BlobNotFound, InUse, ModelNotFound, StoreFailed
from a3s_power.core.manifest import read_manifest, write_manifest
from a3s_power.core.names import ModelName
from a3s_power.log import get_logger
from a3s_power.store import bundled, prune
from a3s_power.store.blobs import Blobs
from a3s_power.store.files import refusals
from a3s_power.store.glances import Glances
from a3s_power.store.layout import Layout
from a3s_power.store.lock import StoreLock
from a3s_power.store.manifests import Manifests
from a3s_power.store.models import Models
from a3s_power.store.partials import Partials

log = get_logger(__name__)


class Store:
    """A models folder, which other processes may use at the same time.

    A manifest is written after its blobs and removed before them, both under one lock, so a model that is there is
    whole. `keep_unused` leaves blobs that nothing refers to any more, except where a model is deleted. `prefer_go` is
    what `prompt.capabilities.way` takes. `changed` is told, on the thread that did it, of each name that was made to
    stand for something else, and the blobs it stands for now.
    """

    def __init__(
        self,
        root: Path,
        *,
        keep_unused: bool = False,
        prefer_go: bool | None = None,
        changed: Callable[[ModelName, Collection[Digest]], None] = lambda *_: None,
    ) -> None:
        self._layout = Layout(root)
        self._lock = StoreLock(self._layout.lock)
        self._keep_unused = keep_unused
        self._changed = changed
        self.blobs = Blobs(self._layout, self._lock)
        self.partials = Partials(self._layout, self._lock)
        self.manifests = Manifests(self._layout)
        self.models = Models(self.blobs, self.manifests, Glances(self._layout), self._install, prefer_go=prefer_go)

    @property
    def root(self) -> Path:
        """The folder."""
        return self._layout.root

    def start(self, now: float) -> None:
        """Bring an old store up to date and remove what is left over from before; `now` in seconds since 1970."""
        if not self.root.is_dir():
            return
        try:
            with refusals(), self._lock.held():
                prune.rename_old(self._layout)
                removed = 0 if self._keep_unused else prune.sweep(self._layout, self.manifests, now)
        except StoreFailed as error:
            log.warning("models folder was not cleaned up", error=error)
        else:
            log.info("models folder ready", removed=removed)

    def write(self, name: ModelName, content: bytes) -> ModelName:
        """Make `name` stand for a manifest, given as its file's bytes; the name in the spelling it was written under.

        Blobs that only its old manifest used are removed.

        Raises:
            BadManifest: the bytes are no manifest.
            BlobNotFound: one of its blobs is not there, or not any more.
        """
        wanted = read_manifest(content).blobs
        with refusals(), self._lock.held():
            name = self.manifests.spelled(name)
            for digest in wanted:
                if not self.blobs.has(digest):
                    raise BlobNotFound(digest)
            before = self._blobs_of(name)
            self.manifests.write(name, content)
            if before - wanted and not self._keep_unused:
                prune.drop(self.blobs, self.manifests, before - wanted)
        if before != wanted:
            self._changed(name, wanted)
        return name

    def copy(self, source: ModelName, destination: ModelName) -> None:
        """A second name for a model; onto itself is nothing. Raises ModelNotFound."""
        with refusals(), self._lock.held():
            if self.manifests.find(source) is None:
                self._install(source)
            stored = self.manifests.read(source)
            if self.manifests.spelled(destination) != stored.name:
                self.write(destination, stored.content)

    def delete(self, name: ModelName) -> None:
        """Remove a model and the blobs that only it used. Raises ModelNotFound."""
        with refusals(), self._lock.held():
            found = self.manifests.find(name)
            if found is None:
                raise ModelNotFound(name.short)
            blobs = self._blobs_of(found)
            self.manifests.remove(found)
            prune.drop(self.blobs, self.manifests, blobs)
        self._changed(found, frozenset())

    def remove_blob(self, digest: Digest) -> None:
        """Remove a blob that no model refers to. Raises BlobNotFound, and InUse when one does."""
        with refusals(), self._lock.held():
            if not self.blobs.has(digest):
                raise BlobNotFound(digest)
            scan = self.manifests.scan()
            if digest in scan.mentioned or not scan.whole:
                raise InUse(f'blob "{digest}" is in use')
            self.blobs.remove(digest)

    def unused(self, now: float, age: float, *, partials: bool) -> list[prune.Unused]:
        """Files older than `age` seconds at `now` that no model needs; of unfinished downloads only with `partials`.

        None when a manifest cannot be read: nobody knows what it stands for. Raises StoreFailed.
        """
        with refusals(), self._lock.held():
            return [
                file for file in prune.unused(self._layout, self.manifests, now, age) if partials or not file.partial
            ]

    def remove_unused(self, now: float, age: float, *, partials: bool) -> list[prune.Unused]:
        """Remove what `unused` finds; what that was. Raises StoreFailed."""
        with refusals(), self._lock.held():
            found = self.unused(now, age, partials=partials)
            prune.remove(found)
        return found

    def _blobs_of(self, name: ModelName) -> frozenset[Digest]:
        """The blobs of the model that has the name now; of none, or of one that cannot be read, no blobs."""
        try:
            return self.manifests.read(name).manifest.blobs
        except (ModelNotFound, BadManifest):
            return frozenset()

    def _install(self, name: ModelName) -> bool:
        """Whether `name` means the bundled model and that one is there now, whole. What a user gave the name stays."""
        if not bundled.is_bundled(name):
            return False
        with refusals(), self._lock.held():
            content = write_manifest(bundled.put_blobs(self.blobs))
            if self.manifests.find(bundled.NAME) is None:
                self.write(bundled.NAME, content)
            return self.manifests.read(bundled.NAME).content == content
