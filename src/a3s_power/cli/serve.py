"""`a3s-power serve`: the server, from its settings to its last child's end."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from a3s_power import __version__, config, log, paths
from a3s_power.api.app import build
from a3s_power.api.connection import Connection
from a3s_power.api.endpoint import ApiSettings
from a3s_power.cli.elsewhere import registry_settings
from a3s_power.cli.native import chosen_engine, would_pay
from a3s_power.cli.options import WHOLE, Flag, command
from a3s_power.config import Config
from a3s_power.core.addresses import Address
from a3s_power.core.errors import PowerError
from a3s_power.core.names import ModelName
from a3s_power.core.weights import Weights
from a3s_power.engines import backends
from a3s_power.hardware.priority import short_turns
from a3s_power.native.shelf import Choice
from a3s_power.scheduler.devices import Gpus, Wishes, models
from a3s_power.scheduler.fixed import Fixed
from a3s_power.scheduler.settings import Settings, contexts
from a3s_power.service.drafting import said as drafts_said
from a3s_power.service.local import KeptSettings, LocalSettings, open_local

_KEEP_ALIVE_SECONDS: Final = 75
_FAREWELL_SECONDS: Final = 1
"""How long answers may go on after the server was told to end."""
_BACKLOG: Final = 1024
_COLLECTED: Final = (2000, 5, 200)
"""Garbage is looked for after so many new objects, and less often among older ones: with thousands of open streams that
takes a fifth of a second, in which nobody is answered. Requests hardly leave any."""
_YOUNGER_BEFORE_ALL: Final = 10
"""So often among the younger ones before all are looked through, when nobody waits for an answer."""

OLLAMA_VERSION: Final = "0.32.0"
"""The version whose API this is; clients switch features on by it."""

_log: Final = log.get_logger(__name__)


@command(
    "serve",
    Flag("--host", "Address to listen on"),
    Flag("--port", "Port to listen on, 0 for a free one", WHOLE),
    Flag("--listen-fd", "A listening socket to take over", WHOLE, hidden=True),
    most=0,
)
def serve(words: tuple[str, ...], *, host: str | None, port: int | None, listen_fd: int | None) -> None:  # noqa: ARG001
    """Serve until told to end. With a socket taken over, the end of standard input tells so, too."""
    loaded = config.load(paths.config_file(), flags={"host": host, "port": port})
    log.configure(loaded.config.debug, loaded.config.log_format)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    _tell(loaded)
    _tell_engine(loaded.config)
    listener = listening(loaded.config.address) if listen_fd is None else socket.socket(fileno=listen_fd)
    # Engines keep all processors busy, and whoever asks meanwhile should not have to wait for the end of their turn.
    short_turns()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(loaded.config, listener, watched=listen_fd is not None))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 -- not there on Windows

    return uvloop.new_event_loop


def listening(address: Address) -> socket.socket:
    """A socket that listens there. Raises PowerError in Go's words when the system refuses."""
    both = not address.host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both or ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        if (error.errno or 0) < 0:  # getaddrinfo's numbers, which the standard library hands on without their type
            raise PowerError(f"listen tcp: lookup {address.host}: no such host") from error
        raise PowerError(f"listen tcp {address.authority}: bind: {os.strerror(error.errno or 0).lower()}") from error


def _tell(loaded: config.Loaded) -> None:
    """Log the settings that are not the default, each with its origin, and those that were ignored."""
    hidden = {*config.SECRETS, "scheme", "prefix"}
    said = {
        name: f"{_value(loaded.config, name)} ({origin})"
        for name, origin in loaded.origins.items()
        if name not in hidden
    }
    _log.info("settings", **{name.replace(".", "_"): text for name, text in said.items()})
    for name, warning in loaded.warnings.items():
        _log.warning("setting ignored", name=name, reason=warning)


def _tell_engine(settings: Config) -> None:
    """Log what runs the models, and whether another one would be faster here."""
    engine = chosen_engine(settings)
    _log.info("engine", name=engine.name, **({"program": engine.program} if engine.program else {}))
    if hint := would_pay(settings):
        _log.info(hint)


def _value(settings: Config, name: str) -> object:
    found: object = settings
    for part in name.split("."):
        found = getattr(found, part)
    return found


async def _serve(settings: Config, listener: socket.socket, *, watched: bool) -> None:
    bound = listener.getsockname()
    address = settings.address._replace(scheme="http", host=bound[0], port=bound[1], prefix="")
    async with open_local(local_settings(settings)) as service:
        server = Server(build(service, api_settings(settings, address)))
        with _told_to_end(server, watched=watched):
            _log.info(f"Listening on {address.authority} (version {__version__})")
            if not address.loopback:
                _log.warning("anybody who reaches this address can use, change and delete models", address=address.url)
            gc.collect()
            gc.freeze()
            gc.set_threshold(*_COLLECTED)
            await server.serve(sockets=[listener])
    _log.info("server ended")


class Server(uvicorn.Server):
    """uvicorn's server, ended by `end` and by nobody's signals, at once and not at its next tick."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_FAREWELL_SECONDS,
            )
        )
        self.config.load()
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Take no more requests, let answers go on for a moment, return from `serve`; a second call waits no more."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._ended.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: they are for all that this process runs."""
        yield

    async def main_loop(self) -> None:
        """Keep the answers' date right until `end`, and look for garbage when there is nothing else to do."""
        while not self.should_exit:
            await self.on_tick(0)
            if not self.server_state.tasks and gc.get_count()[2] >= _YOUNGER_BEFORE_ALL:
                gc.collect()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), 1)


@contextlib.contextmanager
def _told_to_end(server: Server, *, watched: bool) -> Iterator[None]:
    """End the server at a signal, and when standard input ends if that is watched."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.end)
    if watched:
        loop.add_reader(sys.stdin.fileno(), _end_with_input, server)
    yield


def _end_with_input(server: Server) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        server.end()


def local_settings(settings: Config) -> LocalSettings:
    """What the service goes by."""
    places = paths.places(data_dir=settings.data_dir, models=settings.models)
    engine = chosen_engine(settings)
    return LocalSettings(
        models=places.models,
        speeds=places.speeds,
        scratch=Path(settings.tmpdir).expanduser() if settings.tmpdir else None,
        environ=paths.environment(),
        noprune=settings.noprune,
        prefer_go=settings.go_template,
        registry=registry_settings(settings),
        engine=engine.engine,
        drafts=drafts_said(settings.drafts),
        responses=_kept(settings, places.responses) if settings.store_responses else None,
        preload=tuple(map(ModelName.parse, settings.preload)),
        scheduler=Settings(
            max_loaded=settings.max_loaded_models,
            max_queue=settings.max_queue,
            num_parallel=settings.num_parallel,
            keep_alive=settings.keep_alive,
            load_timeout=settings.load_timeout,
            stall_timeout=settings.stall_timeout,
            context_length=settings.context_length,
            context_share=settings.context_share,
            calibrate=settings.calibrate,
            prefer=settings.prefer,
            prompt_cache=settings.prompt_cache,
            prompts=places.prompts,
            prompts_bytes=settings.prompt_cache_disk,
            contexts=contexts(settings.contexts),
            fixed=Fixed.parse(settings.load_options),
            pins=frozenset(map(ModelName.parse, settings.pins)),
            num_thread=settings.num_thread,
            kv_cache_type=settings.kv_cache_type,
            flash_attention=settings.flash_attention,
            use_mlock=settings.use_mlock,
            gpu_layers=settings.gpu.gpu_layers,
            main_gpu=settings.gpu.main_gpu,
            tensor_split=settings.gpu.tensor_split,
            gpus=_gpus(settings, engine),
            program=engine.program,
            arguments=settings.llama_server.args,
        ),
    )


def _gpus(settings: Config, engine: Choice) -> Gpus:
    """What is wanted of graphics processors, and which kinds of them the engine in force can use."""
    kinds = backends.of_choice(engine.engine, engine.program)
    return Gpus(
        wishes=Wishes(
            devices=settings.gpu.devices,
            require=settings.gpu.require,
            reserve=settings.gpu.reserve,
            spread=settings.sched_spread,
        ),
        models=models(settings.gpu.models),
        kinds={engine.engine: kinds} if kinds else {},
    )


def _kept(settings: Config, file: Path) -> KeptSettings:
    return KeptSettings(
        file=file,
        count=settings.store_responses,
        size=settings.store_responses_bytes,
        seconds=settings.store_responses_age,
    )


def api_settings(settings: Config, bound: Address) -> ApiSettings:
    """What the HTTP edge goes by."""
    return ApiSettings(
        host=bound.host,
        origins=settings.origins,
        allowed_hosts=settings.allowed_hosts,
        hostname=socket.gethostname(),
        addresses=_own_addresses(bound),
        version=__version__,
        ollama_version=OLLAMA_VERSION,
        load_cooldown=settings.load_cooldown,
        weights=Weights.parse(settings.weights),
        fixed_options=bool(Fixed.parse(settings.load_options) or settings.pins),
        configuration={
            each.name: _value(settings, each.name) for each in config.declared() if each.name not in config.SECRETS
        },
    )


def _own_addresses(bound: Address) -> tuple[str, ...]:
    """This machine's addresses, as far as its own name tells them, beside the one that is bound."""
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
    except OSError:
        found = []
    return tuple({bound.host, *(str(where[0]) for *_, where in found)})
