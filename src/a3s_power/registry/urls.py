"""Url: an address to call, read so strictly that no two readers could disagree about whom it names. Pure."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final, NamedTuple, Self
from urllib.parse import parse_qsl, quote, urlencode, urljoin

from a3s_power.core.errors import BadRequest

_PORTS: Final = {"http": 80, "https": 443}
_FORM = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::([0-9]{1,5}))?(?=[/?]|$)([^#]*)(?:#.*)?", re.IGNORECASE
)
_LABELS = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PRINTABLE = re.compile(r"[!-~]+")
_CONFUSING: Final = frozenset('\\"<>^`{|}')
_IN_PATHS: Final = "/:@!$&'()*+,;=~"
_LONGEST: Final = 16_384
"""Characters of an address; signed ones of object stores have some two thousand."""


class Url(NamedTuple):
    """An http or https address. `host` is in lower case, an IPv6 one without brackets; `path` holds the query too."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address. Raises BadRequest for whatever another reader might take for something else."""
        form = _FORM.fullmatch(text) if len(text) <= _LONGEST and _PRINTABLE.fullmatch(text) else None
        if form is None or _CONFUSING & set(text):
            raise BadRequest(f"invalid URL {text[:200]!r}")
        scheme, port = form[1].lower(), int(form[3] or _PORTS[form[1].lower()])
        host = _host(form[2].lower())
        if host is None or not 0 < port < 65536:
            raise BadRequest(f"invalid URL {text[:200]!r}")
        return cls(scheme, host, port, form[4] if form[4].startswith("/") else f"/{form[4]}")

    @property
    def authority(self) -> str:
        """Host and, where it is not the scheme's own, port: what stands in a Host header."""
        return self.address.removesuffix(f":{_PORTS[self.scheme]}")

    @property
    def origin(self) -> str:
        """Scheme, host and port: whom secrets are for."""
        return f"{self.scheme}://{self.authority}"

    @property
    def address(self) -> str:
        """Host and port, the port always, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def bare(self) -> str:
        """The address without its query, which may hold a signature: what may be shown."""
        return f"{self.origin}{self.path.partition('?')[0]}"

    def join(self, location: str) -> Self:
        """Where a Location header of this address points. Raises BadRequest."""
        return self.parse(urljoin(str(self), location)) if _PRINTABLE.fullmatch(location) else self.parse(location)

    def below(self, *names: str) -> Self:
        """The address with more names behind its path; each is quoted, slashes in it stay."""
        return self._replace(path="/".join([self.path.rstrip("/"), *(quote(name, safe=_IN_PATHS) for name in names)]))

    def asking(self, values: Iterable[tuple[str, str]]) -> Self:
        """The address with these values in its query, beside those it has, all sorted by name as Go does."""
        path, _, query = self.path.partition("?")
        every = [*parse_qsl(query, keep_blank_values=True), *values]
        return self._replace(path=f"{path}?{urlencode(sorted(every, key=lambda pair: pair[0]))}")

    def __str__(self) -> str:
        return f"{self.origin}{self.path}"


def _host(text: str) -> str | None:
    """The host, `None` for a form that readers understand differently: `127.1`, `0x7f.1`, an empty label."""
    if text.startswith("["):
        return _version(text[1:-1], 6)
    if _NUMBER.fullmatch(text.rstrip(".").rpartition(".")[2]):
        return _version(text, 4)
    return text.rstrip(".") if len(text) <= 253 and _LABELS.fullmatch(text) else None


def _version(text: str, version: int) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(address) if address.version == version else None
