"""Long work on this machine's store: models made, pulled and pushed."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from a3s_power.core.errors import ModelNotFound, NotSupported
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Create, Pull, Push
from a3s_power.create.build import build
from a3s_power.create.checks import check_request
from a3s_power.create.child import Children
from a3s_power.prompt.gotemplate import parse
from a3s_power.registry.settings import Settings
from a3s_power.service.ports import Events
from a3s_power.service.told import Report, told
from a3s_power.store import Store

if TYPE_CHECKING:
    from a3s_power.registry.cancel import Cancel
    from a3s_power.registry.supply import Supply


def check_template(text: str) -> None:
    """Raise BadTemplate when `text` is no Go template."""
    parse(text)


def check_config(content: bytes) -> str:
    """What is to be told of safetensors with this config.json. Raises BadFile where no model can be made of them."""
    from a3s_power.create.convert.families import check  # noqa: PLC0415 -- most models are GGUFs

    return check(content)


def _but_success(report: Report) -> Report:
    """For the first half of something: that it succeeded is not the end."""
    return lambda told: None if told.status == "success" else report(told)


class LocalTransfers:
    """Transfers of this machine.

    `environ` is the environment of the processes that help with making models; `registry` is what pulls and pushes go
    by, `None` where there are none. They step back while anybody is being answered, which `busy` says in any thread.
    """

    def __init__(
        self,
        store: Store,
        environ: Mapping[str, str] | None = None,
        registry: Settings | None = None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._environ = environ
        self._registry = registry
        self._busy = busy
        self._shared: Supply | None = None

    def create(self, request: Create) -> Events:
        """Make a model. The one it is made from is pulled first if it is not here.

        A client that leaves ends long work, and nothing is made; what is nearly done is done.
        """
        from a3s_power.registry.cancel import Cancel  # noqa: PLC0415 -- as in pull

        children, cancel = Children(self._environ), Cancel()

        def make(report: Report) -> None:
            if request.source is not None and self._registry is not None:
                self._bring(request.source, request, report, cancel, children)
            self._build(request, report, children)

        def stop() -> None:
            children.end()
            cancel.ask()

        return told(make, stop)

    def _bring(self, source: ModelName, request: Create, report: Report, cancel: "Cancel", children: Children) -> None:
        """Pull the model that another one is made from, unless it is here or the request is to be refused anyway."""
        try:
            self._store.models.read(source)
        except ModelNotFound:
            check_request(request)
            self._pull(Pull(source=source.full), _but_success(report), cancel, children)

    def pull(self, request: Pull) -> Events:
        """Bring a model here. A client that leaves ends it, and what has come of large blobs stays for a next time."""
        from a3s_power.registry.cancel import Cancel  # noqa: PLC0415 -- the network side, when it is first needed

        children, cancel = Children(self._environ), Cancel()

        def stop() -> None:
            children.end()
            cancel.ask()

        return told(lambda report: self._pull(request, report, cancel, children), stop)

    def _pull(self, request: Pull, report: Report, cancel: "Cancel", children: Children) -> None:
        from a3s_power.registry.pull import pull  # noqa: PLC0415 -- as in pull

        def assemble(name: ModelName, files: Mapping[str, str], report: Report) -> None:
            self._build(Create(model=name, files=dict(files)), report, children)

        pull(request, self._supply(), report, cancel, assemble, check=check_config)

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
            self._shared = Supply(self._store, self._registry, busy=self._busy)
        return self._shared

    def _build(self, request: Create, report: Report, children: Children) -> ModelName:
        return build(request, self._store, report, check_template=check_template, children=children)
