"""Weights: how many turns a client takes where others take one, by the key it sends or by its address."""

import hashlib
import ipaddress
import re
from collections.abc import Iterable
from typing import Final, Self

import msgspec

from a3s_power.core.errors import BadConfig

_WORD: Final = re.compile(r"(?:sha256:([0-9a-f]{12,64})|([0-9a-fA-F.:]+(?:/[0-9]+)?))=([1-9][0-9]{0,2})")
_SCHEME: Final = "bearer "

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Weights(msgspec.Struct, frozen=True):
    """Weights by how the SHA-256 of a key begins, in hex, and by network, the narrowest first."""

    keys: tuple[tuple[str, int], ...] = ()
    networks: tuple[tuple[Network, int], ...] = ()

    @classmethod
    def parse(cls, words: Iterable[str]) -> Self:
        """Read `ADDRESS=WEIGHT`, `NETWORK/BITS=WEIGHT` and `sha256:HEX=WEIGHT`, weights from 1 to 999.

        Raises:
            BadConfig: a word of another form.
        """
        keys, networks = [], []
        for word in words:
            match _WORD.fullmatch(word.strip()):
                case re.Match() as form if form[1]:
                    keys.append((form[1], int(form[3])))
                case re.Match() as form:
                    networks.append((_network(form[2], word), int(form[3])))
                case None:
                    raise _unreadable(word)
        return cls(tuple(keys), tuple(sorted(networks, key=lambda one: -one[0].prefixlen)))

    def of(self, address: str, key: bytes = b"") -> int:
        """The weight of who sends this key from there, 1 unless one was given; the key's goes before the address's."""
        if key and self.keys:
            digest = hashlib.sha256(_bare(key)).hexdigest()
            for beginning, weight in self.keys:
                if digest.startswith(beginning):
                    return weight
        return self._of_address(address) if self.networks else 1

    def _of_address(self, address: str) -> int:
        try:
            at: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address)
        except ValueError:
            return 1
        # A socket that serves both families tells IPv4 addresses in the other's form.
        if isinstance(at, ipaddress.IPv6Address) and at.ipv4_mapped is not None:
            at = at.ipv4_mapped
        return next((weight for network, weight in self.networks if at in network), 1)


def _bare(header: bytes) -> bytes:
    """The key of a header's value, which may name a scheme before it."""
    scheme = header[: len(_SCHEME)].decode("latin-1").lower()
    return header[len(_SCHEME) :].strip() if scheme == _SCHEME else header


def _network(text: str, word: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise _unreadable(word) from None


def _unreadable(word: str) -> BadConfig:
    form = "ADDRESS=WEIGHT, NETWORK/BITS=WEIGHT or sha256:HEX=WEIGHT (12 digits at least, weights of 1 to 999)"
    return BadConfig(f"weights: {word!r} is not of the form {form}")
