"""The library llama.cpp: whether this processor can run it, the machine as it sees it, and a load in its own words."""

import platform
import sys
from pathlib import Path
from typing import Any, Final

from a3s_power.core.errors import EngineMissing
from a3s_power.core.model import ModelFiles
from a3s_power.engines.barriers import unbound
from a3s_power.engines.llamacpp_draft import KEY_TOKENS, LEAST_CHANCE
from a3s_power.engines.llamacpp_media import least_tokens
from a3s_power.engines.llamacpp_params import Machine, Settings
from a3s_power.engines.llamacpp_slots import similarity
from a3s_power.engines.llamacpp_socket import Listener

Native = Any
"""Something of the library: it has no types."""

_NEEDED: Final = ("avx2", "f16c", "fma", "bmi2")
X86: Final = frozenset({"x86_64", "AMD64", "i686"})
_HTTP_THREADS: Final = 2


def library() -> Native:
    """The library, on a processor that can run it: on any other, importing it or its first sum kills the process.

    Raises EngineMissing where it cannot be used.
    """
    missing = missing_features(_cpuinfo()) if platform.machine() in X86 else ()
    if missing:
        needs = ", ".join(missing)
        raise EngineMissing(f"llama.cpp's prebuilt library needs a processor with {needs}; build xllamacpp from source")
    try:
        # In a child only, and only when a model is loaded: 100 MB of native code.
        with unbound():
            import xllamacpp  # noqa: PLC0415
    except ImportError as error:
        raise EngineMissing(f"llama.cpp's library (xllamacpp) cannot be imported: {error}") from error
    return xllamacpp


def missing_features(cpuinfo: str) -> tuple[str, ...]:
    """Which instructions of the library this processor lacks, by `/proc/cpuinfo`; none where that says nothing."""
    flags = next((line.partition(":")[2].split() for line in cpuinfo.splitlines() if line.startswith("flags")), None)
    return () if flags is None else tuple(name for name in _NEEDED if name not in flags)


def _cpuinfo() -> str:
    return Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else ""


def machine(library: Native) -> Machine:
    """What the library finds here. Asked before a load only: afterwards it would silence the engine's log."""
    devices = library.get_device_info()
    gpus = [device for device in devices if device["type"].name.endswith("_GPU")]
    return Machine(
        x86=platform.machine() in X86,
        memory_bytes=sum(device["memory_total"] for device in devices),
        gpu_free_bytes=sum(gpu["memory_free"] for gpu in gpus),
    )


def parameters(library: Native, chosen: Settings, files: ModelFiles, where: Listener) -> Native:
    """The library's own parameters of a load. Raises what it raises for a value that it does not know."""
    x, p = library, library.CommonParams()
    p.model.path = files.weights
    p.model_alias = {"model"}
    p.n_ctx, p.n_parallel = chosen.context * chosen.parallel, chosen.parallel
    p.n_batch, p.n_ubatch = chosen.batch, chosen.micro_batch
    p.cpuparams.n_threads, p.cpuparams_batch.n_threads = chosen.threads, chosen.threads_batch
    p.n_gpu_layers, p.fit_params, p.warmup = chosen.gpu_layers, chosen.fit, chosen.warm_up
    if chosen.gpu_reserve is not None:
        p.fit_params_target = [chosen.gpu_reserve] * len(p.fit_params_target)
    p.load_mode = x.llama_load_mode[f"LLAMA_LOAD_MODE_{chosen.load_mode}"]
    p.no_extra_bufts = not chosen.repack
    p.flash_attn_type = x.llama_flash_attn_type[f"LLAMA_FLASH_ATTN_TYPE_{chosen.flash_attention}"]
    p.cache_type_k = p.cache_type_v = x.ggml_type[f"GGML_TYPE_{chosen.cache_type.upper()}"]
    p.cache_ram_mib, p.ctx_shift, p.embedding = chosen.prompt_cache_mib, chosen.shift, chosen.embedding
    p.slot_prompt_similarity = similarity(on_gpu=chosen.warm_up)
    p.slot_save_path = f"{files.prompts}/" if files.prompts else ""
    if chosen.ranks:
        # It would rank without this, too, but refuses to be asked.
        p.pooling_type = x.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    if chosen.last_token_pooling:
        p.pooling_type = x.llama_pooling_type.LLAMA_POOLING_TYPE_LAST
    if chosen.main_gpu is not None:
        p.main_gpu, p.split_mode = chosen.main_gpu, x.llama_split_mode.LLAMA_SPLIT_MODE_NONE
    if chosen.tensor_split:
        p.tensor_split = [*chosen.tensor_split, *[0.0] * (len(p.tensor_split) - len(chosen.tensor_split))]
    if chosen.draft:
        _guess(x, p.speculative, chosen, files.draft)
    p.lora_adapters = [x.CommonAdapterLoraInfo(path, scale) for path, scale in files.adapters]
    # 0 would silence errors, too.
    p.verbosity = 1
    p.ui, p.endpoint_props, p.n_threads_http = False, False, _HTTP_THREADS
    if where.path:
        p.hostnames = [where.path]
    else:
        p.hostnames, p.port, p.api_keys = ["127.0.0.1"], 0, [where.key]
    return p


def _guess(library: Native, speculative: Native, chosen: Settings, draft: str) -> None:
    """Guess ahead by a draft model, or by what was said before."""
    types = library.common_speculative_type
    if chosen.draft == "ngram":
        # Its simpler ways find nothing in what repeats itself at once, or only where as much follows as went before.
        speculative.types = [types.COMMON_SPECULATIVE_TYPE_NGRAM_MOD]
        speculative.ngram_mod.n_match = KEY_TOKENS
        speculative.ngram_mod.n_min, speculative.ngram_mod.n_max = 1, chosen.draft_tokens
        return
    speculative.types = [types.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
    speculative.draft.mparams.path = draft
    speculative.draft.n_max, speculative.draft.p_min = chosen.draft_tokens, LEAST_CHANCE
    speculative.draft.n_gpu_layers = chosen.gpu_layers


def add_projector(parameters: Native, projector: str, chosen: Settings, architecture: str) -> None:
    """Let the model see, or hear, by a projector's file. The context can then not be shifted."""
    parameters.mmproj.path = projector
    parameters.mmproj_use_gpu = chosen.gpu_layers != 0
    parameters.image_min_tokens = least_tokens(architecture)
    # Each generation with an image holds one of them from its beginning to its end.
    parameters.n_threads_http = _HTTP_THREADS + chosen.parallel
    parameters.ctx_shift = False
