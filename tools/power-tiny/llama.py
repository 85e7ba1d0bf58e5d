"""llama.cpp's server inside this process, asked over HTTP: for the scripts that check what was made."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import xllamacpp
from xllamacpp import ggml_type, llama_flash_attn_type


class Llama:
    """A model, loaded. `exact` takes the slow and exact way, for comparing with references."""

    def __init__(
        self, model: Path, *, context: int = 1024, threads: int = 2, exact: bool = False, projector: Path | None = None
    ) -> None:
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(model)
        parameters.n_ctx, parameters.n_parallel, parameters.warmup = context, 1, False
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
        parameters.verbosity, parameters.cache_ram_mib, parameters.port = -1, 0, 0
        if exact:
            parameters.cache_type_k = parameters.cache_type_v = ggml_type.GGML_TYPE_F32
            parameters.flash_attn_type = llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        if projector:
            parameters.mmproj.path = str(projector)
        self._server = xllamacpp.Server(parameters)
        self._url = self._server.listening_address

    def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer of a route; of an error, `{"error": text}`."""
        request = urllib.request.Request(
            self._url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return {"error": error.read().decode("utf-8", "replace")}

    def complete(self, prompt: str, most: int, **more: object) -> dict[str, Any]:
        """Go on with a prompt, always with the likeliest token."""
        exactly = {"temperature": 0, "samplers": ["temperature"], "cache_prompt": False}
        return self.ask("/completion", {"prompt": prompt, "n_predict": most, **exactly, **more})

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, special ones read as such."""
        return self.ask("/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]

    def chat(self, messages: list[dict[str, Any]], **more: object) -> dict[str, Any]:
        """The answer to a conversation."""
        return self.ask("/v1/chat/completions", {"messages": messages, "temperature": 0, **more})
