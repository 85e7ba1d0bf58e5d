"""Where things live on this machine: the base folder and what is in it. Every command imports it."""

import os
from pathlib import Path
from typing import NamedTuple


class Places(NamedTuple):
    """The folders of one installation, as absolute paths."""

    base: Path
    models: Path

    @property
    def speeds(self) -> Path:
        """How fast each model reads prompts here, as measured."""
        return self.base / "speeds.json"

    @property
    def engines(self) -> Path:
        """Engines that were built for this machine."""
        return self.base / "engines"

    @property
    def responses(self) -> Path:
        """Responses that are kept for those who go on from them."""
        return self.base / "responses.db"

    @property
    def key(self) -> Path:
        """The key pair that registries know this installation by."""
        return self.base / "id_ed25519"

    @property
    def prompts(self) -> Path:
        """What models had read when they left memory, for when they come back."""
        return self.base / "prompts"

    @property
    def logs(self) -> Path:
        """Logs of servers that nobody watches."""
        return self.base / "logs"


def variable(name: str) -> str:
    """An environment variable without blanks and quotes around it, as Ollama reads them; empty when it is not set."""
    return os.environ.get(name, "").strip().strip("\"'")


def environment() -> dict[str, str]:
    """The environment of this process, for those who start others."""
    return dict(os.environ)


def base_folder() -> Path:
    """`~/.a3s/power`, or what A3S_POWER_HOME names."""
    named = variable("A3S_POWER_HOME")
    return _folder(named) if named else Path.home() / ".a3s" / "power"


def config_file() -> Path:
    """The file of settings, whether it exists or not."""
    return base_folder() / "config.toml"


def places(*, data_dir: str = "", models: str = "") -> Places:
    """The folders in force: `data_dir` replaces the base folder, `models` the models folder, unless they are empty."""
    base = _folder(data_dir) if data_dir else base_folder()
    return Places(base, _folder(models) if models else base / "models")


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()
