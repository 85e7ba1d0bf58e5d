"""What this machine's settings say about registries: for the server, and for commands that ask around themselves."""

from a3s_power import config, paths
from a3s_power.config import Config
from a3s_power.core.errors import BadConfig
from a3s_power.registry.catalogue import Catalogue
from a3s_power.registry.settings import Login, Settings
from a3s_power.registry.supply import Supply
from a3s_power.store import Store


def catalogue() -> Catalogue:
    """One that goes by this machine's settings. Raises BadConfig."""
    settings = config.load(paths.config_file()).config
    places = paths.places(data_dir=settings.data_dir, models=settings.models)
    return Catalogue(Supply(Store(places.models), registry_settings(settings)))


def registry_settings(settings: Config) -> Settings:
    """What every transfer goes by. Raises BadConfig."""
    return Settings(
        key_file=paths.places(data_dir=settings.data_dir, models=settings.models).key,
        environ=paths.environment(),
        offline=settings.offline,
        mirrors=mirrors(settings.mirrors),
        logins=logins(settings.logins),
        bandwidth=settings.bandwidth,
    )


def logins(words: tuple[str, ...]) -> dict[str, Login]:
    """What each host wants to know, from `HOST=NAME:PASSWORD`. Raises BadConfig, which does not repeat the secret."""
    found: dict[str, Login] = {}
    for number, word in enumerate(words, 1):
        host, _, login = word.partition("=")
        name, _, password = login.partition(":")
        if not host or not name or not password:
            raise BadConfig(f"logins: number {number} is not of the form HOST=NAME:PASSWORD")
        found[host.lower()] = Login(name, password)
    return found


def mirrors(words: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The base addresses to ask before each host, from `HOST=URL`. Raises BadConfig for a word without both."""
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        host, _, url = word.partition("=")
        if not host or not url:
            raise BadConfig(f"mirrors: {word!r} is not of the form HOST=URL")
        found[host] = (*found.get(host, ()), url)
    return found
