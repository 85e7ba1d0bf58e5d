"""Control groups of Linux: the folders in which the limits of this process stand, version 1 and 2."""

from collections.abc import Iterator
from pathlib import Path


def folders(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's group and of all groups above it that exist, for one controller.

    A container often sees its own group as the topmost one while `/proc/self/cgroup` still has the host's path, so
    a folder that is not there is passed over.
    """
    mounts = root / "sys/fs/cgroup"
    for line in text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            yield from _upwards(mounts, path)
        elif controller in controllers.split(","):
            yield from _upwards(mounts / controller, path)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    for count in range(len(parts), -1, -1):
        folder = mount.joinpath(*parts[:count])
        if folder.is_dir():
            yield folder


def text(path: Path) -> str:
    """What a small file of the system says, empty where it is not there or may not be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def number(path: Path) -> int | None:
    """The number a file holds; `None` for no file, `max` and anything else."""
    content = text(path).strip()
    return int(content) if content.lstrip("-").isdecimal() else None
