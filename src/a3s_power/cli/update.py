"""`a3s-power update`: which version this is, how it came here, and the command that brings a newer one."""

import importlib.metadata
import json
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

from a3s_power import __version__
from a3s_power.cli.options import command

_PACKAGE = "a3s-power"


class Installed(NamedTuple):
    """How the package came here, and the command that updates it."""

    by: str
    update: str


@command("update", most=0)
def update(words: tuple[str, ...]) -> None:  # noqa: ARG001 -- it takes none
    """Print them; nothing is fetched and nothing is installed."""
    installed = how_installed(sys.prefix, _editable())
    print(f"{_PACKAGE} {__version__}, {installed.by}")
    print(f"To update it:\n\n  {installed.update}\n")
    print("Nothing was changed: updates are installed by the tool that installed this one, which checks them.")


def how_installed(prefix: str, sources: Path | None) -> Installed:
    """By the folder of Python's installation, or that of the sources where the package is used from there."""
    if sources is not None:
        where = shlex.quote(str(sources))
        return Installed(f"from the sources in {sources}", f"git -C {where} pull && {where}/scripts/install")
    parts = Path(prefix).parts
    if "pipx" in parts:
        return Installed("by pipx", f"pipx upgrade {_PACKAGE}")
    if "uv" in parts and "tools" in parts:
        return Installed("by uv", f"uv tool upgrade {_PACKAGE}")
    return Installed(f"by pip in {prefix}", f"{shlex.quote(sys.executable)} -m pip install --upgrade {_PACKAGE}")


def _editable() -> Path | None:
    """The folder of the sources, by what pip wrote down; `None` where the package is installed apart from them."""
    try:
        text = importlib.metadata.distribution(_PACKAGE).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return Path(__file__).parents[3]
    said = json.loads(text) if text else {}
    if not said.get("dir_info", {}).get("editable"):
        return None
    return Path(str(said.get("url", "")).removeprefix("file://"))
