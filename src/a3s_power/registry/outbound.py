"""Outbound: the one place where sockets to elsewhere are made, and where it is decided whether they may be."""

import errno
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from a3s_power.core.errors import NotAllowed, Unreachable
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.proxies import Proxies, Proxy
from a3s_power.registry.reach import Kind, is_other_service, kind_of, kind_of_name
from a3s_power.registry.settings import Patience
from a3s_power.registry.urls import Url

# Where systems keep their certificates whose Python does not know it.
_SPARE_CERTIFICATES: Final = Path("/etc/ssl/cert.pem")

_NOT_CONNECTED: Final = frozenset({errno.ENOTCONN, errno.EINVAL})
_UNKNOWN_HOST: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})

Resolve = Callable[[str, int], list[str]]
Dial = Callable[[socket.socket, str, int], None]


class Unconnected(Unreachable):
    """There is no connection to be had: it did not break, it never was."""


class Place(NamedTuple):
    """Where a host is, as far as it may be called: its addresses, and whether they are the public network's."""

    addresses: tuple[str, ...]
    kind: Kind


class Connected(NamedTuple):
    """A connection. `through` is the proxy that wants whole addresses in requests, where there is one."""

    socket: socket.socket
    through: Proxy | None = None


class Outbound:
    """The way out of this machine. Thread-safe.

    With `offline` nothing is looked up and no socket is made. `resolve` and `dial` are the system's own ways to look a
    name up and to connect; they are parameters so that a test can have a public network of its own.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        offline: bool = False,
        patience: Patience | None = None,
        resolve: Resolve | None = None,
        dial: Dial | None = None,
    ) -> None:
        self._offline = offline
        self._environ = environ
        self._proxies = Proxies(environ)
        self._patience = patience or Patience()
        self._resolve = resolve or _resolve
        self._dial = dial or _dial
        self._context: ssl.SSLContext | None = None
        self._mutex = threading.Lock()

    def check(self, url: Url) -> None:
        """Raise NotAllowed when nothing may be called at all."""
        if self._offline:
            raise NotAllowed(f"offline: {url.host} was not asked")

    def locate(self, url: Url, *, own: bool) -> Place | None:
        """Where the host is; `None` where a proxy will find it. `own` is true of what the user named.

        Raises:
            NotAllowed: an address that may not be called: one inside, unless it is `own`, or one that nobody may call.
            Unconnected: the host has no address.
        """
        self.check(url)
        if is_other_service(url.port):
            raise NotAllowed(f"port {url.port} of {url.host} may not be called")
        if self._proxies.of(url) is not None:
            _allowed([kind_of_name(url.host)], url, own=own)
            return None
        found = [(address, kind_of(address)) for address in self._looked_up(url)]
        allowed = _allowed([kind for _, kind in found], url, own=own)
        return Place(tuple(address for address, kind in found if kind in allowed), allowed[0])

    def _looked_up(self, url: Url) -> list[str]:
        try:
            return self._resolve(url.host, url.port)
        except OSError as error:
            raise Unconnected(f"dial tcp: lookup {url.host}: {reason(error)}") from error

    def connect(self, url: Url, place: Place | None, cancel: Cancel) -> Connected:
        """A connection to the host, where `locate` found it.

        Raises:
            Unconnected: none of its addresses answered, or it could not prove who it is.
        """
        self.check(url)
        context = self._tls() if url.scheme == "https" else None
        proxy = self._proxies.of(url)
        if proxy is not None:
            bare = self._dialled(tuple(self._looked_up(proxy.url)), proxy.url, cancel)
            if context is None:
                return Connected(bare, proxy)
            with cancel.closing(partial(shut, bare)):
                _tunnel(bare, url, proxy)
        else:
            bare = self._dialled(place.addresses if place else (), url, cancel)
        return Connected(bare if context is None else _secured(bare, context, url, cancel))

    def _dialled(self, addresses: tuple[str, ...], url: Url, cancel: Cancel) -> socket.socket:
        problem = f"dial tcp: lookup {url.host}: no such host"
        for address in addresses:
            try:
                return self._connected(address, url.port, self._patience.connect / len(addresses), cancel)
            except OSError as error:
                problem = f"dial tcp {url._replace(host=address).address}: {reason(error)}"
        raise Unconnected(problem)

    def _connected(self, address: str, port: int, seconds: float, cancel: Cancel) -> socket.socket:
        """A connection to one address. Raises OSError and Cancelled."""
        bare = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            bare.settimeout(seconds)
            with cancel.closing(partial(shut, bare)):
                # What is not connected yet cannot be broken: whoever gave up before must be heard here.
                cancel.check()
                self._dial(bare, address, port)
            bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            bare.settimeout(self._patience.answer)
        except BaseException:
            bare.close()
            raise
        return bare

    def _tls(self) -> ssl.SSLContext:
        """What certificates are checked with: the system's, and those that SSL_CERT_FILE and SSL_CERT_DIR name."""
        with self._mutex:
            if self._context is None:
                context = ssl.create_default_context()
                context.set_alpn_protocols(["http/1.1"])
                context.sslsocket_class = Secured
                if not context.cert_store_stats()["x509_ca"] and _SPARE_CERTIFICATES.is_file():
                    context.load_verify_locations(_SPARE_CERTIFICATES)
                file, folder = self._environ.get("SSL_CERT_FILE"), self._environ.get("SSL_CERT_DIR")
                if file or folder:
                    try:
                        context.load_verify_locations(file or None, folder or None)
                    except OSError as error:
                        raise Unconnected(f"SSL_CERT_FILE or SSL_CERT_DIR cannot be read: {reason(error)}") from error
                self._context = context
            return self._context


class Secured(ssl.SSLSocket):
    """A socket with TLS that is closed when it is found broken while it is made.

    The standard library takes the bare socket over and reads from it to learn whether it is connected at all; what was
    reset before that it would leave open, with nobody to close it.
    """

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """As ever. Raises OSError."""
        try:
            return super().recv(buflen, flags)
        except OSError as error:
            if self.version() is None and error.errno not in _NOT_CONNECTED:
                self.close()
            raise


def _secured(bare: socket.socket, context: ssl.SSLContext, url: Url, cancel: Cancel) -> socket.socket:
    try:
        secured = context.wrap_socket(bare, server_hostname=url.host, do_handshake_on_connect=False)
    except (OSError, ValueError) as error:
        bare.close()
        raise Unconnected(f"tls: {reason(error)}") from error
    try:
        with cancel.closing(partial(shut, secured)):
            secured.do_handshake()
    except ssl.SSLCertVerificationError as error:
        secured.close()
        raise Unconnected(f"tls: failed to verify certificate: {error.verify_message}") from error
    except (OSError, ValueError) as error:
        secured.close()
        raise Unconnected(f"tls: {reason(error)}") from error
    return secured


def _allowed(kinds: list[Kind], url: Url, *, own: bool) -> list[Kind]:
    """The kinds that may be called, of those a host has. Raises NotAllowed when that is none."""
    permitted: tuple[Kind, ...] = ("public", "private") if own else ("public",)
    allowed = [kind for kind in kinds if kind in permitted]
    if not allowed:
        raise NotAllowed(f"redirect not allowed: {url.host}" if not own else f"address not allowed: {url.host}")
    return allowed


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _dial(bare: socket.socket, address: str, port: int) -> None:
    bare.connect((address, port))


def _tunnel(bare: socket.socket, url: Url, proxy: Proxy) -> None:
    """Have the proxy connect us to the host. Raises Unconnected."""
    lines = [f"CONNECT {url.address} HTTP/1.1", f"Host: {url.address}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    answer = http.client.HTTPResponse(bare, method="CONNECT")
    try:
        # Until the answer is closed, closing the socket would not close it.
        with closing(answer):
            bare.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            answer.begin()
    except (OSError, http.client.HTTPException) as error:
        bare.close()
        raise Unconnected(f"proxyconnect tcp: {reason(error)}") from error
    if answer.status != http.client.OK:
        bare.close()
        raise Unconnected(f"proxyconnect tcp: {answer.status} {answer.reason}")


def shut(connected: socket.socket) -> None:
    """Break a connection under whoever waits for it, in whatever thread."""
    # An SSLSocket's own `shutdown` would have its reader take ciphertext for content.
    with suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def reason(error: Exception) -> str:
    """Why, as Go says it: `connect: connection refused`, `i/o timeout`, `no such host`."""
    match error:
        case TimeoutError():
            return "i/o timeout"
        case socket.gaierror():
            return "no such host" if error.errno in _UNKNOWN_HOST else str(error.strerror)
        case ConnectionRefusedError():
            return "connect: connection refused"
        case ConnectionResetError():
            return "connection reset by peer"
        case OSError() if error.strerror:
            return error.strerror.lower()
    return str(error) or type(error).__name__
