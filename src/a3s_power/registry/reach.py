"""Reach: which addresses may be called, so that no answer from outside leads to a place inside. Pure."""

import ipaddress
from typing import Final, Literal

Kind = Literal["public", "private", "never"]

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Networks that no registry is in: this host, links, reserved ones; and where clouds keep their credentials.
_NEVER: Final[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]] = (
    *map(ipaddress.IPv4Network, ("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "224.0.0.0/3", "100.100.100.200/32")),
    *map(ipaddress.IPv6Network, ("::/128", "fe80::/10", "ff00::/8", "fd00:ec2::/32")),
)
_INSIDE_NAMES: Final = ("localhost", "local", "internal", "intranet", "lan", "home.arpa", "localdomain")

# What speaks no HTTP would take what we say for something else. Below 1024 these are the web's.
_WEB_PORTS: Final = frozenset({*range(80, 91), 443, 444, 591, *range(800, 900)})
_OTHER_SERVICES: Final = frozenset({2049, 3306, 5060, 5061, 5432, 6000, 6379, 6667, 6697, 11211, 27017})


def kind_of(address: str) -> Kind:
    """What an IP address is: of the public network, of somebody's own, or one that is never called.

    Addresses that carry another one (IPv4 in IPv6, 6to4, NAT64) are what that one is.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return kind_of(str(inner))
    if any(ip.version == network.version and ip in network for network in _NEVER):
        return "never"
    return "public" if ip.is_global else "private"


def kind_of_name(host: str) -> Kind:
    """The same of a host whose address somebody else looks up: names of inner networks count as private."""
    try:
        return kind_of(host)
    except ValueError:
        inside = "." not in host or any(host == name or host.endswith(f".{name}") for name in _INSIDE_NAMES)
        return "private" if inside else "public"


def is_other_service(port: int) -> bool:
    """Whether a port belongs to a service that speaks no HTTP."""
    return port in _OTHER_SERVICES or (port < 1024 and port not in _WEB_PORTS)
