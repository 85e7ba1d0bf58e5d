"""This machine's models folder, for the commands that look at the disk itself and not at a server."""

import time
from collections.abc import Iterable
from typing import Any

from a3s_power import config, paths
from a3s_power.store import Store
from a3s_power.store.disk import disk
from a3s_power.store.prune import PARTIAL, Unused


def models_folder() -> Store:
    """The store that a server of this machine and these settings uses."""
    settings = config.load(paths.config_file()).config
    return Store(paths.places(data_dir=settings.data_dir, models=settings.models).models, keep_unused=True)


def kept_prompts() -> list[Unused]:
    """The files of prompts that outlived their model in memory; a server goes on without them."""
    folder = paths.places(data_dir=config.load(paths.config_file()).config.data_dir).prompts
    files = sorted(file for file in folder.glob("*/*") if file.is_file())
    return [Unused(file, file.stat().st_size, partial=False) for file in files]


def unfinished(store: Store) -> list[dict[str, Any]]:
    """The downloads that were begun: of each the first digits of its digest, and the bytes that are there."""
    return [{"digest": name, "size": size} for name, size in downloads(disk(store, time.time()).partials)]


def downloads(partials: Iterable[Unused]) -> list[tuple[str, int]]:
    """The files of unfinished downloads, joined by what they belong to: first digits, and bytes."""
    sizes: dict[str, int] = {}
    for file in partials:
        digest = file.path.name.partition(PARTIAL)[0].removeprefix("sha256-")[:12]
        sizes[digest] = sizes.get(digest, 0) + file.size
    return sorted(sizes.items())
