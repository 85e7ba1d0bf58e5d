"""Backends: what kinds of graphics processor an engine's native code was built for, read from its files unloaded."""

import functools
import importlib.util
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from a3s_power.engines import ENGINES

_LINKED: Final = {
    "cuda": ("libcuda", "libcudart", "libcublas"),
    "rocm": ("libamdhip64", "libhipblas", "librocblas"),
    "vulkan": ("libvulkan",),
}
"""How the libraries begin that code for each kind is linked with."""
_PROGRAM_HEADER: Final = struct.Struct("<IIQQQQQQ")
_DYNAMIC: Final = struct.Struct("<QQ")
_LOADED, _LINKING = 1, 2
_END, _NEEDED, _STRINGS = 0, 1, 5
_LONGEST_NAME: Final = 256


@functools.cache
def of_package(name: str) -> frozenset[str]:
    """The kinds that a Python package's native code runs on; none for one that is not here, or for processors only."""
    spec = importlib.util.find_spec(name)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec is not None else []
    if folders and sys.platform == "darwin":
        return frozenset({"metal"})
    return frozenset(kind for folder in folders for file in folder.rglob("*.so*") for kind in of_file(file))


def of_choice(engine: str, program: str = "") -> frozenset[str]:
    """The kinds that an engine of the table runs on: as its package has them, or the program that it drives."""
    if program:
        return of_program(Path(program))
    library = ENGINES[engine].requires if engine in ENGINES else ""
    return of_package(library) if library else frozenset()


def of_program(path: Path) -> frozenset[str]:
    """The kinds that a program of llama.cpp runs on: its own and those of its libraries, which lie beside it.

    `other` stands for what a script starts: nobody can tell.
    """
    if sys.platform == "darwin":
        return frozenset({"metal"})
    folder = path.resolve().parent
    libraries = [file for where in (folder, folder.parent / "lib") for file in where.glob("libggml*.so*")]
    kinds = frozenset(kind for file in (path, *libraries) for kind in of_file(file))
    return kinds | {"other"} if _is_script(path) else kinds


def _is_script(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def of_file(path: Path) -> frozenset[str]:
    """The kinds that a program or library of Linux is linked for; none for a file that is something else."""
    try:
        with path.open("rb") as file:
            needed = list(_needed(file))
    except (OSError, struct.error, ValueError):
        return frozenset()
    return frozenset(kind for kind, names in _LINKED.items() if any(name.startswith(names) for name in needed))


def _needed(file: BinaryIO) -> Iterator[str]:
    """The libraries that an ELF file of 64 bits wants loaded with it (System V ABI, chapter 5)."""
    start = file.read(64)
    if start[:6] != b"\x7fELF\x02\x01":
        return
    (offset,), (size, count) = struct.unpack_from("<Q", start, 32), struct.unpack_from("<HH", start, 54)
    headers = [_PROGRAM_HEADER.unpack(_read(file, offset + size * each, _PROGRAM_HEADER.size)) for each in range(count)]
    entries = [entry for header in headers if header[0] == _LINKING for entry in _entries(file, header[2], header[5])]
    strings = next((value for tag, value in entries if tag == _STRINGS), 0)
    at = next((head[2] + strings - head[3] for head in headers if head[0] == _LOADED and _holds(head, strings)), 0)
    for tag, value in entries:
        if tag == _NEEDED and at:
            yield _read(file, at + value, _LONGEST_NAME).partition(b"\0")[0].decode("utf-8", "replace")


def _holds(header: tuple[int, ...], address: int) -> bool:
    return header[3] <= address < header[3] + header[5]


def _entries(file: BinaryIO, offset: int, size: int) -> Iterator[tuple[int, int]]:
    for tag, value in _DYNAMIC.iter_unpack(_read(file, offset, size // _DYNAMIC.size * _DYNAMIC.size)):
        if tag == _END:
            return
        yield tag, value


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
