"""Hugging Face: what lies in a repository, which of its files a tag means, and what a search finds."""

import re
from typing import Annotated, Final, NamedTuple, TypeVar

import msgspec

from a3s_power.core import limits
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadAnswer, InvalidDigest, InvalidName
from a3s_power.core.names import DEFAULT_TAG, ModelName
from a3s_power.core.sizes import human_bytes
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.client import checked, patiently
from a3s_power.registry.exchange import Exchange
from a3s_power.registry.files import shard_stem
from a3s_power.registry.settings import Patience
from a3s_power.registry.urls import Url

T = TypeVar("T")

_LIST_BYTES: Final = 8 * limits.MIB
_PREFERRED: Final = (
    *("Q4_K_M", "Q4_K_S", "Q4_0", "IQ4_XS", "Q5_K_M", "Q5_K_S", "Q6_K", "Q8_0"),
    *("Q3_K_M", "MXFP4", "BF16", "F16", "F32"),
)
"""Which file of a repository is taken when nobody says: the first of these that it has."""

_QUANTISATION = re.compile(
    r"(?:^|[-._/])(I?Q[0-9][A-Z0-9_]*|TQ[12]_0|MXFP4[A-Z0-9_]*|BF16|F16|F32)(?=$|[-._/])", re.IGNORECASE
)
_SAFETENSORS: Final = (re.compile(r"model[\w.-]*\.safetensors"), re.compile(r"consolidated[\w.-]*\.safetensors"))
"""Weights; the first of these that a repository has are its model."""

_COMPANION = re.compile(r"[\w.-]+\.json|\d_\w+/config\.json|tokenizer\.model|chat_template\.jinja", re.ASCII)
CONFIG: Final = "config.json"
_PROJECTOR: Final = "mmproj"
_FOUND_MOST: Final = 10


class _Lfs(msgspec.Struct, frozen=True):
    oid: str = ""
    size: int = 0


class _Entry(msgspec.Struct, frozen=True):
    path: str
    type: str = "file"
    size: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 0
    lfs: _Lfs | None = None


class Repository(msgspec.Struct, frozen=True):
    """What a search says of a repository: its name, and how often it was downloaded."""

    id: str
    downloads: int = 0


class HubFile(NamedTuple):
    """A file of a repository: its path there, its bytes, and its digest where the hub keeps one."""

    path: str
    size: int
    digest: Digest | None


class Found(NamedTuple):
    """What a search found: a repository, the files to take from it, and how often it was downloaded."""

    repository: str
    files: list[HubFile]
    downloads: int

    @property
    def name(self) -> str:
        """By what name it can be pulled."""
        return f"hf.co/{self.repository}:{tag_of(self.files[0].path)}"

    def __str__(self) -> str:
        size = human_bytes(sum(file.size for file in self.files))
        return f"{self.name} ({size}, downloaded {self.downloads} times)"


class Hub:
    """Hugging Face, or its mirror, at a base address."""

    def __init__(self, base: Url, exchange: Exchange, patience: Patience, cancel: Cancel) -> None:
        self._base = base
        self._exchange = exchange
        self._patience = patience
        self._cancel = cancel

    @property
    def host(self) -> str:
        """Its name, for messages."""
        return self._base.host

    def url(self, repository: str, path: str) -> Url:
        """Where the content of a repository's file is."""
        return self._base.below(*repository.split("/"), "resolve", "main", *path.split("/"))

    def ggufs(self, repository: str) -> list[HubFile]:
        """The weights that a repository offers, every quantisation and part. Raises NotThere, RegistryFailed."""
        url = self._base.below("api", "models", *repository.split("/"), "tree", "main")
        entries = self._listed(url.asking([("recursive", "true")]), list[_Entry])
        return [_hub_file(entry) for entry in entries if _is_weights(entry)]

    def search(self, words: str) -> Found | None:
        """The most downloaded repository for these words that has weights to run; `None` without one."""
        for repository in self.repositories(words, _FOUND_MOST):
            files = choose(self.ggufs(repository.id), DEFAULT_TAG)
            if files:
                return Found(repository.id, files, repository.downloads)
        return None

    def repositories(self, words: str, most: int) -> list[Repository]:
        """Repositories with weights to run that these words find, the most downloaded first. Raises RegistryFailed."""
        values = [("search", words), ("filter", "gguf"), ("sort", "downloads"), ("direction", "-1")]
        url = self._base.below("api", "models").asking([*values, ("limit", str(most))])
        return [one for one in self._listed(url, list[Repository])[:most] if _is_repository(one.id)]

    def _listed(self, url: Url, shape: type[T]) -> T:
        def asked() -> bytes:
            with checked(self._exchange.ask("GET", url, self._cancel)) as answer:
                return answer.read(_LIST_BYTES)

        try:
            return msgspec.json.decode(patiently(asked, self._patience, self._cancel), type=shape)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadAnswer(f"answer of {url.bare} cannot be read") from error


def choose(files: list[HubFile], tag: str) -> list[HubFile]:
    """The files that a tag means, all parts of a split one in order; none when there is no such.

    A tag is a quantisation or a file's name, in any case; `latest` is Q4_K_M or what comes nearest to it.
    """
    models: dict[str, list[HubFile]] = {}
    for file in sorted(files):
        models.setdefault(shard_stem(file.path), []).append(file)
    wanted = _PREFERRED if tag.lower() == DEFAULT_TAG else (tag,)
    for word in wanted:
        fitting = [stem for stem in models if _means(word, stem, models[stem])]
        if fitting:
            return models[min(fitting, key=lambda stem: (len(stem), stem))]
    return next(iter(models.values()), []) if tag.lower() == DEFAULT_TAG else []


def _means(word: str, stem: str, files: list[HubFile]) -> bool:
    names = {stem.rpartition("/")[2].lower(), *(file.path.rpartition("/")[2].lower() for file in files)}
    return word.lower() in names or bool(re.search(rf"(^|[-._/]){re.escape(word)}($|[-._/])", stem, re.IGNORECASE))


def safetensors(paths: list[str]) -> list[str]:
    """The files of a repository that make up a model in safetensors, the small ones first; none when it has no such.

    Weights in pickles are no such, and code is not taken.
    """
    for weights in _SAFETENSORS:
        if found := [path for path in paths if weights.fullmatch(path)]:
            small = [path for path in paths if _COMPANION.fullmatch(path)]
            return [*sorted(small, key=lambda path: (path != CONFIG, path)), *found]
    return []


def tag_of(path: str) -> str:
    """The tag by which a file can be pulled: its quantisation, else its name, as far as a tag can hold it."""
    said = _QUANTISATION.findall(shard_stem(path))
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", shard_stem(path).rpartition("/")[2]).lstrip("-.")
    return said[-1] if said else name[-80:].lstrip("-.") or DEFAULT_TAG


def _is_weights(entry: _Entry) -> bool:
    name = entry.path.rpartition("/")[2].lower()
    return entry.type == "file" and name.endswith(".gguf") and _PROJECTOR not in name and "imatrix" not in name


def _hub_file(entry: _Entry) -> HubFile:
    try:
        digest = Digest.parse(f"sha256:{entry.lfs.oid}") if entry.lfs else None
    except InvalidDigest:
        digest = None
    return HubFile(entry.path, entry.size, digest)


def _is_repository(text: str) -> bool:
    """Whether it is one that a name can mean: whose parts can stand in a path."""
    try:
        ModelName.parse(f"hf.co/{text}")
    except InvalidName:
        return False
    return text.count("/") == 1
