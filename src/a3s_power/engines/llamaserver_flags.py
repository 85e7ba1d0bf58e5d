"""llama-server's flags: those that a load comes to, and those that an operator may add from the file of settings.

From the help of the build that xllamacpp is made of (b11549); what has no row in the table below is refused, whatever
it does: where the program listens, what it opens, fetches or writes is ours to say.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from a3s_power.core.errors import BadConfig
from a3s_power.core.limits import MIB
from a3s_power.core.model import ModelFiles
from a3s_power.engines.llamacpp_draft import KEY_TOKENS, LEAST_CHANCE
from a3s_power.engines.llamacpp_media import least_tokens
from a3s_power.engines.llamacpp_params import Settings
from a3s_power.engines.llamacpp_slots import similarity

_LOAD_MODES: Final = {"NONE": "none", "MMAP": "mmap", "MLOCK": "mlock", "MMAP_MLOCK": "mmap+mlock"}
_FLASH_ATTENTION: Final = {"AUTO": "auto", "DISABLED": "off", "ENABLED": "on"}


def flags(chosen: Settings, files: ModelFiles, projector: str, architecture: str) -> list[str]:
    """The flags of a load, all but those of where it listens. Every choice is said: defaults differ between builds."""
    pairs = {
        "-m": files.weights,
        "-a": "model",
        "-c": chosen.context * chosen.parallel,
        "-np": chosen.parallel,
        "-b": chosen.batch,
        "-ub": chosen.micro_batch,
        "-t": chosen.threads,
        "-tb": chosen.threads_batch,
        "-ngl": chosen.gpu_layers,
        "-fit": "on" if chosen.fit else "off",
        "-lm": _LOAD_MODES[chosen.load_mode],
        "-fa": _FLASH_ATTENTION[chosen.flash_attention],
        "-ctk": chosen.cache_type,
        "-ctv": chosen.cache_type,
        "-cram": chosen.prompt_cache_mib,
        "-sps": similarity(on_gpu=chosen.warm_up),
        # 0 would silence errors, too.
        "-lv": 1,
        # Every generation holds one of them from its beginning to its end; the rest is for questions beside them.
        "--threads-http": 2 * chosen.parallel + 4,
    }
    said = [text for name, value in pairs.items() for text in (name, str(value))]
    said += ["--offline", "--no-ui", "--no-kv-unified", "--warmup" if chosen.warm_up else "--no-warmup"]
    said += ["--repack" if chosen.repack else "--no-repack"]
    said += ["--context-shift" if chosen.shift and not projector else "--no-context-shift"]
    said += ["--slot-save-path", files.prompts] if files.prompts else []
    said += _pooling(chosen) + _devices(chosen) + _guessing(chosen, files.draft)
    return said + _beside(chosen, files, projector, architecture)


def _pooling(chosen: Settings) -> list[str]:
    said = ["--embeddings"] if chosen.embedding else []
    if chosen.ranks:
        return [*said, "--pooling", "rank"]
    return [*said, "--pooling", "last"] if chosen.last_token_pooling else said


def _devices(chosen: Settings) -> list[str]:
    said: list[str] = []
    if chosen.main_gpu is not None:
        said += ["-mg", str(chosen.main_gpu), "-sm", "none"]
    if chosen.tensor_split:
        said += ["-ts", ",".join(map(str, chosen.tensor_split))]
    if chosen.gpu_reserve is not None:
        said += ["-fitt", str(chosen.gpu_reserve // MIB)]
    return said


def _guessing(chosen: Settings, draft: str) -> list[str]:
    """Guess ahead by a draft model, or by what was said before."""
    if not chosen.draft:
        return []
    if chosen.draft == "ngram":
        sizes = {"match": KEY_TOKENS, "min": 1, "max": chosen.draft_tokens}
        said = [text for name, size in sizes.items() for text in (f"--spec-ngram-mod-n-{name}", str(size))]
        return ["--spec-type", "ngram-mod", *said]
    said = ["--spec-type", "draft-simple", "-md", draft, "--spec-draft-n-max", str(chosen.draft_tokens)]
    return [*said, "--spec-draft-p-min", str(LEAST_CHANCE), "-ngld", str(chosen.gpu_layers)]


def _beside(chosen: Settings, files: ModelFiles, projector: str, architecture: str) -> list[str]:
    """The files beside the weights. Adapters' paths are to be without commas and colons."""
    said = [text for path, scale in files.adapters for text in ("--lora-scaled", f"{path}:{scale}")]
    if not projector:
        return said
    said += ["-mm", projector, *(["--no-mmproj-offload"] if chosen.gpu_layers == 0 else [])]
    return [*said, "--image-min-tokens", str(least_tokens(architecture))]


Check = Callable[[str], object]


def _one_of(*words: str) -> Check:
    def check(text: str) -> object:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return check


def _matching(pattern: str) -> Check:
    compiled = re.compile(pattern)

    def check(text: str) -> object:
        if not compiled.fullmatch(text):
            raise ValueError(f"{text!r} cannot be read")
        return text

    return check


_SWITCH: Final = _one_of("0", "1")
_CORES: Final = _matching(r"\d+-\d+")
_MASK: Final = _matching(r"(0x)?[0-9a-fA-F]+")
_DEVICES: Final = _matching(r"[\w,]+")

_MAY_BE_ADDED: Final[dict[str, Check | None]] = {
    # Cores
    **dict.fromkeys(("-C", "--cpu-mask", "-Cb", "--cpu-mask-batch"), _MASK),
    **dict.fromkeys(("-Cr", "--cpu-range", "-Crb", "--cpu-range-batch"), _CORES),
    **dict.fromkeys(("--cpu-strict", "--cpu-strict-batch", "--poll-batch"), _SWITCH),
    **dict.fromkeys(("--prio", "--prio-batch", "--poll"), int),
    "--numa": _one_of("distribute", "isolate", "numactl"),
    # Graphics processors
    **dict.fromkeys(("-dev", "--device", "-mmdev", "--mmproj-device"), _DEVICES),
    **dict.fromkeys(("-sm", "--split-mode"), _one_of("none", "layer", "row", "tensor")),
    **dict.fromkeys(("-ot", "--override-tensor"), _matching(r"[^\s/]+=\w+(,[^\s/]+=\w+)*")),
    **dict.fromkeys(("-ncmoe", "--n-cpu-moe"), int),
    **dict.fromkeys(("-cmoe", "--cpu-moe", "-nkvo", "--no-kv-offload", "-kvo", "--kv-offload", "--no-host")),
    **dict.fromkeys(("--op-offload", "--no-op-offload")),
    # Contexts
    **dict.fromkeys(("--swa-full", "--cache-idle-slots", "--no-cache-idle-slots", "--check-tensors")),
    **dict.fromkeys(("-cms", "--checkpoint-min-step", "--cache-reuse"), int),
    **dict.fromkeys(("--rope-scale", "--rope-freq-base", "--rope-freq-scale"), float),
    "--rope-scaling": _one_of("none", "linear", "yarn"),
    "--yarn-orig-ctx": int,
    **dict.fromkeys(("--yarn-ext-factor", "--yarn-attn-factor", "--yarn-beta-slow", "--yarn-beta-fast"), float),
    # Images
    **dict.fromkeys(("--image-min-tokens", "--image-max-tokens", "--mtmd-batch-max-tokens"), int),
}
"""Flags that an operator may add, with what reads their value; `None` for those without one."""


def check_added(arguments: Sequence[str]) -> None:
    """Raise BadConfig for the first argument that is no flag of the table, or whose value its flag does not take."""
    rest = iter(arguments)
    for flag in rest:
        if flag not in _MAY_BE_ADDED:
            raise BadConfig(f"llama_server.args: {flag!r} is not among the flags of llama-server that may be set here")
        read = _MAY_BE_ADDED[flag]
        if read is None:
            continue
        value = next(rest, None)
        if value is None:
            raise BadConfig(f"llama_server.args: {flag!r} lacks its value")
        try:
            read(value)
        except ValueError as error:
            raise BadConfig(f"llama_server.args: {flag!r}: {error}") from error
