"""Push: a model to a registry: what it does not have yet, in which order, and what is said meanwhile."""

from collections.abc import Callable
from typing import NamedTuple

from a3s_power.core.errors import BadRequest, InvalidName, ModelNotFound, StoreFailed
from a3s_power.core.events import Progress
from a3s_power.core.manifest import Layer
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Push
from a3s_power.registry import threads
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.client import Registry
from a3s_power.registry.exchange import Exchange
from a3s_power.registry.settings import Login
from a3s_power.registry.supply import Supply
from a3s_power.registry.transfer import PROGRESS_SECONDS
from a3s_power.registry.upload import Upload
from a3s_power.registry.urls import Url

Report = Callable[[Progress], None]


def push(request: Push, supply: Supply, report: Report, cancel: Cancel) -> None:
    """Publish a model. Blocks; `report` is called on the way.

    Raises:
        BadRequest: a destination that is none, or plain http that was not allowed.
        StoreFailed: there is no such model here.
        NotAllowed: an address that may not be called, or any address when offline.
        RegistryFailed: the registry does not take it; Cancelled.
    """
    report(Progress("retrieving manifest"))
    try:
        stored = supply.store.manifests.read(request.model)
    except ModelNotFound as error:
        report(Progress("couldn't retrieve manifest"))
        missing = "/".join(("manifests", *request.model.parts))
        raise StoreFailed(f"open {missing}: no such file or directory") from error
    name, scheme = _destination(request)
    base = supply.bases(name, scheme, insecure=request.insecure)[-1]
    login = Login(request.username, request.password) if request.username else None
    with supply.exchange() as exchange:
        work = _Work(supply, supply.registry(exchange, base, name, login), exchange, report, cancel)
        for layer in (*stored.manifest.layers, stored.manifest.config):
            _push_blob(layer, name, work)
        report(Progress("pushing manifest"))
        # Unchanged, so that the model has the same digest wherever it is.
        work.registry.put_manifest(name.tag, stored.content, stored.manifest.media_type, cancel)
    report(Progress("success"))


class _Work(NamedTuple):
    """Where a push works, and whom it tells."""

    supply: Supply
    registry: Registry
    exchange: Exchange
    report: Report
    cancel: Cancel


def _destination(request: Push) -> tuple[ModelName, str]:
    """The name under which the model is published, and the scheme, empty where nobody said it."""
    model, text = request.model, request.destination.strip().rstrip("/")
    scheme, separator, rest = text.rpartition("://")
    if not text:
        return model, ""
    if separator and scheme.lower() not in ("http", "https"):
        raise BadRequest(f"invalid destination {text[:200]!r}")
    host, slash, path = rest.partition("/")
    try:
        Url.parse(f"https://{host}")
        if not slash:
            return ModelName(host, model.namespace, model.model, model.tag), scheme.lower()
        if path.count("/") == 1:
            return ModelName.parse(f"{host}/{path}"), scheme.lower()
    except (InvalidName, BadRequest) as error:
        raise BadRequest(f"invalid destination {text[:200]!r}") from error
    raise BadRequest(f"invalid destination {text[:200]!r}")


def _push_blob(layer: Layer, name: ModelName, work: _Work) -> None:
    """Have the registry hold a layer's blob."""
    if not work.registry.has(layer.blob, work.cancel):
        upload = Upload(
            layer.blob,
            work.supply.store,
            work.registry,
            work.exchange,
            settings=work.supply.settings,
            throttle=work.supply.throttle,
            cancel=work.cancel,
        )
        _watched(upload, layer, _mountable(layer, name), work)
    work.report(_progress(layer, layer.size))


def _watched(upload: Upload, layer: Layer, mounted_from: str, work: _Work) -> None:
    """Run the upload, and tell how far it is. Raises what it raises."""
    problems: list[BaseException] = []

    def run() -> None:
        try:
            upload.run(mounted_from)
        # Raised again below.
        except BaseException as error:  # noqa: BLE001
            problems.append(error)

    thread = threads.start(run)
    told = -1
    while thread.is_alive():
        thread.join(PROGRESS_SECONDS)
        work.cancel.check()
        completed = upload.completed
        if completed not in (told, layer.size):
            told = completed
            work.report(_progress(layer, completed))
    for problem in problems:
        raise problem


def _mountable(layer: Layer, name: ModelName) -> str:
    """The repository of the same registry that may have the layer already; empty when nobody knows one."""
    try:
        source = ModelName.parse(layer.source)
    except InvalidName:
        return ""
    same = source.host.lower() == name.host.lower()
    return f"{source.namespace}/{source.model}" if same else ""


def _progress(layer: Layer, completed: int) -> Progress:
    return Progress(f"pushing {layer.blob.short}", layer.digest, layer.size, completed)
