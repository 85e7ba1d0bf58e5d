"""Prefixes: prompts that outlive their child: on disk, a folder for each way in which a model was loaded.

What is kept is read back only into the same weights, loaded the same way by the same engine. All clients of this
machine share it, as they share the slots of a model in memory.
"""

import functools
import hashlib
import shutil
from pathlib import Path
from typing import Final

import anyio
import msgspec

from a3s_power.aio import in_thread
from a3s_power.core.errors import PowerError
from a3s_power.engines.builds import build
from a3s_power.engines.engine import LoadOptions
from a3s_power.log import get_logger
from a3s_power.runner.runner import Runner
from a3s_power.scheduler.need import Need

log = get_logger(__name__)

_SECONDS: Final = 10.0
"""How long writing them may hold up the end of a child."""
_OURS_ALONE: Final = 0o700


class Prefixes:
    """The folder that holds them, of `limit` bytes at most; without a folder or with a limit of 0 nothing is kept."""

    def __init__(self, folder: Path | None = None, limit: int = 0) -> None:
        self._folder = folder if limit > 0 else None
        self._limit = limit

    def place(self, need: Need, options: LoadOptions) -> str:
        """The folder for a load, made where it is missing; empty for one that keeps nothing.

        A load with a draft model keeps nothing: the draft's own memory would not be in the files.
        """
        if self._folder is None or need.embedding or options.draft == "model":
            return ""
        folder = self._folder / _key(need, options)
        try:
            self._folder.mkdir(mode=_OURS_ALONE, parents=True, exist_ok=True)
            self._folder.chmod(_OURS_ALONE)
            folder.mkdir(mode=_OURS_ALONE, exist_ok=True)
            # The one that was used last goes last.
            folder.touch()
        except OSError as error:
            log.warning("prompts cannot be kept on disk", folder=self._folder, error=error)
            return ""
        return str(folder)

    async def keep(self, runner: Runner, folder: str) -> None:
        """Write what a child's slots hold before it ends. Takes a few seconds at most; what is left then is lost."""
        if self._folder is None or not folder or runner.poisoned:
            return
        with anyio.move_on_after(_SECONDS) as waiting:
            try:
                # Somebody may have removed it since the load.
                await in_thread(functools.partial(Path(folder).mkdir, mode=_OURS_ALONE, parents=True, exist_ok=True))
                tokens = await runner.keep_prompts(self._limit)
            except (OSError, PowerError) as error:
                log.warning("prompts were not kept", pid=runner.pid, error=error)
            else:
                log.debug("prompts kept on disk", pid=runner.pid, tokens=tokens)
        if waiting.cancelled_caught:
            log.warning("prompts were not kept: writing them took too long", pid=runner.pid, seconds=_SECONDS)
        try:
            await in_thread(self.tidy)
        except OSError as error:
            log.warning("kept prompts cannot be looked through", folder=self._folder, error=error)

    def tidy(self) -> None:
        """Remove the folders that were used longest ago until the others are within the limit. Raises OSError."""
        if self._folder is None:
            return
        held = 0
        for used, folder in sorted(((each.stat().st_mtime, each) for each in self._folder.iterdir()), reverse=True):
            held += _size(folder)
            if held > self._limit:
                log.debug("kept prompts removed", folder=folder, used=used)
                shutil.rmtree(folder, ignore_errors=True)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _key(need: Need, options: LoadOptions) -> str:
    """What a kept prompt depends on, as a name: files, by theirs, which hold their digests, and how they are loaded."""
    files = need.model.files
    parts = (
        need.model.weights.hex,
        [Path(path).name for path in files.projectors],
        [(Path(path).name, scale) for path, scale in files.adapters],
        need.engine,
        build(need.engine, options.program),
        (options.context_length, options.parallel, options.kv_cache_type, options.gpu_layers),
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]
