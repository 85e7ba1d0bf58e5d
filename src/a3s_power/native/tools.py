"""What a build takes: a compiler, cmake and ninja, toolkits of graphics cards, and how what lacks is installed."""

import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from a3s_power.core.errors import NotSupported, PowerError
from a3s_power.native.shelf import Backend

TOOLKITS: Final[dict[Backend, tuple[str, str]]] = {
    "cpu": ("", ""),
    "cuda": ("nvcc", "-DGGML_CUDA=ON"),
    "hip": ("hipcc", "-DGGML_HIP=ON"),
}
"""For what an engine is built: the toolkit's compiler, and cmake's flag."""
_CARDS: Final[dict[Backend, str]] = {"cuda": "nvidiactl", "hip": "kfd"}
"""Devices that are there where a card of that kind is."""

_COMPILERS: Final = ("c++", "g++", "clang++")
_INSTALL: Final = {
    "debian": "apt install g++",
    "fedora": "dnf install gcc-c++",
    "rhel": "dnf install gcc-c++",
    "arch": "pacman -S gcc",
    "suse": "zypper install gcc-c++",
    "alpine": "apk add g++ linux-headers",
    "darwin": "xcode-select --install",
}
"""What brings a compiler, by a system's name or that of one it is like."""


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of the programs, empty where there is none; `backend` is what the engine is built for."""

    compiler: str
    cmake: str
    ninja: str
    backend: Backend


def find(environ: Mapping[str, str], backend: Backend | None = None, root: Path = Path("/")) -> Tools:
    """The tools on the search path; without a word on it, for the card that is there with its toolkit.

    Raises:
        NotSupported: no compiler, or not the toolkit that was asked for; it says what to install.
    """
    path = environ.get("PATH", "")

    def which(name: str) -> str:
        return shutil.which(name, path=path) or ""

    compiler = which(environ["CXX"]) if environ.get("CXX") else next(filter(None, map(which, _COMPILERS)), "")
    if not compiler:
        raise NotSupported(f"a build takes a C++ compiler, and there is none: {advice(root)}")
    card: Backend = next((kind for kind in _CARDS if which(TOOLKITS[kind][0]) and _card(kind, root)), "cpu")
    wanted = backend or card
    toolkit = TOOLKITS[wanted][0]
    if toolkit and not which(toolkit):
        raise NotSupported(f"a build for {wanted} takes its toolkit, and {toolkit} is not there: install it first")
    return Tools(compiler=compiler, cmake=which("cmake"), ninja=which("ninja"), backend=wanted)


def _card(kind: Backend, root: Path) -> bool:
    return (root / "dev" / _CARDS[kind]).exists()


def advice(root: Path) -> str:
    """How a compiler is installed on this system."""
    if sys.platform == "darwin":
        return _INSTALL["darwin"]
    try:
        text = (root / "etc/os-release").read_text("utf-8")
    except OSError:
        text = ""
    said = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    names = f"{said.get('ID', '')} {said.get('ID_LIKE', '')}".replace('"', "").split()
    known = next((_INSTALL[name] for name in names if name in _INSTALL), "")
    return known or next((_INSTALL["suse"] for name in names if "suse" in name), "install g++ or clang++")


def completed(tools: Tools, folder: Path, environ: Mapping[str, str]) -> Tools:
    """With cmake and ninja: those that are not on the search path are installed by pip, into a folder that goes again.

    Raises:
        PowerError: pip could not.
    """
    missing = [name for name in ("cmake", "ninja") if not getattr(tools, name)]
    if not missing:
        return tools
    venv.create(folder, with_pip=False, symlinks=True)
    programs = folder / "bin"
    command = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--quiet", *missing]
    ran = subprocess.run(  # noqa: S603 -- a list of ours
        command, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if ran.returncode != 0:
        raise PowerError(
            f"a build takes {' and '.join(missing)}; pip could not install it: {ran.stderr.strip()[-300:]}"
        )
    return msgspec.structs.replace(tools, **{name: str(programs / name) for name in missing})
