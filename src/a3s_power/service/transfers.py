"""Long work on this machine's store: models made, pulled and pushed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from a3s_power.core.errors import NotSupported
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Create, Pull, Push
from a3s_power.create.build import build
from a3s_power.create.child import Children
from a3s_power.prompt.gotemplate import parse
from a3s_power.registry.settings import Settings
from a3s_power.service.ports import Events
from a3s_power.service.told import Report, told
from a3s_power.store import Store

if TYPE_CHECKING:
    from a3s_power.registry.supply import Supply


def check_template(text: str) -> None:
    """Raise BadTemplate when `text` is no Go template."""
    parse(text)


class LocalTransfers:
    """Transfers of this machine.

    `environ` is the environment of the processes that help with making models; `registry` is what pulls and pushes go
    by, `None` where there are none.
    """

    def __init__(
        self, store: Store, environ: Mapping[str, str] | None = None, registry: Settings | None = None
    ) -> None:
        self._store = store
        self._environ = environ
        self._registry = registry
        self._shared: Supply | None = None

    def create(self, request: Create) -> Events:
        """Make a model. A client that leaves ends long work, and nothing is made; what is nearly done is done."""
        children = Children(self._environ)
        return told(lambda report: self._build(request, report, children), children.end)

    def pull(self, request: Pull) -> Events:
        """Bring a model here. A client that leaves ends it, and what has come of large blobs stays for a next time."""
        from a3s_power.registry.cancel import Cancel  # noqa: PLC0415 -- the network side, when it is first needed
        from a3s_power.registry.pull import pull  # noqa: PLC0415 -- see above

        cancel = Cancel()
        return told(lambda report: pull(request, self._supply(), report, cancel, self._assemble), cancel.ask)

    def push(self, request: Push) -> Events:
        """Publish a model. A client that leaves ends it."""
        from a3s_power.registry.cancel import Cancel  # noqa: PLC0415 -- as in pull
        from a3s_power.registry.push import push  # noqa: PLC0415 -- see above

        cancel = Cancel()
        return told(lambda report: push(request, self._supply(), report, cancel), cancel.ask)

    def _supply(self) -> "Supply":
        """The way out, one for all, so that one download serves all who ask for it."""
        from a3s_power.registry.supply import Supply  # noqa: PLC0415 -- as in pull

        if self._registry is None:
            raise NotSupported("pulling and pushing models is not set up here")
        if self._shared is None:
            self._shared = Supply(self._store, self._registry)
        return self._shared

    def _assemble(self, name: ModelName, files: Mapping[str, str], report: Report) -> None:
        self._build(Create(model=name, files=dict(files)), report, Children(self._environ))

    def _build(self, request: Create, report: Report, children: Children) -> ModelName:
        return build(request, self._store, report, check_template=check_template, children=children)
