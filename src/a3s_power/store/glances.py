"""Glances: models that were read of late, and how their files lay: one look at each file tells that nothing changed."""

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from a3s_power.core.model import Model
from a3s_power.core.names import ModelName
from a3s_power.store.layout import Layout

_KEPT: Final = 128
_YOUNG_NS: Final = 2 * 10**9
"""A file that was changed so short ago may change once more within one tick of its file system's clock."""

_Mark = tuple[int, int, int, int, int]


class _Glance(NamedTuple):
    model: Model
    marks: tuple[tuple[str | Path, _Mark | None], ...]


class Glances:
    """Models by the names they are stored under. For one thread.

    A models folder belongs to other programs, too, so nothing here is believed without a look: at the manifest, at the
    folder of references, and at each file that an engine would open.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen: dict[ModelName, _Glance] = {}

    def model(self, name: ModelName) -> Model | None:
        """The model of this name if all its files lie as they did; `None` when it has to be read."""
        glance = self._seen.get(name)
        if glance is None:
            return None
        if all(_mark(path) == mark for path, mark in glance.marks):
            return glance.model
        del self._seen[name]
        return None

    def manifest(self, name: ModelName) -> _Mark | None:
        """How the manifest of this name lies now; to be asked for before it is read."""
        return _mark(self._layout.manifest(name))

    def keep(self, model: Model, manifest: _Mark | None) -> None:
        """Remember a model whose manifest lay like this before it was read, unless its files are others' to change."""
        files = _files(model)
        if any(file.parent != self._layout.blobs for file in files):
            return
        looked = ((path, _mark(path)) for path in (self._layout.references, *files))
        marks = ((self._layout.manifest(model.name), manifest), *looked)
        if any(_is_young(mark) for _, mark in marks):
            return
        self._seen[model.name] = _Glance(model, marks)
        if len(self._seen) > _KEPT:
            del self._seen[next(iter(self._seen))]


def _files(model: Model) -> list[Path]:
    files = model.files
    paths = (files.weights, files.draft, *files.projectors, *(path for path, _ in files.adapters))
    return [Path(path) for path in paths if path]


def _mark(path: str | Path) -> _Mark | None:
    """What tells a file from another one and from itself after a change; `None` where there is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _is_young(mark: _Mark | None) -> bool:
    return mark is not None and time.time_ns() - max(mark[3:]) < _YOUNG_NS
