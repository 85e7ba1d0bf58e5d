"""Weights on their way into GGUF files."""

from typing import Literal

import gguf
import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType

FileType = Literal["F32", "F16", "Q8_0", "Q4_0"]
Array = npt.NDArray[np.float32]

FILE_TYPES: dict[FileType, LlamaFileType] = {
    "F32": LlamaFileType.ALL_F32,
    "F16": LlamaFileType.MOSTLY_F16,
    "Q8_0": LlamaFileType.MOSTLY_Q8_0,
    "Q4_0": LlamaFileType.MOSTLY_Q4_0,
}


def interleaved(rows: Array, heads: int) -> Array:
    """The rows of a query or key matrix in llama.cpp's order: pairs that rotate together lie side by side.

    Transformers keeps the first halves of all pairs before the second halves.
    """
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def add_tensor(writer: GGUFWriter, name: str, values: Array, file_type: FileType) -> None:
    """Add a tensor as a file of that type holds it.

    Vectors stay F32, rows that are no multiple of a block are F16, and embeddings are never below Q8_0.
    """
    values = np.ascontiguousarray(values, dtype=np.float32)
    if values.ndim == 1 or file_type == "F32":
        writer.add_tensor(name, values)
    elif file_type == "F16" or values.shape[-1] % 32:
        writer.add_tensor(name, values.astype(np.float16))
    else:
        block = "Q8_0" if name in ("token_embd.weight", "output.weight") else file_type
        kind = GGMLQuantizationType[block]
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)


def finish(writer: GGUFWriter) -> None:
    """Write the file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
