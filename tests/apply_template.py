"""What llama.cpp itself makes of chat templates: `python -m tests.apply_template MODEL`, the questions on stdin.

A question is a template's name with its text and conversations in the form of its `/apply-template`; the answers come
on stdout, as JSON. A process of its own, for the engine can only be left by ending it.
"""

import json
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from a3s_power.core.errors import PowerError
from a3s_power.engines.llamacpp_socket import EngineSocket, listener


def main() -> None:
    asked: dict[str, dict[str, Any]] = json.load(sys.stdin)
    answers = {name: rendered(sys.argv[1], each["template"], each["bodies"]) for name, each in asked.items()}
    print(json.dumps(answers), flush=True)
    os._exit(0)


def rendered(model: str, template: str, bodies: Mapping[str, Any]) -> dict[str, str | None]:
    """The prompt of each conversation, `None` for those that the engine refuses."""
    library, where = import_module("xllamacpp"), listener()
    parameters = library.CommonParams()
    parameters.model.path, parameters.n_ctx, parameters.n_parallel = model, 256, 1
    parameters.warmup, parameters.fit_params, parameters.ui, parameters.verbosity = False, False, False, 1
    parameters.n_threads_http, parameters.cpuparams.n_threads = 2, 1
    parameters.use_jinja, parameters.chat_template = True, template
    if where.path:
        parameters.hostnames = [where.path]
    else:
        parameters.hostnames, parameters.port, parameters.api_keys = ["127.0.0.1"], 0, [where.key]
    server = library.Server(parameters)
    socket = EngineSocket(where, server.listening_address)
    return {name: _asked(socket, body) for name, body in bodies.items()}


def _asked(socket: EngineSocket, body: Any) -> str | None:
    try:
        prompt: str = socket.ask("/apply-template", body)["prompt"]
    except PowerError:
        return None
    return prompt


if __name__ == "__main__":
    main()
