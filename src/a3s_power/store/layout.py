"""Layout: where a name's manifest and a digest's blob lie. Only checked values become paths."""

from pathlib import Path
from typing import Final

from a3s_power.core.digests import Digest
from a3s_power.core.names import ModelName

FOLDER_MODE: Final = 0o755
FILE_MODE: Final = 0o644


class Layout:
    """The places of a models folder. `root` may be a link, and so may the two folders in it; nothing below may.

    A ModelName's parts and a Digest's digits can only name children, so no path leaves its folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.manifests = self.root / "manifests"
        self.blobs = self.root / "blobs"
        self.references = self.root / "references"
        self.lock = self.root / ".lock"

    def manifest(self, name: ModelName) -> Path:
        """The manifest of this name, whether or not it is there."""
        return self.manifests.joinpath(*name.parts)

    def blob(self, digest: Digest) -> Path:
        """The blob of this digest, whether or not it is there."""
        return self.blobs / digest.file_name
