"""`a3s-power signin`, `signout`, `whoami`: what this installation is known by. There is no account service of ours."""

from pathlib import Path
from typing import Final

from a3s_power import config, paths
from a3s_power.cli.options import command
from a3s_power.cli.terminal import one_line

_NONE: Final = "A3S Power has no accounts: nothing is signed in to, and models run on your own machines."


@command("signin", most=0)
def signin(words: tuple[str, ...]) -> None:  # noqa: ARG001 -- it takes none
    """Say that there is nothing to sign in to, and what stands in for it."""
    print(_NONE)
    print("To push to a registry that knows Ollama's keys, register this machine's public key there:\n")
    print(_public_key())


@command("signout", most=0)
def signout(words: tuple[str, ...]) -> None:  # noqa: ARG001
    """Say that nobody is signed in."""
    print(_NONE)
    print(f"The key of this machine stays at {_key_file()}; remove that file and another is made.")


@command("whoami", most=0)
def whoami(words: tuple[str, ...]) -> None:  # noqa: ARG001
    """Print the public key that registries know this machine by."""
    print(_public_key())


def _key_file() -> Path:
    return paths.places(data_dir=config.load(paths.config_file()).config.data_dir).key


def _public_key() -> str:
    file = _key_file().with_suffix(".pub")
    try:
        return one_line(file.read_text("utf-8").strip())
    except OSError:
        return f"No key yet: the first push or pull that needs one makes it ({file})."
