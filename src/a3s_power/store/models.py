"""Models: a model by its name, read in full, and the list of all."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import msgspec

from a3s_power.core import limits
from a3s_power.core import manifest as types
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadManifest, BlobNotFound, ModelNotFound
from a3s_power.core.manifest import ConfigBlob, Layer, read_config
from a3s_power.core.model import Facts, Listing, Model, ModelFiles
from a3s_power.core.names import ModelName
from a3s_power.gguf.facts import facts
from a3s_power.gguf.reader import read_header
from a3s_power.log import get_logger
from a3s_power.prompt.capabilities import capabilities
from a3s_power.store import layers
from a3s_power.store.blobs import Blobs
from a3s_power.store.files import refusals
from a3s_power.store.glances import Glances
from a3s_power.store.manifests import Manifests, Stored

log = get_logger(__name__)

_KEPT: Final = 128
"""Models that are remembered; one is a few kilobytes, its license and chat template mostly."""

_EMBED: Final = "application/vnd.ollama.image.embed"


class Models:
    """The store's models. `install` is asked for a model that is not there, and says whether it is now.

    A model is remembered under its manifest's digest: blobs never change, so only its name and time are looked at anew.
    """

    def __init__(
        self,
        blobs: Blobs,
        manifests: Manifests,
        glances: Glances,
        install: Callable[[ModelName], bool],
        *,
        prefer_go: bool | None = None,
    ) -> None:
        self._blobs = blobs
        self._manifests = manifests
        self._glances = glances
        self._install = install
        self._prefer_go = prefer_go
        self._read: OrderedDict[Digest, Model] = OrderedDict()
        self._mutex = threading.Lock()

    def list(self) -> list[Listing]:
        """All models, newest first; what cannot be read is told to the log and left out."""
        listings = [listing for stored in self._manifests.scan().stored if (listing := self._listing(stored))]
        return sorted(listings, key=lambda listing: (-int(listing.modified.timestamp()), listing.name))

    def read(self, name: ModelName) -> Model:
        """The model of this name, in whatever case it is written.

        One of tensors, or one that runs elsewhere, has no path of weights; its own digest stands for theirs.

        Raises:
            ModelNotFound: no such model, or one whose blobs are not all there.
            BadManifest: its manifest or a small layer cannot be read.
            BadFile: its weights are no file that an engine may be given.
        """
        try:
            return self._model(self._manifests.read(name))
        except (ModelNotFound, BlobNotFound) as error:
            if isinstance(error, BlobNotFound):
                log.warning("model is not whole", model=name, error=error)
            if not self._install(name):
                raise ModelNotFound(name.short) from error
        return self._model(self._manifests.read(name))

    def known(self, name: ModelName) -> Model | None:
        """The same of a model that is remembered as it still is, under the name as it is stored; `None` otherwise.

        Reads one small file at most, which takes less than to have a thread do it. For one thread.

        Raises:
            BadManifest: its manifest cannot be read.
            BlobNotFound: a blob of it is gone.
        """
        if (model := self._glances.model(name)) is not None:
            return model
        manifest = self._glances.manifest(name)
        stored = self._manifests.exact(name)
        model = None if stored is None else self._remembered(stored)
        if model is not None:
            self._glances.keep(model, manifest)
        return model

    def _model(self, stored: Stored) -> Model:
        model = self._remembered(stored)
        if model is not None:
            return model
        model = self._load(stored)
        with self._mutex:
            self._read[stored.digest] = model
            if len(self._read) > _KEPT:
                self._read.popitem(last=False)
        return model

    def _remembered(self, stored: Stored) -> Model | None:
        with self._mutex:
            model = self._read.get(stored.digest)
            if model is not None:
                self._read.move_to_end(stored.digest)
        # Looked for each time: they may be gone, and files that blobs refer to may have changed or moved.
        if model is None or model.files != self._files(stored):
            return None
        if (model.name, model.modified) == (stored.name, stored.modified):
            return model
        return msgspec.structs.replace(model, name=stored.name, modified=stored.modified)

    def _load(self, stored: Stored) -> Model:
        manifest, config = stored.manifest, self._config(stored)
        weights = manifest.of_type(types.MODEL)
        files = self._files(stored)
        said = _facts(files.weights) if weights else _facts_of(config)
        template = self._last_text(stored, types.TEMPLATE, types.PROMPT, most=limits.TEMPLATE_BYTES)
        if manifest.of_type(_EMBED):
            log.warning("deprecated embed layer ignored", model=stored.name)
        return Model(
            name=stored.name,
            digest=stored.digest,
            modified=stored.modified,
            manifest=manifest,
            config=config,
            weights=weights[-1].blob if weights else stored.digest,
            files=files,
            facts=said,
            template=template,
            system=self._last_text(stored, types.SYSTEM),
            licenses=tuple(layers.read_text(content) for content in self._contents(stored, types.LICENSE)),
            parameters=self._parameters(stored),
            messages=layers.read_messages(next(reversed(self._contents(stored, types.MESSAGES)), b"[]")),
            capabilities=capabilities(said, config, template, self._projector(files), prefer_go=self._prefer_go),
        )

    def _listing(self, stored: Stored) -> Listing | None:
        try:
            config = self._config(stored)
        except (BlobNotFound, BadManifest) as error:
            log.warning("model left out of the list", model=stored.name, error=error)
            return None
        weights = stored.manifest.of_type(types.MODEL, types.FILE)
        return Listing(
            name=stored.name,
            digest=stored.digest,
            size=stored.manifest.size,
            modified=stored.modified,
            config=config,
            parent=weights[-1].source if weights else "",
        )

    def _config(self, stored: Stored) -> ConfigBlob:
        return read_config(self._blobs.read(stored.manifest.config.blob, limits.CONFIG_BYTES))

    def _files(self, stored: Stored) -> ModelFiles:
        """Where the engine finds its files; all of them are there. Raises BlobNotFound."""
        manifest = stored.manifest
        return ModelFiles(
            weights=next((self._path(layer) for layer in reversed(manifest.of_type(types.MODEL))), ""),
            projectors=tuple(self._path(layer) for layer in manifest.of_type(types.PROJECTOR)),
            adapters=tuple((self._path(layer), 1.0) for layer in manifest.of_type(types.ADAPTER)),
            draft=next((self._path(layer) for layer in reversed(manifest.of_type(types.DRAFT))), ""),
        )

    def _path(self, layer: Layer) -> str:
        return str(self._blobs.find(layer.blob))

    def _projector(self, files: ModelFiles) -> Facts | None:
        """What the projectors can do: the first of them, or the first that hears."""
        said = [_facts(path) for path in files.projectors]
        return next((one for one in said if one.audio), said[0] if said else None)

    def _contents(self, stored: Stored, *media_types: str, most: int = limits.SMALL_LAYER_BYTES) -> tuple[bytes, ...]:
        return tuple(self._blobs.read(layer.blob, most) for layer in stored.manifest.of_type(*media_types))

    def _last_text(self, stored: Stored, *media_types: str, most: int = limits.SMALL_LAYER_BYTES) -> str:
        return layers.read_text(next(reversed(self._contents(stored, *media_types, most=most)), b""))

    def _parameters(self, stored: Stored) -> dict[str, Any]:
        parameters: dict[str, Any] = {}
        for content in self._contents(stored, types.PARAMS):
            parameters |= layers.read_parameters(content)
        return parameters


def _facts(path: str) -> Facts:
    with refusals():
        return facts(read_header(path))


def _facts_of(config: ConfigBlob) -> Facts:
    """What is known of a model that has no GGUF: one of tensors, or one that runs elsewhere."""
    return Facts(
        architecture=config.model_family,
        context_length=config.context_length,
        embedding_length=config.embedding_length,
    )
