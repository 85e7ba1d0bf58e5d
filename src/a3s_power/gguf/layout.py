"""What a GGUF file is made of: value types, tensor types, and the header as a value.

The format is described in ggml's `docs/gguf.md`; block sizes are those of ggml's type table.
"""

from enum import IntEnum
from math import prod
from typing import Final, Literal

import msgspec

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
DEFAULT_ALIGNMENT: Final = 32
NAME_BYTES: Final = 64
"""The longest name of a tensor the format allows, in bytes."""

ARCHITECTURE: Final = "general.architecture"
ALIGNMENT: Final = "general.alignment"


class ValueType(IntEnum):
    """What a key's value is."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


FORMATS: Final = {
    ValueType.UINT8: "B",
    ValueType.INT8: "b",
    ValueType.UINT16: "H",
    ValueType.INT16: "h",
    ValueType.UINT32: "I",
    ValueType.INT32: "i",
    ValueType.FLOAT32: "f",
    ValueType.BOOL: "?",
    ValueType.UINT64: "Q",
    ValueType.INT64: "q",
    ValueType.FLOAT64: "d",
}
"""How `struct` calls the types of fixed size."""


class TensorType(IntEnum):
    """What a tensor's elements are. The numbers that are missing are types ggml has taken back."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    Q8_1 = 9
    Q2_K = 10
    Q3_K = 11
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14
    Q8_K = 15
    IQ2_XXS = 16
    IQ2_XS = 17
    IQ3_XXS = 18
    IQ1_S = 19
    IQ4_NL = 20
    IQ3_S = 21
    IQ2_S = 22
    IQ4_XS = 23
    I8 = 24
    I16 = 25
    I32 = 26
    I64 = 27
    F64 = 28
    IQ1_M = 29
    BF16 = 30
    TQ1_0 = 34
    TQ2_0 = 35
    MXFP4 = 39
    NVFP4 = 40
    Q1_0 = 41
    Q2_0 = 42

    @property
    def block(self) -> tuple[int, int]:
        """Elements and bytes of one block: rows are whole blocks."""
        return _BLOCKS[self]

    def size(self, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor of this shape, whose rows must be whole blocks."""
        elements, size = _BLOCKS[self]
        return prod(shape) // elements * size


_BLOCKS: Final[dict[int, tuple[int, int]]] = {
    TensorType.F32: (1, 4),
    TensorType.F16: (1, 2),
    TensorType.Q4_0: (32, 18),
    TensorType.Q4_1: (32, 20),
    TensorType.Q5_0: (32, 22),
    TensorType.Q5_1: (32, 24),
    TensorType.Q8_0: (32, 34),
    TensorType.Q8_1: (32, 36),
    TensorType.Q2_K: (256, 84),
    TensorType.Q3_K: (256, 110),
    TensorType.Q4_K: (256, 144),
    TensorType.Q5_K: (256, 176),
    TensorType.Q6_K: (256, 210),
    TensorType.Q8_K: (256, 292),
    TensorType.IQ2_XXS: (256, 66),
    TensorType.IQ2_XS: (256, 74),
    TensorType.IQ3_XXS: (256, 98),
    TensorType.IQ1_S: (256, 50),
    TensorType.IQ4_NL: (32, 18),
    TensorType.IQ3_S: (256, 110),
    TensorType.IQ2_S: (256, 82),
    TensorType.IQ4_XS: (256, 136),
    TensorType.I8: (1, 1),
    TensorType.I16: (1, 2),
    TensorType.I32: (1, 4),
    TensorType.I64: (1, 8),
    TensorType.F64: (1, 8),
    TensorType.IQ1_M: (256, 56),
    TensorType.BF16: (1, 2),
    TensorType.TQ1_0: (256, 54),
    TensorType.TQ2_0: (256, 66),
    TensorType.MXFP4: (32, 17),
    TensorType.NVFP4: (64, 36),
    TensorType.Q1_0: (128, 18),
    TensorType.Q2_0: (64, 18),
}

Scalar = bool | int | float | str


class Skipped(msgspec.Struct, frozen=True):
    """An array whose items were not read."""

    type: ValueType
    count: int


Value = Scalar | tuple[Scalar, ...] | Skipped


class Raw(msgspec.Struct, frozen=True):
    """A value as it lies in a file, to be written into another one: its type, and all that follows."""

    content: bytes


Kind = Literal["model", "projector", "adapter"]


class TensorInfo(msgspec.Struct, frozen=True):
    """A tensor. `shape` has the fastest dimension first; `offset` is in bytes from the header's `data_offset`."""

    name: str
    type: TensorType
    shape: tuple[int, ...]
    offset: int

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes of its data."""
        return self.type.size(self.shape)


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """All of a GGUF but its tensors' data. `size` is that of the file; offsets and sizes in bytes."""

    version: int
    key_values: dict[str, Value]
    tensors: tuple[TensorInfo, ...]
    data_offset: int
    size: int

    @property
    def architecture(self) -> str:
        """The name of the model's build, empty for the further parts of a split file."""
        return self.text(ARCHITECTURE)

    def about(self, key: str) -> Value | None:
        """The value of `<architecture>.<key>`."""
        return self.key_values.get(f"{self.architecture}.{key}")

    def text(self, key: str) -> str:
        """The value under the whole `key` when it is a text, else an empty one."""
        value = self.key_values.get(key)
        return value if isinstance(value, str) else ""

    def count(self, key: str) -> int:
        """The whole number at `<architecture>.<key>`, of a list the largest; 0 without one."""
        return max(self.counts(key), default=0)

    def counts(self, key: str) -> tuple[int, ...]:
        """The whole numbers at `<architecture>.<key>`: one, or one for each layer."""
        value = self.about(key)
        values = value if isinstance(value, tuple) else (value,)
        return tuple(one for one in values if isinstance(one, int) and not isinstance(one, bool))


def aligned(offset: int, alignment: int) -> int:
    """The first multiple of `alignment` that is not before `offset`."""
    return -(-offset // alignment) * alignment


def quoted(text: str) -> str:
    """A file's text, made harmless and short enough for a message."""
    plain = "".join(sign if sign.isprintable() else "\ufffd" for sign in text[:64])
    return msgspec.json.encode(plain).decode()
