"""Resolve: where a model comes from: an address, a registry, the list of known names, a search; asked in this order."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from a3s_power.core.digests import Digest
from a3s_power.core.errors import (
    BadRequest,
    InvalidName,
    NeedsConsent,
    NotSupported,
    NotThere,
    Refused,
    RegistryFailed,
    Unreachable,
)
from a3s_power.core.manifest import Manifest
from a3s_power.core.names import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, ModelName
from a3s_power.core.requests import Pull
from a3s_power.log import get_logger
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.exchange import Exchange
from a3s_power.registry.files import RemoteFile, file_name, look, shard_stem, shards
from a3s_power.registry.huggingface import Hub, choose, safetensors, tag_of
from a3s_power.registry.manifests import sound
from a3s_power.registry.parts import Source
from a3s_power.registry.sources import Named, read_source
from a3s_power.registry.supply import HUB_HOSTS, Supply
from a3s_power.registry.urls import Url

if TYPE_CHECKING:
    from a3s_power.registry.hub_library import Repository

log = get_logger(__name__)

_PART_LENGTH: Final = 80
_PICKLED: Final = (".bin", ".pt", ".pth")
_MISSING: Final = 'pulling safetensors needs further packages: pip install "a3s-power[convert]"'
_HUB_FILE = re.compile(r"/([^/]+)/([^/]+)/(resolve|blob|raw)/[^/]+/(.+)")
_QUANTISED = re.compile(r"(.+?)[-._]((?:I?Q[0-9][A-Z0-9_]*|TQ[12]_0|MXFP4[A-Z0-9_]*|BF16|F16|F32))", re.IGNORECASE)


class ByManifest(NamedTuple):
    """A model of a registry: its manifest as it came, and where its blobs are."""

    name: ModelName
    content: bytes
    manifest: Manifest
    blob: Callable[[Digest], Source]


class ByFiles(NamedTuple):
    """A model that is made here, of files from elsewhere. `origin` says in words where they are from."""

    name: ModelName
    files: list[RemoteFile]
    origin: str


class _Known(msgspec.Struct, frozen=True):
    repo: str
    file: str
    also: tuple[str, ...] = ()


class Places(NamedTuple):
    """What is needed to ask around."""

    supply: Supply
    exchange: Exchange
    cancel: Cancel

    @property
    def hub(self) -> Hub:
        """Hugging Face."""
        return Hub(self.supply.hub, self.exchange, self.supply.settings.patience, self.cancel)

    def repository(self, name: str) -> "Repository":
        """A repository of the hub as its own library sees it. Raises NotSupported where that is not installed."""
        try:
            from a3s_power.registry.hub_library import Repository  # noqa: PLC0415 -- an extra, and heavy
        except ImportError as error:
            raise NotSupported(f"{_MISSING} ({error})") from error
        return Repository(name, self.supply.hub, self.exchange, self.supply.settings.patience, self.cancel)

    def look(self, url: Url) -> RemoteFile:
        """What there is to fetch at an address."""
        return look(url, self.exchange, self.supply.settings.patience, self.cancel)


def resolve(request: Pull, places: Places) -> ByManifest | ByFiles:
    """Where the model comes from; nothing large is fetched yet.

    Raises:
        BadRequest: no name and no address, or plain http that was not allowed.
        NeedsConsent: only a search found something.
        NotThere, Unreachable: nobody has it; the message says whom we asked and what each said.
        RegistryFailed: whoever should have it cannot give it.
        BadManifest, NotSupported: what it gives is no model, or none that could run here; or packages are missing.
    """
    source = read_source(request.source)
    if isinstance(source, Url):
        return _from_address(source, request, places)
    try:
        return _from_registry(source, request, places)
    except (NotThere, Unreachable) as error:
        places.cancel.check()
        if source.name.host.lower() != DEFAULT_HOST:
            raise
        if source.name.namespace.lower() != DEFAULT_NAMESPACE:
            return _from_namesake(source.name, request, places, error)
        return _from_elsewhere(source.name, request, places, error)


def _from_address(url: Url, request: Pull, places: Places) -> ByFiles:
    """A file at an address, all parts of it if it is one of several."""
    if url.scheme == "http" and not request.insecure:
        raise BadRequest("insecure protocol http")
    name = _hub_name(url)
    if name is not None:
        # The address of the page about a file is what people copy from a browser.
        url = url._replace(path=re.sub(r"^(/[^/]+/[^/]+)/(?:blob|raw)/", r"\1/resolve/", url.path))
    places.exchange.add_home(url)
    return ByFiles(name or _name_of(url), [places.look(each) for each in shards(url)], shard_stem(url.bare))


def _hub_name(url: Url) -> ModelName | None:
    """The name under which the hub's registry would have the file of this address; `None` for other addresses."""
    form = _HUB_FILE.fullmatch(url.path.partition("?")[0])
    if form is None or url.host not in HUB_HOSTS:
        return None
    try:
        return ModelName("hf.co", form[1], form[2], tag_of(file_name(url)))
    except InvalidName:
        return None


def _name_of(url: Url) -> ModelName:
    """A name for a file that has none: its own, a quantisation at its end becoming the tag."""
    stem = re.sub(r"\.gguf$", "", shard_stem(file_name(url)), flags=re.IGNORECASE)
    quantised = _QUANTISED.fullmatch(stem)
    model, tag = (quantised[1], quantised[2]) if quantised else (stem, DEFAULT_TAG)
    return ModelName(DEFAULT_HOST, DEFAULT_NAMESPACE, model[:_PART_LENGTH], tag[:_PART_LENGTH])


def _from_registry(source: Named, request: Pull, places: Places) -> ByManifest | ByFiles:
    """What the registry of the name, or a mirror of it, has. Raises what the last of them said."""
    name, supply = source.name, places.supply
    *mirrors, own = supply.bases(name, source.scheme, insecure=request.insecure)
    for mirror in mirrors:
        try:
            return _by_manifest(name, mirror, places)
        except RegistryFailed as error:
            places.cancel.check()
            log.info("mirror has no answer", mirror=mirror.bare, error=error)
    try:
        return _by_manifest(name, own, places)
    except (NotThere, Refused) as error:
        if name.host.lower() not in HUB_HOSTS or (isinstance(error, Refused) and error.code != 400):
            raise
        return _from_hub(name, places, error)


def _from_hub(name: ModelName, places: Places, refusal: RegistryFailed) -> ByFiles:
    """What the hub has and its registry refuses: split GGUFs, and safetensors. Raises the refusal when it has neither.

    Raises NotSupported where the weights are pickled, or the packages are not installed that safetensors need.
    """
    repository = f"{name.namespace}/{name.model}"
    try:
        ggufs = places.hub.ggufs(repository)
    except NotThere:
        raise refusal from None
    files = choose(ggufs, name.tag)
    if len(files) > 1:
        return _by_files(name, repository, [file.path for file in files], places)
    if ggufs or name.tag.lower() != DEFAULT_TAG:
        raise refusal
    found = places.repository(repository)
    paths = safetensors(found.names)
    if paths:
        return ByFiles(name, [found.file(path) for path in paths], f"hf.co/{repository}/{paths[-1]}")
    if any(path.endswith(_PICKLED) for path in found.names):
        raise NotSupported(f"hf.co/{repository} holds pickled weights: only safetensors and GGUF files are taken")
    raise refusal


def _by_manifest(name: ModelName, base: Url, places: Places) -> ByManifest:
    registry = places.supply.registry(places.exchange, base, name)
    content = registry.manifest(name.tag, places.cancel)
    return ByManifest(name, content, sound(name, content), registry.blob)


def _by_files(name: ModelName, repository: str, paths: list[str], places: Places) -> ByFiles:
    files = [places.look(places.hub.url(repository, path)) for path in paths]
    return ByFiles(name, files, f"hf.co/{repository}/{shard_stem(paths[0])}")


def _from_namesake(name: ModelName, request: Pull, places: Places, refusal: RegistryFailed) -> ByManifest | ByFiles:
    """The repository of the hub that is called `user/model`, too. Raises what all that were asked said."""
    there = ModelName("hf.co", name.namespace, name.model, name.tag)
    try:
        places.hub.ggufs(f"{name.namespace}/{name.model}")
        if request.consent:
            return _from_registry(Named(there), request, places)._replace(name=name)
    except RegistryFailed as error:
        places.cancel.check()
        raise type(refusal)(
            f"{refusal} ({name.host}: {refusal}; hf.co/{name.namespace}/{name.model}: {error})"
        ) from None
    raise NeedsConsent(f"{refusal}. The hub has a repository of this name, {there.short}; pull it by that", there.short)


def _from_elsewhere(name: ModelName, request: Pull, places: Places, refusal: RegistryFailed) -> ByFiles:
    """What is known of the name without its registry. Raises what all that were asked said."""
    said = [f"{name.host}: {refusal}"]
    known = known_models().get(f"{name.model}:{name.tag}".lower())
    if known is None:
        said.append("known models: not among them")
    else:
        try:
            return _by_files(name, known.repo, [known.file], places)
        except RegistryFailed as error:
            places.cancel.check()
            said.append(f"hf.co/{known.repo}: {error}")
    try:
        found = places.hub.search(name.model if name.tag == DEFAULT_TAG else f"{name.model} {name.tag}")
    except RegistryFailed as error:
        places.cancel.check()
        said.append(f"search on {places.hub.host}: {error}")
    else:
        if found is not None and request.consent:
            return _by_files(name, found.repository, [file.path for file in found.files], places)
        if found is not None:
            raise NeedsConsent(f"file does not exist. A search found {found}; pull it by that name", found.name)
        said.append(f"search on {places.hub.host}: nothing found")
    raise type(refusal)(f"{refusal} ({'; '.join(said)})")


def known_models() -> dict[str, _Known]:
    """The built-in list: what each `model:tag` means without asking a registry."""
    listed = tomllib.loads(Path(__file__).with_name("known.toml").read_text("utf-8"))
    models = msgspec.convert(listed, dict[str, _Known])
    return {name: known for first, known in models.items() for name in (first, *known.also)}
