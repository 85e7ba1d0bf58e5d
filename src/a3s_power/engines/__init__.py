"""The table of engines. Reading it imports none of them: each is imported in a child only."""

from typing import Final, Literal, NamedTuple

Format = Literal["gguf", "safetensors"]


class EngineInfo(NamedTuple):
    """Where an engine stands (`module:class`), which model formats it reads, which library it needs."""

    target: str
    formats: frozenset[Format]
    requires: str = ""


ENGINES: Final[dict[str, EngineInfo]] = {
    "llamacpp": EngineInfo("a3s_power.engines.llamacpp:LlamaCpp", frozenset({"gguf"}), "xllamacpp"),
    "echo": EngineInfo("a3s_power.engines.echo:Echo", frozenset({"gguf", "safetensors"})),
}
