"""Catalogue: what there is elsewhere, told without fetching it: searches, tags, and whether a model has a newer one."""

from types import TracebackType
from typing import Literal, NamedTuple, Self

from a3s_power.core.digests import Digest
from a3s_power.core.errors import NotAllowed, NotSupported, NotThere, RegistryFailed
from a3s_power.core.names import ModelName
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.files import shard_stem
from a3s_power.registry.huggingface import Hub, Repository, tag_of
from a3s_power.registry.supply import HUB_HOSTS, Supply

Age = Literal["current", "outdated", "gone", "unknown"]


class Tag(NamedTuple):
    """A tag of a model, and the bytes behind it; 0 where the list does not say."""

    tag: str
    size: int


class Catalogue:
    """Asks around, on behalf of one person who waits. As a context it closes its connections at the end."""

    def __init__(self, supply: Supply, cancel: Cancel | None = None) -> None:
        self._supply = supply
        self._exchange = supply.exchange()
        self._cancel = cancel or Cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exchange.close()

    @property
    def _hub(self) -> Hub:
        return Hub(self._supply.hub, self._exchange, self._supply.settings.patience, self._cancel)

    def search(self, words: str, most: int) -> list[Repository]:
        """The hub's repositories with weights to run that these words find. Raises RegistryFailed."""
        return self._hub.repositories(words, most)

    def tags(self, name: ModelName, *, insecure: bool = False) -> list[Tag]:
        """The tags that the model of this name has where it comes from.

        Raises:
            NotThere: nobody has it.
            NotSupported: its registry gives no list, as Ollama's does.
            RegistryFailed: it could not be asked.
        """
        if name.host.lower() in HUB_HOSTS:
            sizes: dict[str, int] = {}
            for file in self._hub.ggufs(f"{name.namespace}/{name.model}"):
                tag = tag_of(shard_stem(file.path))
                sizes[tag] = sizes.get(tag, 0) + file.size
            return [Tag(*each) for each in sorted(sizes.items(), key=lambda each: each[1])]
        *_, base = self._supply.bases(name, "", insecure=insecure)
        try:
            return [Tag(tag, 0) for tag in self._supply.registry(self._exchange, base, name).tags(self._cancel)]
        except NotThere:
            raise NotSupported(f"{name.host} has no list of tags of {name.namespace}/{name.model}") from None

    def age(self, name: ModelName, digest: Digest, *, insecure: bool = False) -> Age:
        """Whether the manifest of this digest is still what the name stands for where it came from.

        `gone` means that it stands for nothing there, `unknown` that nobody could be asked.
        """
        *_, base = self._supply.bases(name, "", insecure=insecure)
        try:
            content = self._supply.registry(self._exchange, base, name).manifest(name.tag, self._cancel)
        except NotThere:
            return "gone"
        except (RegistryFailed, NotAllowed):
            return "unknown"
        return "current" if Digest.of(content) == digest else "outdated"
