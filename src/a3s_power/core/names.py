"""ModelName: what a user types for a model, parsed, printed and compared."""

import re
from typing import Final, Literal, Self

import msgspec

from a3s_power.core.errors import BadRequest, InvalidName

DEFAULT_HOST: Final = "registry.ollama.ai"
DEFAULT_NAMESPACE: Final = "library"
DEFAULT_TAG: Final = "latest"

_HOST = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.:]{0,349}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_]{0,79}")
_PART = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.]{0,79}")

_UNPLAIN = re.compile(r"[\x00-\x1f\x7f\\:]")

Source = Literal["", "local", "cloud"]


def is_plain_path(text: str) -> bool:
    """Whether this is a path of plain names below some folder, on every system."""
    return not _UNPLAIN.search(text) and all(part not in ("", ".", "..") for part in text.split("/"))


class ModelName(msgspec.Struct, frozen=True, order=True):
    """A full name. Each part is checked, so that a name can be a path and never leaves its folder."""

    host: str
    namespace: str
    model: str
    tag: str = DEFAULT_TAG

    def __post_init__(self) -> None:
        whole = _HOST.fullmatch(self.host) and _NAMESPACE.fullmatch(self.namespace)
        if not (whole and _PART.fullmatch(self.model) and _PART.fullmatch(self.tag)):
            raise InvalidName

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `[[scheme://]host/][namespace/]model[:tag]`. Raises InvalidName, and nothing else."""
        path = text.strip(" \t\r\n")
        head, colon, tag = path.rpartition(":")
        if not colon or "/" in tag:
            head, tag = path, DEFAULT_TAG
        match head.rsplit("/", 2):
            case [model]:
                return cls(DEFAULT_HOST, DEFAULT_NAMESPACE, model, tag)
            case [namespace, model]:
                return cls(DEFAULT_HOST, namespace, model, tag)
            case [before, namespace, model]:
                return cls(before.partition("://")[2] or before, namespace, model, tag)
        raise InvalidName

    @property
    def full(self) -> str:
        """`host/namespace/model:tag`, never with a scheme."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def short(self) -> str:
        """The shortest text that parses back to this name, its tag always shown."""
        if self.host.lower() != DEFAULT_HOST:
            return self.full
        if self.namespace.lower() != DEFAULT_NAMESPACE:
            return f"{self.namespace}/{self.model}:{self.tag}"
        return f"{self.model}:{self.tag}"

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """Host, namespace, model and tag: the path of the manifest below `manifests/`."""
        return (self.host, self.namespace, self.model, self.tag)

    @property
    def folded(self) -> "ModelName":
        """The name in lower case: two names are the same model when these are equal."""
        return ModelName(*(part.lower() for part in self.parts))

    def __str__(self) -> str:
        return self.short


class Reference(msgspec.Struct, frozen=True):
    """A name as inference, show, pull and delete take it: with an optional `:cloud` or `:local` behind it."""

    name: ModelName
    source: Source = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Split the source off and read the name.

        Raises:
            InvalidName: the rest is no model name.
            BadRequest: both sources were given.
        """
        rest, source = _split_source(text.strip(" \t\r\n"))
        if source and _split_source(rest)[1] not in ("", source):
            raise BadRequest(f'use either :local or :cloud, not both: "{text}"')
        return cls(ModelName.parse(rest), source)


def _split_source(text: str) -> tuple[str, Source]:
    head, colon, last = text.rpartition(":")
    if not colon or "/" in last:
        return text, ""
    match last.lower():
        case "cloud":
            return head, "cloud"
        case "local":
            return head, "local"
        case tag if tag.endswith("-cloud"):
            return text[: -len("-cloud")], "cloud"
    return text, ""
