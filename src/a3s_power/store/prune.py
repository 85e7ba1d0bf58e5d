"""What nothing refers to: removed at start when it is old, and at once when the last model that used it goes."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

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

_OLD_PREFIX: Final = "sha256:"


def drop(blobs: Blobs, manifests: Manifests, candidates: Iterable[Digest]) -> None:
    """Remove those of the blobs that no manifest mentions, whatever their age. Raises StoreFailed."""
    scan = manifests.scan()
    if not scan.whole:
        log.warning("unused layers are kept: the models folder cannot be read in full")
        return
    for digest in candidates:
        if digest not in scan.mentioned:
            blobs.remove(digest)


def sweep(layout: Layout, manifests: Manifests, now: float) -> int:
    """Remove what is older than an hour at `now` (seconds since 1970) and is no blob of any manifest; how many files.

    With a manifest that cannot be read nothing is removed: nobody knows what it stands for. Raises StoreFailed.
    """
    scan = manifests.scan()
    if scan.corrupt or not scan.whole:
        log.warning("corrupt manifests detected, skipping prune operation.  Re-pull or delete to clear")
        return 0
    with refusals():
        unused = [path for path in _old_files(layout.blobs, now) if _digest(path.name) not in scan.mentioned]
        unused += _old_files(layout.manifests, now)
        for path in unused:
            path.unlink(missing_ok=True)
    manifests.remove_empty_folders()
    return len(unused)


def _old_files(folder: Path, now: float) -> list[Path]:
    """Files of the folder itself that are not young; parts of one download are as young as the youngest of them."""
    touched: dict[str, float] = {}
    files: list[tuple[Path, str]] = []
    if folder.is_dir():
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    family = entry.name.partition("-partial")[0]
                    changed = entry.stat(follow_symlinks=False).st_mtime
                    touched[family] = max(touched.get(family, changed), changed)
                    files.append((Path(entry.path), family))
    return [path for path, family in files if now - touched[family] > YOUNG_SECONDS]


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
