"""Exchange: questions and answers of one pull or push, with the rules for redirects, inner addresses and secrets."""

import http.client
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final, Literal, Self

from a3s_power.core.errors import BadAnswer, NotAllowed, Refused, Unreachable
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.connection import Answer, Body, Bytes, Connection, Stale
from a3s_power.registry.outbound import Outbound, Place
from a3s_power.registry.urls import Url

Redirects = Literal["followed", "within the host", "none"]

_MOST_REDIRECTS: Final = 10
_SHOWN_CHARACTERS: Final = 1024
_ERROR_BYTES: Final = 64 * 1024
_KEPT_CONNECTIONS: Final = 8


class Exchange:
    """Whom one operation asks. Thread-safe.

    A private address may be called only when it belongs to one of the `homes`, which the user named; plain http only
    where a home has it. Each host is looked up once and kept. A secret is told to its own origin only.
    """

    def __init__(self, outbound: Outbound, agent: str) -> None:
        self._outbound = outbound
        self._agent = agent
        self._homes: set[str] = set()
        self._secrets: dict[str, str] = {}
        self._places: dict[str, Place | None] = {}
        self._idle: list[Connection] = []
        self._keeping = _KEPT_CONNECTIONS
        self._mutex = threading.Lock()
        self._lookups = threading.Lock()

    def add_home(self, url: Url) -> None:
        """Trust an address: the user, or who runs the server, has named it."""
        self._homes.add(url.origin)

    def remember(self, url: Url, authorization: str) -> None:
        """Send this Authorization to the address's origin from now on, and to nobody else."""
        self._secrets[url.origin] = authorization

    def ask(
        self,
        method: str,
        url: Url,
        cancel: Cancel,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        redirects: Redirects = "followed",
    ) -> Answer:
        """Send a request; its answer, whatever its status. `within the host` stops at the first other host.

        An Authorization among the headers is sent instead of what is remembered, an empty one not at all.

        Raises:
            NotAllowed: an address that may not be called.
            Unreachable: nobody answered.
            BadAnswer: no HTTP, or too many redirects.
            Cancelled: nobody wants the answer any more.
        """
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._once(method, url, cancel, headers or {}, body or Bytes())
            target = _target(answer)
            if target is None or redirects == "none":
                return answer
            if redirects == "within the host" and target.host != url.host:
                return answer
            answer.close()
            if answer.status == http.client.SEE_OTHER:
                method, body = "GET", None
            url = target
        raise BadAnswer(f"maximum redirects exceeded ({_MOST_REDIRECTS}) for {url.bare}")

    def _once(self, method: str, url: Url, cancel: Cancel, headers: Mapping[str, str], body: Body) -> Answer:
        cancel.check()
        if url.scheme == "http" and url.origin not in self._homes:
            raise NotAllowed(f"redirect not allowed: {url.origin} is not secure")
        secret = self._secrets.get(url.origin, "")
        said = {"User-Agent": self._agent, "Accept-Encoding": "identity", "Authorization": secret, **headers}
        said = {name: value for name, value in said.items() if value}
        try:
            while kept := self._kept(url):
                with suppress(Stale):
                    return kept.ask(method, url, cancel, said, body)
            return self._connected(url, cancel).ask(method, url, cancel, said, body)
        except Unreachable as error:
            cancel.check()
            raise type(error)(f'{method.title()} "{url.bare}": {error}') from error

    def _connected(self, url: Url, cancel: Cancel) -> Connection:
        own = url.origin in self._homes
        place, known = self._located(url, own=own)
        try:
            connected = self._outbound.connect(url, place, cancel)
        except Unreachable:
            if known:
                # It may have moved. A public host does not become an inner one by that.
                moved = self._outbound.locate(url, own=own and not (place and place.kind == "public"))
                with self._mutex:
                    self._places[url.address] = moved
            raise
        return Connection(connected, url, self._keep)

    def _located(self, url: Url, *, own: bool) -> tuple[Place | None, bool]:
        """Where the host is, and whether that was known. Threads that ask at once hear the same."""
        with self._lookups:
            known = url.address in self._places
            if not known:
                self._places[url.address] = self._outbound.locate(url, own=own)
            place = self._places[url.address]
        if place is not None and place.kind == "private" and not own:
            raise NotAllowed(f"redirect not allowed: {url.host}")
        return place, known

    def _kept(self, url: Url) -> Connection | None:
        with self._mutex:
            found = next((one for one in self._idle if one.origin == url.origin), None)
            if found is not None:
                self._idle.remove(found)
            return found

    def _keep(self, connection: Connection) -> None:
        with self._mutex:
            self._idle.append(connection)
            surplus = self._idle.pop(0) if len(self._idle) > self._keeping else None
        if surplus is not None:
            surplus.close()

    def close(self) -> None:
        """Close what is idle, and keep nothing any more. A download that others wait for may still use the exchange."""
        with self._mutex:
            self._keeping = 0
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _target(answer: Answer) -> Url | None:
    """Where the answer redirects to. Raises NotAllowed for a step from https to http, or to what is no address."""
    try:
        target = answer.target
    except NotAllowed:
        answer.close()
        raise
    if target is not None and (answer.url.scheme, target.scheme) == ("https", "http"):
        answer.close()
        raise NotAllowed(f"redirect not allowed: {target.origin} is not secure")
    return target


def refused(answer: Answer) -> Refused:
    """What an answer of 400 or above says: `<code>: <body>`, made harmless and cut. Closes the answer."""
    try:
        said = answer.read(_ERROR_BYTES).decode("utf-8", "replace").strip()
    except (BadAnswer, Unreachable):
        said = ""
    message = f"{answer.status}: {shown(said)}" if said else str(answer.status)
    return Refused(message, answer.status, answer.retry_after)


def shown(said: str) -> str:
    """What somebody else says, made harmless and cut."""
    return "".join(each if each.isprintable() else _escaped(each) for each in said[:_SHOWN_CHARACTERS])


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
