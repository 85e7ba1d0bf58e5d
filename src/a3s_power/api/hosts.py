"""Hosts: by which names a request may call this server, so that a foreign name that points here finds nothing."""

import functools
import ipaddress
import re
from collections.abc import Iterable
from typing import Final, Literal

_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?|([0-9a-fA-F:]+)")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{0,253}")
_LOCAL_ENDINGS: Final = (".localhost", ".local", ".internal")
_PRIVATE: Final = tuple(
    ipaddress.ip_network(network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)

_KEPT: Final = 64
"""Headers whose answer is remembered: a server has few names."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Called = Literal["address", "name", "anything"]
"""By what a request called us: an IP address, a name, or we do not look."""


class Hosts:
    """Tells which `Host` headers are good. Bound to a loopback address the list is Ollama's; elsewhere everything is
    good unless `allowed` names hosts: then they are, beside that list.
    """

    def __init__(self, bound: str, allowed: Iterable[str], hostname: str, addresses: Iterable[str]) -> None:
        self._names = {name.lower() for name in (*allowed, hostname, "localhost", "")}
        self._addresses = {address for text in (*addresses, *self._names) if (address := _address(text))}
        self._looks = is_loopback(bound) or bool(set(allowed))
        self._judged = functools.lru_cache(_KEPT)(self._judge)

    def called(self, host: str) -> Called | None:
        """By what a `Host` header calls us; `None` when it may not."""
        return self._judged(host) if self._looks else "anything"

    def _judge(self, host: str) -> Called | None:
        form = _HOST.fullmatch(host)
        if form is None:
            return None
        name = form[3] or form[1].strip("[]")
        address = _address(name)
        if address is not None:
            return "address" if self._is_ours(address) else None
        return "name" if _NAME.fullmatch(name) and self._is_local(name.lower()) else None

    def _is_local(self, name: str) -> bool:
        return name in self._names or name.endswith(_LOCAL_ENDINGS)

    def _is_ours(self, address: Address) -> bool:
        if address.is_loopback or address.is_unspecified or address in self._addresses:
            return True
        return any(address in network for network in _PRIVATE)


def is_loopback(bound: str) -> bool:
    """Whether a server bound to this address is reachable from its own machine only."""
    address = _address(bound.strip("[]"))
    return bound.lower() == "localhost" or (address is not None and address.is_loopback)


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
