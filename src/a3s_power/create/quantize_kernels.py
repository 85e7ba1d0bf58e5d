"""ggml's own conversions of numbers, from the shared object of the engine's wheel: fast, and the same as llama.cpp's.

The wheel exports them by accident and not by promise, so each is looked for before it is used. Calls run without
Python's lock: threads work side by side.
"""

import ctypes
import importlib.machinery
import importlib.util
import os
from pathlib import Path
from typing import Final

import msgspec

from a3s_power.core.errors import BadFile, EngineMissing
from a3s_power.gguf.layout import TensorType, quoted

_PACKAGE: Final = "xllamacpp"
_NEEDED: Final = (
    *("ggml_quantize_chunk", "ggml_validate_row_data"),
    *("ggml_fp16_to_fp32_row", "ggml_bf16_to_fp32_row"),
)
_FLOAT_BYTES: Final = 4


class Rows(msgspec.Struct, frozen=True, array_like=True):
    """Rows of a matrix in a file, to be converted: where they begin, how many, how long, and what they become."""

    name: str
    source: TensorType
    target: TensorType
    offset: int
    rows: int
    columns: int


class Kernels:
    """The conversions of one library."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Raises EngineMissing when the library hides one of them."""
        hidden = [name for name in _NEEDED if not hasattr(library, name)]
        if hidden:
            raise EngineMissing(f"quantizing is not available: this build of {_PACKAGE} does not offer {hidden[0]}")
        library.ggml_quantize_chunk.restype = ctypes.c_size_t
        library.ggml_quantize_chunk.argtypes = [
            *(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p),
            *(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p),
        ]
        library.ggml_validate_row_data.restype = ctypes.c_bool
        library.ggml_validate_row_data.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
        for widen in (library.ggml_fp16_to_fp32_row, library.ggml_bf16_to_fp32_row):
            widen.restype = None
            widen.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
        self._library = library

    def convert(self, file: int, part: Rows) -> ctypes.Array[ctypes.c_char]:
        """The rows as their new type. Raises BadFile for a file cut off, and for what is no number in either type."""
        count = part.rows * part.columns
        size = part.source.size((part.columns, part.rows))
        content = os.pread(file, size, part.offset)
        if len(content) != size:
            raise BadFile("unexpected end of file: the tensors are cut off")
        # Some kernels would make an ordinary block of it.
        if not self._library.ggml_validate_row_data(part.source, content, size):
            raise BadFile(f"tensor {quoted(part.name)} holds values that are no numbers")
        floats = self._floats(part.source, content, count)
        made = ctypes.create_string_buffer(part.target.size((part.columns, part.rows)))
        self._library.ggml_quantize_chunk(part.target, floats, made, 0, part.rows, part.columns, None)
        if not self._library.ggml_validate_row_data(part.target, made, len(made)):
            raise BadFile(f"tensor {quoted(part.name)} holds numbers that {part.target.name} cannot hold")
        return made

    def _floats(self, kind: TensorType, content: bytes, count: int) -> bytes | ctypes.Array[ctypes.c_char]:
        if kind is TensorType.F32:
            return content
        floats = ctypes.create_string_buffer(count * _FLOAT_BYTES)
        half = kind is TensorType.F16
        widen = self._library.ggml_fp16_to_fp32_row if half else self._library.ggml_bf16_to_fp32_row
        widen(content, floats, count)
        return floats


def load() -> Kernels:
    """The kernels of the installed wheel, without importing it. Raises EngineMissing."""
    found = importlib.util.find_spec(_PACKAGE)
    folders = (found.submodule_search_locations if found else None) or ()
    paths = [Path(folder, _PACKAGE + end) for folder in folders for end in importlib.machinery.EXTENSION_SUFFIXES]
    for path in paths:
        if path.exists():
            return Kernels(ctypes.CDLL(str(path)))
    raise EngineMissing(f"quantizing is not available: llama.cpp's library ({_PACKAGE}) is not installed")
