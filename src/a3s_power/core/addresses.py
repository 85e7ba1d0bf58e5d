"""Address: where the server is, read from every form that OLLAMA_HOST may have."""

import re
from typing import Final, NamedTuple, Self

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 11434

_SCHEME_PORTS: Final = {"http": 80, "https": 443}
_HIGHEST_PORT: Final = 65535
_PORT = re.compile(r"[0-9]{1,9}")


class Address(NamedTuple):
    """A server's address. `prefix` is a path before all of the server's own, such as `/ollama`, or empty.

    An empty `host` means every interface of this machine.
    """

    scheme: str = "http"
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    prefix: str = ""

    @property
    def url(self) -> str:
        """As a URL, without a slash at its end."""
        return f"{self.scheme}://{self.authority}{self.prefix}"

    @property
    def authority(self) -> str:
        """`host:port`, an IPv6 address in its brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        numbers = self.host.split(".")
        in_127 = len(numbers) == 4 and numbers[0] == "127" and all(number.isdecimal() for number in numbers)
        return in_127 or self.host.lower() in ("localhost", "::1")

    @property
    def connectable(self) -> Self:
        """The same, with a host one can connect to where this one means every interface."""
        instead = {"": DEFAULT_HOST, "0.0.0.0": DEFAULT_HOST, "::": "::1"}  # noqa: S104 -- compared, not bound
        return self._replace(host=instead.get(self.host, self.host))


class Said(NamedTuple):
    """What a text says of an address. `port` is `None` where it names none; `problem` tells what of it was ignored."""

    scheme: str
    host: str
    port: int | None
    prefix: str
    problem: str = ""

    def over(self, address: Address) -> Address:
        """The address with all that is said here in its place."""
        port = address.port if self.port is None else self.port
        return Address(self.scheme, self.host, port, self.prefix)


def read_address(text: str) -> Said:
    """Read `[scheme://][host][:port][/path]` as Ollama does: never fails, an unusable port is reported and left out."""
    scheme, separator, rest = text.strip().rpartition("://")
    if rest == "ollama.com" and not separator:
        scheme, rest = "https", "ollama.com:443"
    authority, slash, path = rest.partition("/")
    host, port_text = _split(authority)
    implied = _SCHEME_PORTS.get(scheme)
    port, problem = implied, ""
    if port_text is not None:
        port = int(port_text) if _PORT.fullmatch(port_text) else _HIGHEST_PORT + 1
        if port > _HIGHEST_PORT:
            port, problem = implied, f"invalid port {port_text!r}, using {implied or DEFAULT_PORT}"
    prefix = f"{slash}{path}".rstrip("/")
    return Said(scheme or "http", host, port, prefix, problem)


def _split(authority: str) -> tuple[str, str | None]:
    """Host and port of `host:port`; an IPv6 address needs no brackets when no port follows."""
    if authority.startswith("["):
        host, _, rest = authority[1:].partition("]")
        return host, rest[1:] if rest.startswith(":") else None
    if authority.count(":") > 1:
        return authority, None
    host, colon, port = authority.partition(":")
    if not colon:
        return host or DEFAULT_HOST, None
    return host, port
