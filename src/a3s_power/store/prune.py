"""What nothing refers to: removed at start when it is old, and at once when the last model that used it goes."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from a3s_power.core.digests import Digest
from a3s_power.core.errors import InvalidDigest
from a3s_power.log import get_logger
from a3s_power.store.blobs import Blobs
from a3s_power.store.files import refusals
from a3s_power.store.layout import Layout
from a3s_power.store.manifests import Manifests

log = get_logger(__name__)

YOUNG_SECONDS: Final = 3600.0
"""What was touched so lately may belong to a pull or create that is still going on, here or in another process."""

PARTIAL: Final = "-partial"
"""In the names of a download's files, behind the blob's."""

_OLD_PREFIX: Final = "sha256:"
_BLOCK_BYTES: Final = 512
"""What `st_blocks` counts in, on every system that has it."""


def drop(blobs: Blobs, manifests: Manifests, candidates: Iterable[Digest]) -> None:
    """Remove those of the blobs that no manifest mentions, whatever their age. Raises StoreFailed."""
    scan = manifests.scan()
    if not scan.whole:
        log.warning("unused layers are kept: the models folder cannot be read in full")
        return
    for digest in candidates:
        if digest not in scan.mentioned:
            blobs.remove(digest)


class Unused(NamedTuple):
    """A file that nothing needs: its path, the bytes it takes on the disk, and whether it is of a download."""

    path: Path
    size: int
    partial: bool


def sweep(layout: Layout, manifests: Manifests, now: float) -> int:
    """Remove what is older than an hour at `now` (seconds since 1970) and is no blob of any manifest; how many files.

    With a manifest that cannot be read nothing is removed: nobody knows what it stands for. Raises StoreFailed.
    """
    found = unused(layout, manifests, now)
    remove(found)
    manifests.remove_empty_folders()
    return len(found)


def unused(layout: Layout, manifests: Manifests, now: float, age: float = YOUNG_SECONDS) -> list[Unused]:
    """What is older than `age` seconds and is no blob of any manifest; nothing when a manifest cannot be read.

    Raises StoreFailed.
    """
    scan = manifests.scan()
    if scan.corrupt or not scan.whole:
        log.warning("corrupt manifests detected, skipping prune operation.  Re-pull or delete to clear")
        return []
    with refusals():
        references = _old_files(layout.references, now, age)
        young = {path.name for path in layout.references.glob("*")} - {path.name for path in references}
        blobs = [path for path in (*_old_files(layout.blobs, now, age), *references) if path.name not in young]
        blobs = [path for path in blobs if _digest(path.name) not in scan.mentioned]
        return [_unused(path) for path in (*blobs, *_old_files(layout.manifests, now, age))]


def remove(files: Iterable[Unused]) -> None:
    """Remove them; one that is gone already is no error. Raises StoreFailed."""
    with refusals():
        for file in files:
            file.path.unlink(missing_ok=True)


def _unused(path: Path) -> Unused:
    status = path.lstat()
    taken = min(status.st_size, getattr(status, "st_blocks", status.st_size) * _BLOCK_BYTES)
    return Unused(path, taken, PARTIAL in path.name)


def _old_files(folder: Path, now: float, age: float) -> list[Path]:
    """Files of the folder itself that are that old; parts of one download are as young as the youngest of them."""
    touched: dict[str, float] = {}
    files: list[tuple[Path, str]] = []
    if folder.is_dir():
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    family = entry.name.partition(PARTIAL)[0]
                    changed = entry.stat(follow_symlinks=False).st_mtime
                    touched[family] = max(touched.get(family, changed), changed)
                    files.append((Path(entry.path), family))
    return [path for path, family in files if now - touched[family] > age]


def _digest(file_name: str) -> Digest | None:
    try:
        return Digest.parse(file_name)
    except InvalidDigest:
        return None


def rename_old(layout: Layout) -> None:
    """Give blobs of stores from before 2024, called `sha256:…`, the name they have now. Raises StoreFailed."""
    with refusals():
        for top, _, names in os.walk(layout.blobs):
            for name in names:
                if name.startswith(_OLD_PREFIX):
                    old = Path(top, name)
                    new = old.with_name(name.replace(":", "-", 1))
                    if not new.exists():
                        old.replace(new)
