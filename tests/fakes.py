"""Stand-ins for the service's ports, each declared as the port it stands for: what they say is a script."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from a3s_power.api.app import build
from a3s_power.api.endpoint import ApiSettings
from a3s_power.core.errors import PowerError
from a3s_power.core.events import Event
from a3s_power.core.model import EngineState, FailedLoad, Resident
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
    Request,
    Rerank,
    Tokenize,
    Tokenized,
)
from a3s_power.service.archive import LocalArchives
from a3s_power.service.library import LocalBlobs, LocalLibrary
from a3s_power.service.ports import Inference, Service, Status, Transfers
from a3s_power.store import Store
from a3s_power.telemetry.metrics import MODELS_LOADED, PROMPTS_TRUNCATED, Metric, Values


class FakeInference:
    """Says its script to every request: events one by one, and raises what is an error. Keeps what it was asked."""

    def __init__(
        self, *script: Event | Exception, vectors: Embeddings | PowerError | None = None, ranking: Ranking | None = None
    ) -> None:
        self.script = script
        self.ranking = ranking
        self.vectors = vectors
        self.asked: list[Request] = []
        self.left = 0

    @asynccontextmanager
    async def chat(self, request: Chat) -> AsyncIterator[AsyncIterator[Event]]:
        """The script."""
        self.asked.append(request)
        try:
            yield _played(self.script)
        finally:
            self.left += 1

    @asynccontextmanager
    async def generate(self, request: Generate) -> AsyncIterator[AsyncIterator[Event]]:
        """The script."""
        self.asked.append(request)
        try:
            yield _played(self.script)
        finally:
            self.left += 1

    async def embed(self, request: Embed) -> Embeddings:
        """The vectors it was made with, or that error."""
        self.asked.append(request)
        if isinstance(self.vectors, PowerError):
            raise self.vectors
        return self.vectors or Embeddings(vectors=())

    async def rerank(self, request: Rerank) -> Ranking:
        """The ranking it was made with."""
        self.asked.append(request)
        return self.ranking or Ranking(results=())

    async def tokenize(self, request: Tokenize) -> Tokenized:
        """A token for each character, its code."""
        self.asked.append(request)
        return Tokenized(text=request.text, tokens=tuple(map(ord, request.text)))

    async def detokenize(self, request: Detokenize) -> Tokenized:
        """The characters of these codes."""
        self.asked.append(request)
        return Tokenized(text="".join(map(chr, request.tokens)), tokens=request.tokens)


class FakeTransfers:
    """Says its script to every create, pull and push. Keeps what it was asked, and counts who has left."""

    def __init__(self, *script: Event | Exception) -> None:
        self.script = script
        self.asked: list[Create | Pull | Push] = []
        self.left = 0

    @asynccontextmanager
    async def create(self, request: Create) -> AsyncIterator[AsyncIterator[Event]]:
        """The script."""
        self.asked.append(request)
        yield _played(self.script)

    @asynccontextmanager
    async def pull(self, request: Pull) -> AsyncIterator[AsyncIterator[Event]]:
        """The script."""
        self.asked.append(request)
        try:
            yield _played(self.script)
        finally:
            self.left += 1

    @asynccontextmanager
    async def push(self, request: Push) -> AsyncIterator[AsyncIterator[Event]]:
        """The script."""
        self.asked.append(request)
        yield _played(self.script)


class FakeStatus:
    """A machine with these models in memory."""

    def __init__(self, *residents: Resident, failed: Iterable[FailedLoad] = (), degraded: tuple[str, ...] = ()) -> None:
        self.residents = list(residents)
        self.failures = list(failed)
        self.reasons = degraded

    def loaded(self) -> list[Resident]:
        """Those it was made with."""
        return self.residents

    def degraded(self) -> tuple[str, ...]:
        """What it was made with."""
        return self.reasons

    def failed(self) -> list[FailedLoad]:
        """Those it was made with."""
        return self.failures

    def engines(self) -> list[EngineState]:
        """One that is here, and one that is not."""
        return [
            EngineState(name="llamacpp", formats=("gguf",), library="xllamacpp", version="1.0"),
            EngineState(name="other", formats=("safetensors",), library="nowhere", version=""),
        ]

    def metrics(self) -> Mapping[Metric, Values]:
        """A model with a name that no model may have, whose prompts were cut twice."""
        return {PROMPTS_TRUNCATED: {('x"} 1\nfake{a="\\',): 2}, MODELS_LOADED: {(): len(self.residents)}}

    def uptime_seconds(self) -> float:
        """A minute and a half."""
        return 90.5


async def _played(script: Iterable[Event | Exception]) -> AsyncIterator[Event]:
    for each in script:
        if isinstance(each, Exception):
            raise each
        yield each


def service(
    folder: Path,
    inference: Inference | None = None,
    *,
    transfers: Transfers | None = None,
    status: Status | None = None,
) -> Service:
    """A service over a real store in `folder`; what needs a model is played."""
    store = Store(folder)
    return Service(
        inference=inference or FakeInference(),
        library=LocalLibrary(store),
        blobs=LocalBlobs(store),
        archives=LocalArchives(store),
        transfers=transfers or FakeTransfers(),
        status=status or FakeStatus(),
    )


def client(folder: Path, played: Service | None = None, **settings: Any) -> TestClient:
    """A client of the application over a service; without one, over an empty store and a model that says nothing."""
    app = build(played or service(folder), ApiSettings(**settings))
    return TestClient(app, base_url="http://localhost:11434", follow_redirects=False)


def lines(text: str) -> list[Any]:
    """The objects of a stream of lines; every line must be ended."""
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]
