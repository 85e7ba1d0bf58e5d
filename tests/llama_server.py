"""A llama-server in all but name: the wheel's own server in a process of its own, with the flags that we use.

`program` writes it down as a program; run as one, it takes those flags and no other.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

REAL: Final = os.environ.get("A3S_POWER_TEST_LLAMA_SERVER", "")
"""A true one to test instead."""


def program(folder: Path) -> str:
    """The path of a llama-server: the real one where the environment names it, else one that is written to a folder."""
    if REAL:
        return REAL
    path = folder / "llama-server"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).absolute()}" "$@"\n', "utf-8")
    path.chmod(0o755)
    return str(path)


def _main(arguments: Sequence[str]) -> None:
    if list(arguments) == ["--list-devices"]:
        print("Available devices:\n  (none)")
        return
    import xllamacpp as x  # noqa: PLC0415 -- tests that only write the program down need none

    p = x.CommonParams()
    take(x, p, arguments)
    try:
        server = x.Server(p)
    except RuntimeError:
        # Its log is written by a thread, which only an ordinary end waits for.
        sys.exit(1)
    # It ends with its standard input, by itself.
    while server is not None:
        time.sleep(3600)


def take(x: Any, p: Any, arguments: Sequence[str]) -> None:
    """Set the library's parameters by flags. Raises KeyError for one that is not known."""
    rest = iter(arguments)
    for flag in rest:
        if flag in _SWITCHES:
            name, value = _SWITCHES[flag]
            setattr(p, name, value)
        else:
            _VALUES[flag](x, p, next(rest))


_SWITCHES: Final[dict[str, tuple[str, Any]]] = {
    "--offline": ("offline", True),
    "--no-ui": ("ui", False),
    "--kv-unified": ("kv_unified", True),
    "--no-kv-unified": ("kv_unified", False),
    "--warmup": ("warmup", True),
    "--no-warmup": ("warmup", False),
    "--repack": ("no_extra_bufts", False),
    "--no-repack": ("no_extra_bufts", True),
    "--context-shift": ("ctx_shift", True),
    "--no-context-shift": ("ctx_shift", False),
    "--embeddings": ("embedding", True),
    "--no-mmproj-offload": ("mmproj_use_gpu", False),
    "--swa-full": ("swa_full", True),
}


def _number(name: str) -> Callable[[Any, Any, str], None]:
    def put(x: Any, p: Any, value: str) -> None:
        owner, *rest = name.split(".")
        target = getattr(p, owner) if rest else p
        setattr(target, rest[0] if rest else owner, int(value))

    return put


def _path(name: str) -> Callable[[Any, Any, str], None]:
    def put(x: Any, p: Any, value: str) -> None:
        getattr(p, name).path = value

    return put


def _lora(x: Any, p: Any, value: str) -> None:
    path, scale = value.split(":")
    p.lora_adapters = [*p.lora_adapters, x.CommonAdapterLoraInfo(path, float(scale))]


def _load_mode(x: Any, p: Any, value: str) -> None:
    p.load_mode = x.llama_load_mode["LLAMA_LOAD_MODE_" + value.upper().replace("+", "_")]


def _flash(x: Any, p: Any, value: str) -> None:
    kinds = {"auto": "AUTO", "on": "ENABLED", "off": "DISABLED"}
    p.flash_attn_type = x.llama_flash_attn_type[f"LLAMA_FLASH_ATTN_TYPE_{kinds[value]}"]


def _cache(name: str) -> Callable[[Any, Any, str], None]:
    return lambda x, p, value: setattr(p, name, x.ggml_type[f"GGML_TYPE_{value.upper()}"])


def _guess(x: Any, p: Any, value: str) -> None:
    p.speculative.types = [x.common_speculative_type["COMMON_SPECULATIVE_TYPE_" + value.upper().replace("-", "_")]]


def _split(x: Any, p: Any, value: str) -> None:
    parts = [float(part) for part in value.split(",")]
    p.tensor_split = [*parts, *[0.0] * (len(p.tensor_split) - len(parts))]


def _pooling(x: Any, p: Any, value: str) -> None:
    p.pooling_type = x.llama_pooling_type[f"LLAMA_POOLING_TYPE_{value.upper()}"]


_VALUES: Final[dict[str, Callable[[Any, Any, str], None]]] = {
    "-m": _path("model"),
    "-mm": _path("mmproj"),
    "-a": lambda x, p, value: setattr(p, "model_alias", {value}),
    "-c": _number("n_ctx"),
    "-np": _number("n_parallel"),
    "-b": _number("n_batch"),
    "-ub": _number("n_ubatch"),
    "-t": _number("cpuparams.n_threads"),
    "-tb": _number("cpuparams_batch.n_threads"),
    "-ngl": _number("n_gpu_layers"),
    "-fit": lambda x, p, value: setattr(p, "fit_params", value == "on"),
    "-lm": _load_mode,
    "-fa": _flash,
    "-ctk": _cache("cache_type_k"),
    "-ctv": _cache("cache_type_v"),
    "-cram": _number("cache_ram_mib"),
    "-sps": lambda x, p, value: setattr(p, "slot_prompt_similarity", float(value)),
    "--slot-save-path": lambda x, p, value: setattr(p, "slot_save_path", f"{value}/"),
    "-lv": _number("verbosity"),
    "--threads-http": _number("n_threads_http"),
    "--image-min-tokens": _number("image_min_tokens"),
    "--cache-reuse": _number("n_cache_reuse"),
    "--ctx-checkpoints": _number("n_ctx_checkpoints"),
    "--pooling": _pooling,
    "-mg": _number("main_gpu"),
    "-fitt": lambda x, p, value: setattr(p, "fit_params_target", [int(value) << 20] * len(p.fit_params_target)),
    "--spec-type": _guess,
    "--spec-ngram-mod-n-match": lambda x, p, value: setattr(p.speculative.ngram_mod, "n_match", int(value)),
    "--spec-ngram-mod-n-min": lambda x, p, value: setattr(p.speculative.ngram_mod, "n_min", int(value)),
    "--spec-ngram-mod-n-max": lambda x, p, value: setattr(p.speculative.ngram_mod, "n_max", int(value)),
    "-md": lambda x, p, value: setattr(p.speculative.draft.mparams, "path", value),
    "--spec-draft-n-max": lambda x, p, value: setattr(p.speculative.draft, "n_max", int(value)),
    "--spec-draft-p-min": lambda x, p, value: setattr(p.speculative.draft, "p_min", float(value)),
    "-ngld": lambda x, p, value: setattr(p.speculative.draft, "n_gpu_layers", int(value)),
    "-sm": lambda x, p, value: setattr(p, "split_mode", x.llama_split_mode[f"LLAMA_SPLIT_MODE_{value.upper()}"]),
    "-ts": _split,
    "--lora-scaled": _lora,
    "--host": lambda x, p, value: setattr(p, "hostnames", [value]),
    "--port": _number("port"),
    "--api-key-file": lambda x, p, value: setattr(p, "api_keys", [Path(value).read_text("utf-8")]),
}


if __name__ == "__main__":
    _main(sys.argv[1:])
