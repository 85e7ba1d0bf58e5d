"""Digest: the sha256 of something, as text (`sha256:…`) and as file name (`sha256-…`)."""

import hashlib
import re
from typing import Self

import msgspec

from a3s_power.core.errors import InvalidDigest

_FORM = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")
_HEX = re.compile(r"[0-9a-f]{64}")


class Digest(msgspec.Struct, frozen=True, order=True):
    """A sha256 digest; `hex` is 64 lower-case digits, so that no digest can name another folder."""

    hex: str

    def __post_init__(self) -> None:
        if _HEX.fullmatch(self.hex) is None:
            raise InvalidDigest

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `sha256:` or `sha256-` and 64 hex digits. Raises InvalidDigest, and nothing else."""
        form = _FORM.fullmatch(text)
        if form is None:
            raise InvalidDigest
        return cls(form[1].lower())

    @classmethod
    def of(cls, content: bytes) -> Self:
        """The digest of `content`."""
        return cls(hashlib.sha256(content).hexdigest())

    @property
    def file_name(self) -> str:
        """How the blob's file is called."""
        return f"sha256-{self.hex}"

    @property
    def short(self) -> str:
        """The first twelve digits, as lists and progress lines show them."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"sha256:{self.hex}"
