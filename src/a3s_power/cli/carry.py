"""Carry: a model from one server of ours to another, blob by blob, so that what is there already is not sent."""

import io
import sys
import tarfile
import time
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlencode

from a3s_power.cli.client import Client, Refused, Unreachable
from a3s_power.cli.files import watched
from a3s_power.cli.progress import Progress
from a3s_power.cli.pull import label
from a3s_power.core import limits
from a3s_power.core.addresses import Address, read_address
from a3s_power.core.errors import PowerError
from a3s_power.core.manifest import Layer, Manifest, read_manifest
from a3s_power.core.names import ModelName

_ARCHIVE_BYTES: Final = 2 * limits.MIB
_NOT_FOUND: Final = 404
_PAUSES: Final = (0, 1, 2, 4, 8)
"""Seconds to wait before a transfer that broke is gone on with: again and again, until nothing more comes."""


def other_server(text: str) -> Client:
    """The server at an address, which is told nothing about us. An unusable port is told and left out."""
    said = read_address(text)
    if said.problem:
        print(f"Warning: {said.problem}", file=sys.stderr)
    address = said.over(Address()).connectable
    return Client(address, nobody=f"could not connect to {address.url}: nobody listens there")


def carry(other: Client, client: Client, model: str, progress: Progress) -> None:
    """Bring a model from the other server to the client's.

    Raises:
        InvalidName: it is no model's name.
        Refused, Unreachable: what one of the servers said, or that it did not.
        PowerError: what the other server gave is no manifest of this model.
    """
    name = ModelName.parse(model)
    progress.status("pulling manifest")
    archive = _manifest_archive(other, name)
    for layer in {layer.digest: layer for layer in _layers(archive, name)}.values():
        _carry_blob(other, client, layer, progress)
    progress.status("writing manifest")
    watched(client.upload("/api/import", [archive], len(archive)), lambda _: None)
    progress.status("success")


def _manifest_archive(other: Client, name: ModelName) -> bytes:
    """The model's archive without its blobs."""
    query = urlencode({"model": name.short, "blobs": "false"})
    try:
        with other.download(f"/api/export?{query}") as (size, pieces):
            if size > _ARCHIVE_BYTES:
                raise PowerError(f"the server at {other.address.url} gave an archive that is too large")
            return b"".join(pieces)
    except Refused as error:
        if error.code == _NOT_FOUND and not error.fields:
            raise PowerError(f"the server at {other.address.url} cannot give models away: is it A3S Power?") from error
        raise


def _layers(archive: bytes, name: ModelName) -> tuple[Layer, ...]:
    """All layers of the model, the config last. Raises PowerError for an archive of another model, or of none."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            first = tar.next()
            content = tar.extractfile(first) if first else None
            place, manifest = (first.name, content.read()) if first and content else ("", b"")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise PowerError(f"the archive cannot be read: {error}") from error
    if place.lower() != "/".join(("manifests", *name.folded.parts)):
        raise PowerError(f"the other server gave another model than {name.short}")
    found: Manifest = read_manifest(manifest)
    return (*found.layers, found.config)


def _carry_blob(other: Client, client: Client, layer: Layer, progress: Progress) -> None:
    bar = progress.bar(label(layer.digest), layer.size)
    if not client.has_blob(str(layer.blob)):
        watched(client.upload(f"/api/blobs/{layer.blob}", _content(other, layer), layer.size), bar.set)
    bar.set(layer.size)


def _content(other: Client, layer: Layer) -> Iterator[bytes]:
    """A blob as it comes; where the connection breaks, another one brings the rest."""
    here, pauses = 0, iter(_PAUSES)
    while here < layer.size:
        before = here
        try:
            with other.download(f"/api/blobs/{layer.blob}", behind=here) as (size, pieces):
                if here + size != layer.size:
                    raise PowerError(f"blob {layer.digest} has {here + size} bytes there and should have {layer.size}")
                for piece in pieces:
                    here += len(piece)
                    yield piece
        except Unreachable:
            pauses = iter(_PAUSES) if here > before else pauses
            pause = next(pauses, None)
            if pause is None:
                raise
            time.sleep(pause)
