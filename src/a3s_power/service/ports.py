"""What the edges may ask: seven small protocols, and the bundle of them that an application stands on.

One machine (`service.local`) implements them; tests implement the ones they need.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import BinaryIO, NamedTuple, Protocol

from a3s_power.core.digests import Digest
from a3s_power.core.events import Event
from a3s_power.core.model import Description, EngineState, FailedLoad, Listing, Resident
from a3s_power.core.names import ModelName
from a3s_power.core.requests import (
    Chat,
    Create,
    Detokenize,
    Embed,
    Embeddings,
    Generate,
    Pull,
    Push,
    Ranking,
    Rerank,
    Tokenize,
    Tokenized,
)
from a3s_power.telemetry.metrics import Metric, Values

Events = AbstractAsyncContextManager[AsyncIterator[Event]]
"""A stream that is opened with `async with` and read inside. Leaving it ends the work, whatever happened.

Errors come out of opening it or out of reading it; until the first event that is not Progress nothing has been said.
"""


class Inference(Protocol):
    """What models do."""

    def chat(self, request: Chat) -> Events:
        """Answer a conversation, or load or unload the model: then the only event is a Done that says so."""
        ...

    def generate(self, request: Generate) -> Events:
        """Go on with a prompt, or load or unload the model: then the only event is a Done that says so."""
        ...

    async def embed(self, request: Embed) -> Embeddings:
        """Vectors of texts."""
        ...

    async def rerank(self, request: Rerank) -> Ranking:
        """Documents by how well they answer a query. Raises NotSupported for a model that cannot tell."""
        ...

    async def tokenize(self, request: Tokenize) -> Tokenized:
        """Token ids of a text."""
        ...

    async def detokenize(self, request: Detokenize) -> Tokenized:
        """The text of token ids. Raises EngineRefused for one that the model does not have."""
        ...


class Library(Protocol):
    """The models on disk."""

    async def list(self) -> list[Listing]:
        """All of them, newest first."""
        ...

    async def show(self, name: ModelName, *, verbose: bool = False) -> Description:
        """One of them in full; arrays of its metadata only when `verbose`. Raises ModelNotFound."""
        ...

    async def copy(self, source: ModelName, destination: ModelName) -> None:
        """A second name for a model. Raises ModelNotFound."""
        ...

    async def delete(self, name: ModelName) -> None:
        """Remove a model and the blobs that only it used. Raises ModelNotFound."""
        ...


class BlobUpload(Protocol):
    """A blob on its way in."""

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        ...


class Blobs(Protocol):
    """Content under its digest."""

    async def has(self, digest: Digest) -> bool:
        """Whether the blob is there."""
        ...

    def upload(self, digest: Digest, size: int | None) -> AbstractAsyncContextManager[BlobUpload]:
        """Store what is written inside; left without an error, the blob is there whole.

        Raises DigestMismatch on leaving when the content is another, DiskFull when `size` does not fit.
        """
        ...

    async def open(self, digest: Digest) -> tuple[int, BinaryIO]:
        """Size in bytes, and the content to read. Raises BlobNotFound."""
        ...

    async def remove(self, digest: Digest) -> None:
        """Remove a blob no model refers to. Raises BlobNotFound, and InUse when one does."""
        ...


class Archives(Protocol):
    """Models as single files, to be carried to another machine."""

    async def pack(self, name: ModelName, *, blobs: bool = True) -> tuple[int, AsyncIterator[bytes]]:
        """Size in bytes of a model's archive, and its content; without `blobs` only the manifest is in it.

        Raises ModelNotFound.
        """
        ...

    async def unpack(self, content: AsyncIterator[bytes]) -> ModelName:
        """Put in the model of an archive; its name. Blobs that are here already may be missing in it.

        Raises BadFile and DigestMismatch for what is no whole archive of a model, and DiskFull; nothing is left then.
        """
        ...


class Transfers(Protocol):
    """Long work, told as a stream of Progress."""

    def create(self, request: Create) -> Events:
        """Make a model from files or from another model."""
        ...

    def pull(self, request: Pull) -> Events:
        """Bring a model here; asked twice at once, both hear of the one transfer."""
        ...

    def push(self, request: Push) -> Events:
        """Publish a model."""
        ...


class Status(Protocol):
    """How this machine is."""

    def loaded(self) -> list[Resident]:
        """The models in memory, the one that stays longest first."""
        ...

    def degraded(self) -> tuple[str, ...]:
        """What this machine could do and cannot now, in words; nothing where all is well."""
        ...

    def failed(self) -> list[FailedLoad]:
        """The models whose last load failed, the latest at the end."""
        ...

    def engines(self) -> list[EngineState]:
        """The engines, and whether their libraries are here."""
        ...

    def metrics(self) -> Mapping[Metric, Values]:
        """The values of every metric, as they are now."""
        ...

    def uptime_seconds(self) -> float:
        """Since the service was opened."""
        ...


class Kept(NamedTuple):
    """A response as it is kept: its id, that of the one it goes on from (or none), what was said and what was answered.

    `items` and `answer` are JSON, which nobody here looks into.
    """

    id: str
    previous: str
    items: bytes
    answer: bytes


class Responses(Protocol):
    """Responses kept for those who go on from them, for a while."""

    async def keep(self, kept: Kept) -> None:
        """Keep a response; others go where there is no room. Raises TooLarge for one that is too large alone."""
        ...

    async def find(self, number: str) -> Kept:
        """A response by its id. Raises NotFound."""
        ...

    async def chain(self, number: str) -> tuple[Kept, ...]:
        """A response and all that it goes on from, the first one first.

        Raises NotFound where one of them is not here, BadRequest where they are too large together.
        """
        ...

    async def remove(self, number: str) -> None:
        """Forget a response. Raises NotFound."""
        ...


class Service(NamedTuple):
    """All of it. `responses` is `None` where none are kept."""

    inference: Inference
    library: Library
    blobs: Blobs
    archives: Archives
    transfers: Transfers
    status: Status
    responses: Responses | None = None
