"""The command's side of the talk with a server: JSON, lines of JSON, and files; by the standard library alone."""

import contextlib
import http.client
import json
import platform
import socket
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from a3s_power import __version__, config, paths
from a3s_power.cli.terminal import one_line
from a3s_power.core.addresses import Address
from a3s_power.core.errors import PowerError

if TYPE_CHECKING:
    from a3s_power.registry.proxies import Proxy

LINE_BYTES: Final = 8_000_000
"""The longest line of a stream."""
_CHUNK_BYTES: Final = 1 << 20
_PIECE_BYTES: Final = 1 << 16
_PATIENCE_SECONDS: Final = 60.0
"""How long a download may go without a byte."""
_NOBODY: Final = "could not connect to a3s-power, run 'a3s-power serve' to start it"
_NONE: Final[Mapping[str, str]] = {}
_UNTOLD: Final = "something went wrong, please see the a3s-power server logs for details"


class Unreachable(PowerError):
    """Nobody answers at the server's address."""


class Refused(PowerError):
    """The server answered with an error; `code` is its status, 200 for one in the middle of a stream.

    `fields` is what the server said beside it.
    """

    def __init__(self, message: str, code: int = 200, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code: Final = code
        self.fields: Final = fields or {}


class Client:
    """A server at an address. Each question opens a connection of its own and closes it.

    `nobody` is what to say when none listens there.
    """

    def __init__(self, address: Address, api_key: str = "", *, nobody: str = _NOBODY) -> None:
        self._address = address
        self._api_key = api_key
        self._nobody = nobody
        self._proxy = None if address.loopback else _proxy_of(address)

    @property
    def address(self) -> Address:
        """Where the server is."""
        return self._address

    def reachable(self) -> bool:
        """Whether anybody listens there. Raises Unreachable when that cannot be told, as with a name nobody knows."""
        try:
            with closing(self._connection()) as connection:
                connection.connect()
        except ConnectionRefusedError:
            return False
        except OSError as error:
            raise self._unreachable(error) from error
        return True

    def require(self) -> None:
        """Raise Unreachable unless somebody listens: for commands that would begin with other work."""
        if not self.reachable():
            raise Unreachable(self._nobody)

    def version(self, patience: float | None = None) -> str:
        """The server's version, or an empty text when it does not say within `patience` seconds.

        `/api/version` is what Ollama has; ours says there which Ollama it stands in for, and its own at `/health`.
        """
        for path in ("/health", "/api/version"):
            with contextlib.suppress(PowerError):
                answer = self.ask("GET", path, patience=patience)
                if answer.get("version"):
                    return one_line(str(answer["version"]))
        return ""

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        patience: float | None = None,
        read_float: Callable[[str], object] = float,
    ) -> dict[str, Any]:
        """The answer's JSON object, an empty one for nothing. Raises Unreachable, and Refused in the server's words."""
        with self._asked(method, path, body, "application/json", patience) as response:
            content = response.read()
        _check(response, content)
        try:
            answer = json.loads(content, parse_float=read_float) if content else None
        except ValueError as error:
            raise Refused(f"the server gave an answer that is not JSON: {error}", response.status) from error
        if not isinstance(answer, dict | None):
            raise Refused("the server gave an answer that is not a JSON object", response.status)
        return answer or {}

    def models(self, path: str, *, patience: float | None = None) -> list[dict[str, Any]]:
        """The models of a listing; each has a name, whatever else a server leaves out. Raises as `ask` does."""
        found = self.ask("GET", path, patience=patience).get("models") or []
        if not all(isinstance(each, dict) and isinstance(each.get("name"), str) for each in found):
            raise Refused("the server gave a list of models without their names")
        return found

    def stream(self, path: str, body: object) -> Generator[dict[str, Any], None, None]:
        """The lines of an answer as they come. Raises Refused, with the status in its text if nothing came before."""
        with self._asked("POST", path, body, "application/x-ndjson", None) as response:
            if response.status >= http.HTTPStatus.BAD_REQUEST:
                text, fields = _told(response.read())
                status = f"{response.status} {response.reason}"
                raise Refused(f"{status}: {text}" if text else status, response.status, fields)
            yield from map(_event, _lines(response))

    def has_blob(self, digest: str) -> bool:
        """Whether the server has a blob already."""
        with self._asked("HEAD", f"/api/blobs/{digest}", None, "application/json", None) as response:
            return response.status == http.HTTPStatus.OK

    @contextmanager
    def download(self, path: str, *, behind: int = 0) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Size in bytes, and the content as it comes; `behind` asks for no more than what lies behind so many bytes.

        Raises Refused, and Unreachable when it breaks off or stalls.
        """
        wanted = {"Range": f"bytes={behind}-"} if behind else {}
        with self._asked("GET", path, None, "*/*", _PATIENCE_SECONDS, more=wanted) as response:
            if response.status != (http.HTTPStatus.PARTIAL_CONTENT if behind else http.HTTPStatus.OK):
                content = response.read()
                _check(response, content)
                raise Refused(f"the server gave an answer that is no file: {response.status}", response.status)
            size = int(response.headers.get("Content-Length") or 0)
            yield size, self._content(response, size)

    def upload(self, path: str, pieces: Iterable[bytes], size: int) -> Generator[int, None, bytes]:
        """Send a body of `size` bytes; yields the bytes sent so far, again and again, and returns the answer's content.

        Raises Refused and Unreachable.
        """
        with self._errors(), closing(self._connection()) as connection:
            connection.putrequest("POST", self._path(path))
            for name, value in self._headers({"Content-Type": "application/octet-stream", "Content-Length": str(size)}):
                connection.putheader(name, value)
            connection.endheaders()
            yield from _sent(connection, pieces)
            with closing(connection.getresponse()) as response:
                content = response.read()
        _check(response, content)
        return content

    def _content(self, response: http.client.HTTPResponse, size: int) -> Iterator[bytes]:
        """The body in pieces. Unlike `read`, this notices one that breaks off."""
        with self._errors():
            while size:
                piece = response.read(min(size, _CHUNK_BYTES))
                if not piece:
                    raise http.client.IncompleteRead(b"", size)
                size -= len(piece)
                yield piece

    @contextmanager
    def _asked(
        self,
        method: str,
        path: str,
        body: object,
        accept: str,
        patience: float | None,
        *,
        more: Mapping[str, str] = _NONE,
    ) -> Iterator[http.client.HTTPResponse]:
        content = None if body is None else json.dumps(body).encode()
        headers = dict(self._headers({"Content-Type": "application/json", "Accept": accept, **more}))
        with self._errors(), closing(self._connection(patience)) as connection:
            connection.request(method, self._path(path), content, headers)
            with closing(connection.getresponse()) as response:
                yield response

    def _connection(self, patience: float | None = None) -> http.client.HTTPConnection:
        secure = self._address.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        if self._proxy is None:
            return kind(self._address.host, self._address.port, timeout=patience)
        connection = kind(self._proxy.url.host, self._proxy.url.port, timeout=patience)
        if secure:
            connection.set_tunnel(self._address.host, self._address.port, dict(self._for_proxy()))
        return connection

    def _path(self, path: str) -> str:
        """What a request line names: all of the address where a proxy must know it."""
        whole = self._proxy is not None and self._address.scheme == "http"
        return f"{self._address.url if whole else self._address.prefix}{path}"

    def _for_proxy(self) -> Iterator[tuple[str, str]]:
        if self._proxy is not None and self._proxy.authorization:
            yield "Proxy-Authorization", self._proxy.authorization

    def _headers(self, more: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        yield "User-Agent", f"a3s-power/{__version__} ({platform.machine()} {sys.platform})"
        yield from more.items()
        if self._address.scheme == "http":
            yield from self._for_proxy()
        if self._api_key:
            yield "Authorization", f"Bearer {self._api_key}"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: OSError | http.client.HTTPException) -> Unreachable:
        match error:
            case ConnectionRefusedError():
                return Unreachable(self._nobody)
            case socket.gaierror():
                return Unreachable(f"could not connect to {self._address.url}: no such host {self._address.host}")
            case http.client.RemoteDisconnected() | http.client.IncompleteRead() | ConnectionResetError():
                return Unreachable(f"the server at {self._address.url} ended the connection")
            case TimeoutError():
                return Unreachable(f"the server at {self._address.url} does not answer")
            case OSError():
                return Unreachable(f"could not connect to {self._address.url}: {error.strerror or error}")
        return Unreachable(f"{self._address.url} gave an answer that is not HTTP: {error!r}")


def _proxy_of(address: Address) -> "Proxy | None":
    """The proxy that the environment names for an address, `None` for none. Raises BadConfig for a bad one."""
    from a3s_power.registry.proxies import Proxies  # noqa: PLC0415 -- most servers are on this machine
    from a3s_power.registry.urls import Url  # noqa: PLC0415

    return Proxies(paths.environment()).of(Url.parse(address.url))


def pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """What a file holds from here on."""
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def _sent(connection: http.client.HTTPConnection, pieces: Iterable[bytes]) -> Iterator[int]:
    """Send the pieces. A server that does not want all of them has answered already, so that is no error."""
    sent = 0
    for piece in pieces:
        try:
            connection.send(piece)
        except (BrokenPipeError, ConnectionResetError):
            return
        sent += len(piece)
        yield sent


def connect() -> Client:
    """The server that the settings name. Raises BadConfig."""
    loaded = config.load(paths.config_file())
    if problem := loaded.warnings.get("OLLAMA_HOST"):
        print(f"Warning: OLLAMA_HOST: {problem}", file=sys.stderr)
    return Client(loaded.config.address.connectable, loaded.config.api_key)


def _check(response: http.client.HTTPResponse, content: bytes) -> None:
    """Raise Refused, in the server's own words, when the answer is an error."""
    if response.status >= http.HTTPStatus.BAD_REQUEST:
        text, fields = _told(content)
        raise Refused(text or _UNTOLD, response.status, fields)


def _told(content: bytes) -> tuple[str, dict[str, Any]]:
    """The `error` of a body and all that stands beside it, or the body itself when it is no such JSON."""
    try:
        body = json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace").strip(), {}
    return (str(body.get("error", "")), body) if isinstance(body, dict) else (content.decode("utf-8", "replace"), {})


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The answer cut at its line ends, as it comes. Unlike `readline`, this notices an answer that breaks off."""
    held = b""
    while piece := response.read1(_PIECE_BYTES):
        *lines, held = (held + piece).split(b"\n")
        if any(len(line) >= LINE_BYTES for line in (*lines, held)):
            raise Refused("the server sent a line that is too long")
        yield from lines
    if held:
        yield held


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError as error:
        raise Refused(f"the server sent a line that is not JSON: {error}") from error
    if not isinstance(event, dict):
        raise Refused("the server sent a line that is not a JSON object")
    if "error" in event:
        raise Refused(str(event["error"]), fields=event)
    return event
