"""Files into the server's models folder where this command may write it itself: shared, copied or linked, never sent.

Only a folder that the server proves to be its own is written: it is asked for a blob that nobody else can know of. So
no path is ever in a request, and there is nothing for a stranger or a web page to ask for.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Final

from a3s_power import config, paths
from a3s_power.cli.client import Client, pieces_of
from a3s_power.cli.files import digests, opened
from a3s_power.cli.progress import Progress
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadRequest, StoreFailed
from a3s_power.store import Store
from a3s_power.store.blobs import Blobs, BlobWriter

_HOW: Final = {"hard": "hard link", "reference": "reference: it must stay where it is"}

_MARK_BYTES: Final = 32


def shared_blobs(client: Client) -> Blobs | None:
    """The blobs of the client's server, where it is on this machine and uses the models folder of these settings."""
    if not client.address.loopback:
        return None
    settings = config.load(paths.config_file()).config
    root = paths.places(data_dir=settings.data_dir, models=settings.models).models
    new, blobs = not root.exists(), Store(root).blobs
    try:
        mark, _ = blobs.put(secrets.token_bytes(_MARK_BYTES))
    except StoreFailed:
        return None  # another user's, as a rule: then the server takes the files
    shared = False
    try:
        shared = client.has_blob(str(mark))
    finally:
        blobs.remove(mark)
        if new and not shared:
            _forget(root)
    return blobs if shared else None


def _forget(root: Path) -> None:
    """Take away a folder that was made for nothing, unless somebody has put something into it."""
    with contextlib.suppress(OSError):
        (root / "blobs").rmdir()
        (root / ".lock").unlink()
        root.rmdir()


def placed(blobs: Blobs, files: Mapping[str, Path], progress: Progress) -> dict[str, str]:
    """The digest of each file, once it is a blob: by sharing its blocks where the file system can, else by a copy.

    Raises:
        BadFile: one cannot be read; DigestMismatch: one was changed meanwhile; DiskFull.
    """
    found: dict[str, str] = {}
    for name, path in files.items():
        file, _ = opened(path)
        with file:
            digest = blobs.clone(file)
        if digest is None:
            break
        found[name] = str(digest)
        progress.status(f"sharing the blocks of {path} (reflink) as {digest}")
    rest = digests({name: path for name, path in files.items() if name not in found})
    for name, text in rest.items():
        _copy(blobs, files[name], Digest.parse(text), progress)
    return found | rest


def _copy(blobs: Blobs, path: Path, digest: Digest, progress: Progress) -> None:
    if blobs.keep(digest):
        progress.status(f"using the file that is there as {digest}")
        return
    file, size = opened(path)
    with file, blobs.writing(digest, size) as writer:
        progress.percent(f"copying file {digest} on this machine", _written(file, size, writer))


def _written(file: BufferedReader, size: int, writer: BlobWriter) -> Iterator[float]:
    done = 0
    for piece in pieces_of(file):
        writer.write(piece)
        done += len(piece)
        yield min(done / size, 1.0)


def linked(client: Client, blobs: Blobs, files: Mapping[str, Path], link: str, progress: Progress) -> dict[str, str]:
    """The digest of each file, used where it lies: by a hard link, or a reference. Raises BadRequest and BadFile."""
    found = {}
    for name, path in files.items():
        real = path.resolve()
        try:
            digest, done = blobs.link(real, hard=link == "hard")
        except OSError as error:
            raise BadRequest(f"{path} cannot be used without a copy: {os.strerror(error.errno or 0)}") from error
        if done and not client.has_blob(str(digest)):
            blobs.remove(digest)
            raise BadRequest(f"{path} cannot be used without a copy: the server may not read it as another user")
        found[name] = str(digest)
        how = f"using {real} without a copy ({_HOW[link]})" if done else "using the file that is there"
        progress.status(f"{how} as {digest}")
    return found
