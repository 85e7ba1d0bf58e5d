"""Proxies: which one an address is reached through, by the variables everybody knows. Pure."""

import base64
import ipaddress
import re
from collections.abc import Mapping
from typing import Final, NamedTuple, Self
from urllib.parse import unquote

from a3s_power.core.errors import BadConfig, BadRequest
from a3s_power.registry.urls import Url

_WITH_PORT = re.compile(r"(\[[^\]]+\]|[^:]+):([0-9]{1,5})")
_VARIABLES: Final = ("https_proxy", "http_proxy", "no_proxy")


class Proxy(NamedTuple):
    """A proxy: where it is, and the value of the Proxy-Authorization header, empty without a password."""

    url: Url
    authorization: str = ""

    @classmethod
    def parse(cls, variable: str, text: str) -> Self:
        """Read `[http://][user:password@]host[:port]`. Raises BadConfig for what cannot be used."""
        scheme, separator, rest = text.rpartition("://")
        login, _, address = rest.rpartition("@")
        if separator and scheme.lower() != "http":
            raise BadConfig(f"{variable}: proxies of kind {scheme!r} are not supported")
        try:
            url = Url.parse(f"http://{address}")
        except BadRequest:
            raise BadConfig(f"{variable}: invalid proxy address") from None
        secret = base64.b64encode(unquote(login).encode()).decode()
        return cls(url, f"Basic {secret}" if login else "")


class Proxies:
    """What HTTPS_PROXY, HTTP_PROXY and NO_PROXY say, in either case; this machine itself needs no proxy."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        said = {name: environ.get(name.upper()) or environ.get(name) or "" for name in _VARIABLES}
        # In a CGI program HTTP_PROXY is a header that a client sent.
        if "REQUEST_METHOD" in environ:
            said["http_proxy"] = environ.get("http_proxy", "")
        self._said = said
        self._exceptions = [word.strip().lower() for word in said["no_proxy"].split(",") if word.strip()]

    def of(self, url: Url) -> Proxy | None:
        """The proxy for an address, `None` where it is called directly. Raises BadConfig."""
        variable = f"{url.scheme}_proxy"
        if not self._said[variable] or _is_here(url.host) or any(_covers(rule, url) for rule in self._exceptions):
            return None
        return Proxy.parse(variable.upper(), self._said[variable])


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _covers(rule: str, url: Url) -> bool:
    """Whether a rule of NO_PROXY (`*`, a domain, an address, a network; with a port or without) means this address."""
    if rule == "*":
        return True
    if "/" in rule:
        return _in_network(rule, url.host)
    if with_port := _WITH_PORT.fullmatch(rule):
        if int(with_port[2]) != url.port:
            return False
        rule = with_port[1]
    rule = rule.strip("[]").removeprefix("*")
    bare = rule.removeprefix(".")
    return url.host.endswith(f".{bare}") or (url.host == bare and not rule.startswith("."))


def _in_network(rule: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        return False
