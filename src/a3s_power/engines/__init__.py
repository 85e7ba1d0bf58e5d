"""The table of engines. Reading it imports none of them: each is imported in a child only."""

import sys
from typing import Final, Literal, NamedTuple

from a3s_power.core.errors import EngineMissing

Format = Literal["gguf", "safetensors"]


class EngineInfo(NamedTuple):
    """Where an engine stands (`module:class`), which model formats it reads, which library it needs.

    `environment` is what its child's environment must hold before the child starts.
    """

    target: str
    formats: frozenset[Format]
    requires: str = ""
    environment: tuple[tuple[str, str], ...] = ()


# llama.cpp hands what a client sent and it cannot decode to ffprobe and ffmpeg, where it finds them. On Windows
# libraries are found by this path, too.
_NO_PROGRAMS: Final = () if sys.platform == "win32" else (("PATH", "/dev/null"),)

_LLAMA: Final = (
    # How long OpenMP's threads spin at a barrier: two engines on the same cores ruin each other otherwise.
    ("GOMP_SPINCOUNT", "2000"),
    # An abort would start gdb and print pages before it dies.
    ("GGML_NO_BACKTRACE", "1"),
    # Any value makes the engine print its load progress to stdout, without Python's lock, and end with its stdin.
    ("LLAMA_SERVER_ROUTER_PORT", "1"),
    *_NO_PROGRAMS,
)

ENGINES: Final[dict[str, EngineInfo]] = {
    "llamacpp": EngineInfo("a3s_power.engines.llamacpp:LlamaCpp", frozenset({"gguf"}), "xllamacpp", _LLAMA),
    "llamaserver": EngineInfo("a3s_power.engines.llamaserver:LlamaServer", frozenset({"gguf"}), environment=_LLAMA),
    "echo": EngineInfo("a3s_power.engines.echo:Echo", frozenset({"gguf", "safetensors"})),
}


def find(name: str) -> EngineInfo:
    """The engine of that name, or the one at a `module:class` that is not in the table.

    Raises:
        EngineMissing: neither.
    """
    if ":" in name:
        return EngineInfo(name, frozenset())
    info = ENGINES.get(name)
    if info is None:
        raise EngineMissing(f"there is no engine called {name!r}; there are: {', '.join(sorted(ENGINES))}")
    return info
