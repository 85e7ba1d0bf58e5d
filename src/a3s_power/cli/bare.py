"""The bare engine, in a child of this command: loaded as a server loaded it, and asked without one."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgspec

from a3s_power import paths
from a3s_power.cli.client import Client
from a3s_power.cli.folder import models_folder
from a3s_power.cli.rates import Streamed
from a3s_power.core.errors import PowerError
from a3s_power.core.model import Model, ModelFiles
from a3s_power.core.names import ModelName
from a3s_power.engines.engine import LoadOptions
from a3s_power.hardware.machine import Machine
from a3s_power.runner.process import RunnerProcess, spawn
from a3s_power.scheduler import placement


class Bare:
    """Loaded while it is open."""

    def __init__(self, engine: str, files: ModelFiles, options: LoadOptions) -> None:
        self._engine = engine
        self._files = files
        self._options = options
        self._loop = asyncio.Runner()

    def __enter__(self) -> Self:
        """Load the model. Raises what a load raises."""
        environ = paths.environment()
        binding = placement.binding(self._engine, self._options.least_threads, Machine.look(environ=environ))
        self._runner: RunnerProcess = self._loop.run(spawn(self._engine, binding, environ=environ))
        try:
            self._loop.run(self._runner.load(self._files, self._options))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def streams(self, prompts: Sequence[str], tokens: int) -> list[Streamed]:
        """All prompts at once, as a server's clients would ask. Raises what the engine raises."""
        found = self._loop.run(self._runner.measure(prompts, tokens))
        return [Streamed(one.prompt_tokens, one.output_tokens, one.first_ns / 1e9, one.whole_ns / 1e9) for one in found]

    def _end(self) -> None:
        self._runner.kill()
        self._loop.run(self._runner.stop())
        self._loop.close()


def local(name: str) -> Model | None:
    """The model of that name in this machine's models folder; `None` where it is not there, or cannot be read."""
    try:
        return models_folder().models.read(ModelName.parse(name))
    except PowerError:
        return None


def of_server(client: Client, loaded: Mapping[str, Any], model: Model | None) -> tuple[Bare | None, str]:
    """The engine as a server has loaded a model, by what `/status` says of that; else why it cannot be had here."""
    if not client.address.loopback:
        return None, "the server is on another machine"
    if model is None:
        return None, "the model is not in this machine's models folder"
    if not loaded:
        return None, "the server does not say how it has loaded the model"
    if loaded.get("weights") != model.weights.hex:
        return None, "the model in this machine's models folder is another one"
    try:
        options = msgspec.convert(loaded.get("load_options"), LoadOptions)
    except msgspec.ValidationError:
        return None, "the server is of another version"
    return Bare(str(loaded.get("engine") or ""), model.files, options), ""
