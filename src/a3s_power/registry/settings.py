"""Settings: the part of the configuration that pulls and pushes go by."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

PART_LEAST_BYTES: Final = 100_000_000
PART_MOST_BYTES: Final = 1_000_000_000
PARTS: Final = 16


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long, in seconds, and how often something is tried.

    `stall` is how long a transfer may go without a byte. Between two of the `tries` there are `pause` seconds, each
    time twice as many, up to `longest_pause`.
    """

    connect: float = 30.0
    answer: float = 60.0
    stall: float = 30.0
    tries: int = 6
    pause: float = 1.0
    longest_pause: float = 60.0

    def pause_after(self, tries: int, asked: float = 0.0) -> float:
        """Seconds to wait after so many failed tries, or as long as the other side asked for if that is longer."""
        return min(self.longest_pause, max(asked, self.pause * 2.0 ** (tries - 1)))


class Cutting(msgspec.Struct, frozen=True, kw_only=True):
    """How a blob is cut into parts: into `parts` of them, unless each would be smaller or larger than these bytes."""

    parts: int = PARTS
    least: int = PART_LEAST_BYTES
    most: int = PART_MOST_BYTES

    def size(self, total: int) -> int:
        """Bytes of a part of a blob of `total` bytes; the last one may be shorter."""
        return max(self.least, min(self.most, total // self.parts))


class Login(msgspec.Struct, frozen=True):
    """A name and password for a registry that asks for them."""

    name: str
    password: str


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What every transfer of this process goes by.

    `key_file` is our Ed25519 key, made when it is first needed. `environ` holds proxies, certificates, HF_TOKEN and
    HF_ENDPOINT. `mirrors` are base addresses to ask before a host, which is as it stands in a name; `logins` what plain
    registries want to know, by host and, where it is not the scheme's own, port. `bandwidth` is in bytes a second for
    all together, 0 for no limit.
    """

    key_file: Path
    environ: Mapping[str, str] = {}
    offline: bool = False
    mirrors: Mapping[str, tuple[str, ...]] = {}
    logins: Mapping[str, Login] = {}
    bandwidth: int = 0
    streams: int = 8
    patience: Patience = Patience()
    cutting: Cutting = Cutting()
