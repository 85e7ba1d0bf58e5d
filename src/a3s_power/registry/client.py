"""Registry: the conversation with one registry about one repository, as Docker and Ollama have it."""

import http.client
import platform
import threading
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from a3s_power.core import limits
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadAnswer, NotThere, Refused, Unauthorized, Unreachable
from a3s_power.core.manifest import MANIFEST_TYPE
from a3s_power.registry.auth import Auth
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.connection import Answer, Body, Bytes
from a3s_power.registry.exchange import Exchange, Redirects, refused
from a3s_power.registry.outbound import Unconnected
from a3s_power.registry.settings import Patience
from a3s_power.registry.urls import Url

_OLLAMA: Final = "0.32.0"
"""The version whose models we can run: Ollama's registry refuses newer models to older programs, by the User-Agent."""

T = TypeVar("T")

_TRIES: Final = 4
_FOR_THE_MOMENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_MACHINES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def user_agent() -> str:
    """What Ollama would call itself on this machine."""
    machine = platform.machine().lower()
    return f"ollama/{_OLLAMA} ({_MACHINES.get(machine, machine)} {platform.system().lower()}) Go/go1.26.0"


class _Tags(msgspec.Struct, frozen=True):
    tags: list[str] | None = None


class Registry:
    """One repository, `<namespace>/<model>`, at one base address. Thread-safe.

    What fails for the moment is tried again, a few times: `patience` says how long between.
    """

    def __init__(self, exchange: Exchange, auth: Auth, base: Url, repository: str, patience: Patience) -> None:
        self._exchange = exchange
        self._auth = auth
        self._patience = patience
        self._base = base.below("v2", *repository.split("/"))
        self._mutex = threading.Lock()

    def manifest(self, tag: str, cancel: Cancel) -> bytes:
        """The manifest's bytes, exactly as they came.

        Raises:
            NotThere: no such repository or tag.
            RegistryFailed: it cannot be had.
        """
        url = self._base.below("manifests", tag)

        def asked() -> bytes:
            answer = self.ask("GET", url, cancel, headers={"Accept": MANIFEST_TYPE}, redirects="followed")
            with checked(answer):
                return answer.read(limits.MANIFEST_BYTES)

        return patiently(asked, self._patience, cancel)

    def tags(self, cancel: Cancel) -> list[str]:
        """The tags of the repository. Raises NotThere, where there is no list or no repository, and RegistryFailed."""

        def asked() -> bytes:
            with checked(self.ask("GET", self._base.below("tags", "list"), cancel, redirects="followed")) as answer:
                return answer.read(limits.MANIFEST_BYTES)

        try:
            return msgspec.json.decode(patiently(asked, self._patience, cancel), type=_Tags).tags or []
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadAnswer("list of tags cannot be read") from error

    def put_manifest(self, tag: str, content: bytes, media_type: str, cancel: Cancel) -> None:
        """Make the tag stand for this manifest. Raises RegistryFailed."""
        url, headers = self._base.below("manifests", tag), {"Content-Type": media_type or MANIFEST_TYPE}
        patiently(
            lambda: checked(self.ask("PUT", url, cancel, headers=headers, body=Bytes(content))).close(),
            self._patience,
            cancel,
        )

    def has(self, digest: Digest, cancel: Cancel) -> bool:
        """Whether the blob is there. Raises RegistryFailed."""
        url = self.blob_url(digest)
        try:
            patiently(
                lambda: checked(self.ask("HEAD", url, cancel, redirects="followed")).close(), self._patience, cancel
            )
        except NotThere:
            return False
        return True

    def blob_url(self, digest: Digest) -> Url:
        """Where a blob is asked for."""
        return self._base.below("blobs", str(digest))

    def blob(self, digest: Digest) -> "Remote":
        """A blob as a source of bytes."""
        url = self.blob_url(digest)
        return Remote(
            lambda headers, cancel: self.ask("GET", url, cancel, headers=headers, redirects="within the host"),
            self._exchange,
        )

    @property
    def uploads_url(self) -> Url:
        """Where an upload begins."""
        return self._base.below("blobs", "uploads", "")

    def ask(
        self,
        method: str,
        url: Url,
        cancel: Cancel,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        redirects: Redirects = "none",
    ) -> Answer:
        """As the exchange asks, and a challenge is answered once.

        Raises Unauthorized when that does not help, and what the exchange raises.
        """
        answer = self._exchange.ask(method, url, cancel, headers=headers, body=body, redirects=redirects)
        if answer.status != http.client.UNAUTHORIZED:
            return answer
        if answer.url.origin != url.origin:
            # Whoever we were sent to does not learn who we are.
            answer.close()
            raise Unauthorized
        with self._mutex:
            self._auth.satisfy(answer, cancel)
        answer = self._exchange.ask(method, url, cancel, headers=headers, body=body, redirects=redirects)
        if answer.status == http.client.UNAUTHORIZED:
            answer.close()
            raise Unauthorized
        return answer


def patiently(work: Callable[[], T], patience: Patience, cancel: Cancel) -> T:
    """What the work gives, tried again where the other side is busy or broke off. Raises what it raised last."""
    for tries in range(1, min(patience.tries, _TRIES)):
        try:
            return work()
        except Unconnected:
            raise
        except Refused as error:
            if error.code not in _FOR_THE_MOMENT:
                raise
            cancel.wait(patience.pause_after(tries, error.retry_after))
        except Unreachable:
            cancel.wait(patience.pause_after(tries))
    return work()


def checked(answer: Answer) -> Answer:
    """The answer, if it is none of an error. Raises NotThere and Refused."""
    if answer.status == http.client.NOT_FOUND:
        answer.close()
        raise NotThere
    if answer.status >= 400:
        raise refused(answer)
    if answer.status >= 300:
        answer.close()
        raise BadAnswer(f"unexpected status code {answer.status}")
    return answer


First = Callable[[dict[str, str], Cancel], Answer]
"""Asks, with these headers, whoever knows where some content lies. Redirects to other hosts are left to be followed."""


class Remote:
    """Content elsewhere as a source of bytes: who knows where it lies is asked once, the parts are fetched there."""

    def __init__(self, first: First, exchange: Exchange) -> None:
        self._first = first
        self._exchange = exchange
        self._direct: Url | None = None
        self._mutex = threading.Lock()

    def open(self, first: int, last: int, size: int, cancel: Cancel) -> Answer:
        """The answer with these bytes. Raises NotThere when nobody has the content, RegistryFailed."""
        headers = {} if (first, last) == (0, size - 1) else {"Range": f"bytes={first}-{last}"}
        # One thread asks, and the others wait to hear where they are sent.
        with self._mutex:
            if self._direct is None:
                answer = self._first(headers, cancel)
                if answer.target is None:
                    self._direct = answer.url if answer.status < 300 else None
                    return checked(answer)
                answer.close()
                self._direct = answer.target
            direct = self._direct
        answer = self._exchange.ask("GET", direct, cancel, headers=headers)
        if answer.status >= 400:
            raise refused(answer)
        return answer

    def forget(self) -> None:
        """Ask anew where the content lies: signed addresses expire."""
        with self._mutex:
            self._direct = None
