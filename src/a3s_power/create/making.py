"""Making: what a build works with, and what it has written so far, which goes again if the build fails."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, Self

from a3s_power.core.digests import Digest
from a3s_power.core.errors import PowerError
from a3s_power.core.events import Progress
from a3s_power.core.manifest import Layer
from a3s_power.create.child import Children
from a3s_power.store import Store

Report = Callable[[Progress], None]

_NO_DIGEST: Final = "0000000000000000000"
"""What Ollama sends for a layer whose digest is not known yet."""

_STEPS: Final = 200
"""How often long work is told of, at most."""


class Making:
    """One model being made: the store it goes into, whom to tell, and the processes that may work for it."""

    def __init__(self, store: Store, report: Report, children: Children) -> None:
        self.store = store
        self.report = report
        self.children = children
        self._written: set[Digest] = set()
        self._told: set[Digest] = set()

    @classmethod
    @contextmanager
    def begun(cls, store: Store, report: Report, children: Children) -> Iterator[Self]:
        """A making; if it fails inside, no layer stays that it wrote and nothing else refers to."""
        making = cls(store, report, children)
        try:
            yield making
        except BaseException:
            for digest in making._written:
                # In use: another model was made meanwhile that has the same layer.
                with suppress(PowerError):
                    store.remove_blob(digest)
            raise

    def put(self, media_type: str, content: bytes | Iterable[bytes], *, size: int | None = None) -> Layer:
        """Store content as a layer. Raises DiskFull when `size` bytes do not fit."""
        digest, new = self.store.blobs.put(content, size=size)
        if new:
            self._written.add(digest)
        return Layer(media_type=media_type, digest=str(digest), size=self.store.blobs.size(digest))

    def leave(self, wanted: Collection[Digest]) -> None:
        """Remove what was written on the way and is none of those: what was merged or converted, and then quantised."""
        for digest in self._written.difference(wanted):
            with suppress(PowerError):
                self.store.remove_blob(digest)

    def announce(self, layer: Layer) -> None:
        """Tell of a layer of the model: that it is new, which is said once, or that it was there."""
        new = layer.blob in self._written - self._told
        self._told.add(layer.blob)
        self.report(Progress(f"{'creating new' if new else 'using existing'} layer {layer.digest}"))

    def told(self, status: str, total: int, pieces: Iterable[bytes], expected: int) -> Iterator[bytes]:
        """The pieces, told of as they pass: of `expected` bytes they make, as much as was done of `total`.

        Raises EngineFailed when nobody waits any more.
        """
        done, told = 0, -1
        for piece in pieces:
            self.children.check()
            done += len(piece)
            step = done * _STEPS // max(expected, 1)
            if step > told:
                told = step
                self.report(Progress(status, _NO_DIGEST, total, min(total * done // max(expected, 1), total)))
            yield piece
