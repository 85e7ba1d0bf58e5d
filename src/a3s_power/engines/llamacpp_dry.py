"""llama.cpp's own dry run: what a load would take, by building everything and allocating nothing.

The library does this where it fits a model to graphics processors, and the binding does not hand it on; so it is called
by its symbols. They change with the library's version: what is missing, or answers another size of the weights than
the file says, is no answer. A file that the library cannot read ends the process, so this is for a child of its own.
"""

import ctypes
from typing import Final, NamedTuple

from a3s_power.core.errors import EngineFailed
from a3s_power.core.model import Facts, ModelFiles
from a3s_power.engines import llamacpp_library, llamacpp_memory
from a3s_power.engines.engine import Forecast
from a3s_power.engines.llamacpp_library import Native
from a3s_power.engines.llamacpp_params import Settings
from a3s_power.engines.llamacpp_socket import Listener

_MODEL: Final = "_Z28common_model_params_to_llamaR13common_params"
_CONTEXT: Final = "_Z30common_context_params_to_llamaRK13common_params"
_DRY_RUN: Final = (
    "_Z29common_get_device_memory_dataPKcPK18llama_model_paramsPK20llama_context_params"
    "RSt6vectorIP19ggml_backend_deviceSaIS9_EERjSD_SD_14ggml_log_level"
)
_ERRORS: Final = 4
_NUMBERS: Final = 5
"""Of each device, the processor last: total, free, and what model, context and graph would take, as 64-bit numbers."""

_Line = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class Dry(NamedTuple):
    """Bytes of main memory: the weights, the cache, and the graph's buffers."""

    weights: int
    cache: int
    graph: int


class _Parameters(ctypes.Structure):
    """Room for a structure of the library that is only handed on; it has a few hundred bytes."""

    _fields_ = [("content", ctypes.c_ubyte * 4096)]  # type: ignore[mutable-override]  # ctypes wants it so


class _Vector(ctypes.Structure):
    """A `std::vector`."""

    _fields_ = [("begin", ctypes.c_void_p), ("end", ctypes.c_void_p), ("room", ctypes.c_void_p)]  # type: ignore[mutable-override]  # ctypes wants it so


def forecast(facts: Facts, chosen: Settings, files: ModelFiles, projector: int, beside: int) -> Forecast:
    """What a load would take: weights, cache and graph by the dry run, all else by the formula.

    A projector of so many bytes goes with it, and what takes so many bytes beside.

    Raises EngineFailed where the library has no dry run that is known here.
    """
    library = llamacpp_library.library()
    parameters = llamacpp_library.parameters(library, chosen, files, Listener(path="-"))
    outputs = chosen.micro_batch if chosen.embedding else chosen.parallel * (1 + chosen.draft_tokens)
    dry = dry_run(library, parameters, outputs, facts.weights_bytes)
    loaded = llamacpp_memory.loaded_bytes(facts, chosen) - llamacpp_memory.cache_bytes(facts, chosen) + dry.cache
    untouched = llamacpp_memory.untouched_bytes(facts, chosen, projector_bytes=projector, graph=dry.graph)
    return Forecast(loaded + projector + beside + untouched, untouched)


def dry_run(library: Native, parameters: Native, outputs: int, weights_bytes: int) -> Dry:
    """What a load with these parameters would take, with so many outputs at a time and weights of so many bytes.

    Raises EngineFailed where the library has no such thing, or another one than is known here.
    """
    binary = ctypes.CDLL(library.xllamacpp.__file__)
    silence = _Line(_ignore)
    parameters.n_outputs_max = outputs
    # The binding's object is a Python object's head, and then the library's structure itself.
    common = ctypes.c_void_p(id(parameters) + object.__basicsize__)
    try:
        binary.llama_log_set(silence, None)
        model, context = (_call(binary, name, _Parameters, common) for name in (_MODEL, _CONTEXT))
        devices, counts = _Vector(), [ctypes.byref(ctypes.c_uint32()) for _ in range(3)]
        asked = (parameters.model.path.encode(), ctypes.byref(model), ctypes.byref(context), ctypes.byref(devices))
        found = _call(binary, _DRY_RUN, _Vector, *asked, *counts, ctypes.c_int(_ERRORS))
    except AttributeError as error:
        raise EngineFailed(f"this version of llama.cpp has no dry run: {error}") from error
    numbers = (ctypes.c_int64 * _NUMBERS).from_address(found.end - ctypes.sizeof(ctypes.c_int64) * _NUMBERS)
    _, _, weights, cache, graph = numbers
    if not weights_bytes // 2 <= weights + _rearranged(parameters, weights_bytes) <= 2 * weights_bytes:
        raise EngineFailed(f"llama.cpp's dry run tells of {weights} bytes of weights where there are {weights_bytes}")
    return Dry(weights, cache, graph)


def _rearranged(parameters: Native, weights_bytes: int) -> int:
    """The copy that is rearranged lies in a place that the dry run does not count."""
    return 0 if parameters.no_extra_bufts else weights_bytes // 2


def _call(binary: ctypes.CDLL, name: str, answer: type[ctypes.Structure], *arguments: object) -> ctypes.Structure:
    function = binary[name]
    function.restype = answer
    result: ctypes.Structure = function(*arguments)
    return result


def _ignore(_level: int, _text: bytes, _data: object) -> None:
    """A dry run says what a load would; nobody wants to hear it."""
