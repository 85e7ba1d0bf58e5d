"""The engine llama.cpp by a llama-server of its own: one built for this machine, or the operator's.

It is a process beside the child's, asked over the private socket that the library listens on, too; all else is the
same code, since it is the same server.
"""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from a3s_power.core.errors import EngineFailed, EngineMissing
from a3s_power.core.model import ModelFiles
from a3s_power.engines.engine import LoadOptions
from a3s_power.engines.llamacpp import LlamaCpp
from a3s_power.engines.llamacpp_library import X86
from a3s_power.engines.llamacpp_memory import checkpoints
from a3s_power.engines.llamacpp_params import Machine, Settings
from a3s_power.engines.llamacpp_socket import EngineSocket, Listener, free_port, listener
from a3s_power.engines.llamaserver_flags import check_added, flags
from a3s_power.engines.llamaserver_process import Process, devices

_COMPLETIONS: Final = "/v1/completions"
_EMBEDDINGS: Final = "/v1/embeddings"
_RANKING: Final = "/v1/rerank"


class Remote:
    """What a server in this process is to `LlamaCpp`, over a socket."""

    def __init__(self, socket: EngineSocket, process: Process) -> None:
        self._socket = socket
        self._process = process

    def handle_embeddings(self, body: bytes) -> bytes:
        """The answer to an embedding request, or the engine's error, as JSON."""
        with self.alive():
            return self._socket.answer(_EMBEDDINGS, body)

    def handle_rerank(self, body: bytes) -> bytes:
        """The answer to a re-ranking request, or the engine's error, as JSON."""
        with self.alive():
            return self._socket.answer(_RANKING, body)

    @contextmanager
    def alive(self) -> Iterator[None]:
        """What fails because the program has ended does not fail by itself: this process ends as that one did."""
        try:
            yield
        except EngineFailed:
            if not self._socket.ready():
                self._process.mourn()
            raise


class LlamaServer(LlamaCpp):
    """One GGUF in a llama-server, which ends with this process."""

    def __init__(self) -> None:
        """All else there is from the load on."""
        super().__init__()
        self._program = ""
        self._added: tuple[str, ...] = ()

    def _look(self, options: LoadOptions) -> Machine:
        """The machine as the program sees it."""
        if not options.program:
            raise EngineMissing("no llama-server is set up: build one with `a3s-power engine build`, or name yours")
        check_added(options.arguments)
        self._program, self._added = options.program, options.arguments
        gpus = devices(self._program)
        own = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return Machine(
            x86=platform.machine() in X86,
            memory_bytes=own + sum(gpu.total_bytes for gpu in gpus),
            gpu_free_bytes=sum(gpu.free_bytes for gpu in gpus),
        )

    def _start(self, chosen: Settings, files: ModelFiles, projector: str) -> None:
        """Start the program, and return when it answers."""
        where = listener()
        folder = Path(where.path).parent
        said = flags(chosen, _plainly_named(files, folder), projector, self._facts.architecture)
        said += ["--ctx-checkpoints", str(checkpoints(self._facts, chosen))]
        port = 0 if where.path else free_port()
        process = Process(self._program, [*said, *_listening(where, port), *self._added])
        self._socket = EngineSocket(where, f"http://127.0.0.1:{port}")
        process.wait_until(self._socket.ready)
        process.watch()
        self._server = Remote(self._socket, process)

    def _complete(self, body: bytes, take: Callable[[bytes], bool], cancelled: Callable[[], bool]) -> None:
        with self._server.alive():
            self._socket.stream(_COMPLETIONS, body, take, cancelled)


def _listening(where: Listener, port: int) -> list[str]:
    """Where it shall listen. A key goes by a file: command lines are for all to see."""
    if where.path:
        return ["--host", where.path]
    key = Path("key")
    key.touch(mode=0o600)
    key.write_text(where.key)
    return ["--host", "127.0.0.1", "--port", str(port), "--api-key-file", str(key.absolute())]


def _plainly_named(files: ModelFiles, folder: Path) -> ModelFiles:
    """The files with adapters under names that the program's lists of them can hold."""
    adapters = []
    for number, (path, scale) in enumerate(files.adapters):
        plain = path
        if set(path) & set(',:"'):
            plain = str(folder / f"adapter-{number}")
            Path(plain).symlink_to(path)
        adapters.append((plain, scale))
    return msgspec.structs.replace(files, adapters=tuple(adapters))
