"""Pull: a model from elsewhere: what is missing, in which order, and what is said meanwhile."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Final, NamedTuple, cast

import msgspec

from a3s_power.core import limits
from a3s_power.core import manifest as types
from a3s_power.core.digests import Digest
from a3s_power.core.errors import (
    BadFile,
    BadManifest,
    BlobNotFound,
    Cancelled,
    InUse,
    ModelNotFound,
    PowerError,
    RegistryFailed,
)
from a3s_power.core.events import Progress
from a3s_power.core.manifest import Layer, read_config, write_manifest
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Pull
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.files import RemoteFile
from a3s_power.registry.huggingface import CONFIG
from a3s_power.registry.resolve import ByFiles, ByManifest, Places, resolve
from a3s_power.registry.supply import Supply
from a3s_power.registry.transfer import Wanted, is_there
from a3s_power.store import Store

Report = Callable[[Progress], None]
Assemble = Callable[[ModelName, Mapping[str, str], Report], None]
"""Makes a model of blobs, given as the names their files had elsewhere and their digests; as `create` does."""

Check = Callable[[bytes], str]
"""What is to be told of safetensors by their config.json. Raises BadFile when no model can be made of them."""

_TRIES: Final = 3
"""How often blobs are fetched again that others deleted while the rest was on its way."""

_KEEP_SECONDS: Final = 600.0
_WEIGHTS: Final = (types.MODEL, types.FILE)


def pull(
    request: Pull, supply: Supply, report: Report, cancel: Cancel, assemble: Assemble, *, check: Check | None = None
) -> ModelName:
    """Bring a model here; the name in the spelling it is stored under. Blocks; `report` is called on the way.

    `check` is asked about safetensors before their weights are fetched. The model is there when all of it is. Whatever
    comes in between, what arrived of large blobs stays for a next time, and an older model of the name stays as it was.

    Raises:
        BadRequest: no name and no address, or plain http that was not allowed.
        NotAllowed: an address that may not be called, or any address when offline.
        RegistryFailed: it cannot be had; NeedsConsent when only a search found something; Cancelled.
        StoreFailed: the models folder could not take it.
    """
    report(Progress("pulling manifest"))
    with supply.exchange() as exchange:
        work = _Work(supply, report, cancel)
        try:
            source = resolve(request, Places(supply, exchange, cancel))
        except Cancelled:
            raise
        except (RegistryFailed, BadManifest) as error:
            raise _about_manifest(error) from error
        if isinstance(source, ByManifest):
            return _pull_layers(source, work)
        return _pull_files(source, work, assemble, check)


class _Work(NamedTuple):
    """Where a pull works, and whom it tells."""

    supply: Supply
    report: Report
    cancel: Cancel

    @property
    def store(self) -> Store:
        return self.supply.store


def _about_manifest(error: PowerError) -> PowerError:
    """The same error, its sentence as Ollama begins it."""
    again = type(error).__new__(type(error))
    again.__dict__.update(error.__dict__)
    PowerError.__init__(again, f"pull model manifest: {error}")
    return again


def _pull_layers(source: ByManifest, work: _Work) -> ModelName:
    """The model as its registry has it, its manifest byte for byte."""
    manifest = source.manifest
    before = _blobs_of(source.name, work.store)
    for _ in range(_TRIES):
        _fetch([*manifest.layers, manifest.config], source, work)
        work.report(Progress("verifying sha256 digest"))
        try:
            read_config(work.store.blobs.read(manifest.config.blob, limits.CONFIG_BYTES))
            work.report(Progress("writing manifest"))
            name = work.store.write(source.name, source.content)
        except BlobNotFound:
            # Another model that was deleted meanwhile took one of our blobs along.
            continue
        if any(not work.store.blobs.has(digest) for digest in before - manifest.blobs):
            work.report(Progress("removing unused layers"))
        work.report(Progress("success"))
        return name
    raise BadManifest("layers are removed as fast as they arrive")


def _blobs_of(name: ModelName, store: Store) -> frozenset[Digest]:
    """The blobs that the model of this name has here and now."""
    try:
        blobs = store.manifests.read(name).manifest.blobs
    except (ModelNotFound, BadManifest):
        return frozenset()
    return frozenset(digest for digest in blobs if store.blobs.has(digest))


def _fetch(layers: list[Layer], source: ByManifest, work: _Work) -> None:
    """Have all blobs here, one after the other."""
    store = work.store
    missing = {layer.blob: layer.size for layer in layers if not is_there(store, layer.blob, layer.size)}
    _check_room(missing, store)
    here: list[Digest] = []
    for layer in layers:
        if is_there(store, layer.blob, layer.size):
            store.blobs.keep(layer.blob)
            work.report(_progress(layer.blob, layer.size, layer.size))
        else:
            _fetch_one(Wanted(layer.blob, layer.size, source.blob(layer.blob)), here, work)
        here.append(layer.blob)


def _check_room(missing: Mapping[Digest, int], store: Store) -> None:
    """Raise DiskFull before the first byte when all together would not fit."""
    needed = sum(max(0, size - store.partials.allotted(digest)) for digest, size in missing.items())
    if needed:
        store.blobs.check_room(needed)


def _fetch_one(wanted: Wanted, here: list[Digest], work: _Work) -> Digest:
    """Fetch a blob. Meanwhile those that are `here` already are kept from being taken for forgotten ones."""
    kept = time.monotonic()
    fetching = work.supply.downloads.fetch(wanted, work.cancel)
    with closing(fetching):
        while True:
            try:
                completed = next(fetching)
            except StopIteration as ended:
                return cast(Digest, ended.value)
            work.report(_progress(wanted.digest, wanted.size, completed))
            if time.monotonic() - kept > _KEEP_SECONDS:
                kept = time.monotonic()
                for digest in here:
                    work.store.blobs.keep(digest)


def _progress(digest: Digest, total: int, completed: int) -> Progress:
    return Progress(f"pulling {digest.short}", str(digest), total, completed)


def _pull_files(source: ByFiles, work: _Work, assemble: Assemble, check: Check | None) -> ModelName:
    """A model made of files that lie at plain addresses. Says where they are from, here and in the manifest."""
    store = work.store
    work.report(Progress(f"pulling from {source.origin}"))
    _check_room({file.wanted.digest: file.wanted.size for file in source.files}, store)
    files: dict[str, str] = {}
    fetched: list[Digest] = []
    try:
        for file in source.files:
            fetched.append(_fetch_file(file, fetched, work))
            files[file.name] = str(fetched[-1])
            if file.name == CONFIG and check is not None:
                _tell(check(store.blobs.read(fetched[-1], limits.CONFIG_BYTES)), work)
        work.report(Progress("verifying sha256 digest"))
        assemble(source.name, files, lambda told: None if told.status == "success" else work.report(told))
    except BadFile:
        _drop(fetched, store)
        raise
    name = _with_origin(source, store)
    # The parts of a split model are in one piece now, and safetensors a GGUF, if they can be one.
    _drop(fetched, store)
    work.report(Progress("success"))
    return name


def _tell(note: str, work: _Work) -> None:
    if note:
        work.report(Progress(note))


def _fetch_file(file: RemoteFile, here: list[Digest], work: _Work) -> Digest:
    """Have one file here; the digest of its content."""
    wanted = file.wanted
    if not (wanted.known and is_there(work.store, wanted.digest, wanted.size)):
        return _fetch_one(wanted, here, work)
    work.store.blobs.keep(wanted.digest)
    work.report(_progress(wanted.digest, wanted.size, wanted.size))
    return wanted.digest


def _drop(digests: list[Digest], store: Store) -> None:
    """Remove those of the blobs that no model needs."""
    for digest in digests:
        with suppress(InUse, BlobNotFound):
            store.remove_blob(digest)


def _with_origin(source: ByFiles, store: Store) -> ModelName:
    """Have the model's manifest say where its weights are from."""
    stored = store.manifests.read(source.name)
    layers = tuple(
        msgspec.structs.replace(layer, source=source.origin) if layer.media_type in _WEIGHTS else layer
        for layer in stored.manifest.layers
    )
    return store.write(stored.name, write_manifest(msgspec.structs.replace(stored.manifest, layers=layers)))
