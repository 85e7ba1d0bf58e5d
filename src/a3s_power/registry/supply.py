"""Supply: what every pull and push of this process shares: the way out, the downloads under way, key and settings."""

from collections.abc import Callable
from typing import Final

from a3s_power.core.errors import BadRequest
from a3s_power.core.names import ModelName
from a3s_power.registry.auth import Auth, KeyPair
from a3s_power.registry.client import Registry, user_agent
from a3s_power.registry.exchange import Exchange
from a3s_power.registry.outbound import Dial, Outbound, Resolve
from a3s_power.registry.settings import Login, Settings
from a3s_power.registry.throttle import Throttle
from a3s_power.registry.transfer import Downloads
from a3s_power.registry.urls import Url
from a3s_power.store import Store

_HUB: Final = "https://huggingface.co"
HUB_HOSTS: Final = frozenset({"hf.co", "huggingface.co"})


class Supply:
    """The world outside, for one store. Thread-safe.

    `resolve` and `dial` are those of `Outbound`. While `busy`, transfers step back.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        resolve: Resolve | None = None,
        dial: Dial | None = None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self.store: Final = store
        self.settings: Final = settings
        self.throttle: Final = Throttle(settings.bandwidth, busy=busy)
        self.downloads: Final = Downloads(store, settings, self.throttle)
        self._key = KeyPair(settings.key_file)
        self._outbound = Outbound(
            settings.environ, offline=settings.offline, patience=settings.patience, resolve=resolve, dial=dial
        )

    @property
    def hub(self) -> Url:
        """Where Hugging Face is: there, or at the mirror that HF_ENDPOINT names. Raises BadRequest for a bad one."""
        return Url.parse(self.settings.environ.get("HF_ENDPOINT") or _HUB)

    def exchange(self) -> Exchange:
        """A conversation with whoever is to be asked; the hub hears HF_TOKEN, and nobody else does."""
        exchange = Exchange(self._outbound, user_agent())
        hub, token = self.hub, self.settings.environ.get("HF_TOKEN", "").strip()
        if "HF_ENDPOINT" in self.settings.environ:
            exchange.add_home(hub)
        if token:
            exchange.remember(hub, f"Bearer {token}")
        return exchange

    def bases(self, name: ModelName, scheme: str, *, insecure: bool) -> list[Url]:
        """The addresses to ask for a model of this name, mirrors first. `scheme` is empty where nobody said it.

        Raises:
            BadRequest: plain http without `insecure`, or a host that no address can have.
        """
        if scheme == "http" and not insecure:
            raise BadRequest("insecure protocol http")
        if name.host.lower() in HUB_HOSTS:
            return [self.hub]
        own = Url.parse(f"{scheme or ('http' if insecure else 'https')}://{name.host}")
        return [*map(Url.parse, self.settings.mirrors.get(name.host.lower(), ())), own]

    def registry(self, exchange: Exchange, base: Url, name: ModelName, login: Login | None = None) -> Registry:
        """The repository of this model at a base address, which the user or who runs the server has named."""
        exchange.add_home(base)
        # By the address that is called: what a host wants to know is none of its mirror's business.
        auth = Auth(exchange, self._key, login or self.settings.logins.get(base.authority))
        return Registry(exchange, auth, base, f"{name.namespace}/{name.model}", self.settings.patience)
