"""Laws of GGUF files: what is written is read again, and whatever the bytes, the worst is a BadFile."""

import io
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from a3s_power.core.errors import BadFile
from a3s_power.gguf.facts import facts, kind_of, model_info, projector_info, tensor_list
from a3s_power.gguf.layout import FORMATS, Header, TensorType, ValueType
from a3s_power.gguf.reader import read_header
from a3s_power.gguf.writer import Tensor, Typed, write

_BITS = {"B": 8, "b": 8, "H": 16, "h": 16, "I": 32, "i": 32, "Q": 64, "q": 64}


def _scalars(kind: ValueType) -> st.SearchStrategy[Any]:
    form = FORMATS.get(kind, "s")
    if form == "s":
        return st.text(st.characters(exclude_categories=["Cs"]))
    if form == "?":
        return st.booleans()
    if form in "fd":
        return st.floats(width=32 if form == "f" else 64, allow_nan=False)
    bits = _BITS[form]
    least = -(2 ** (bits - 1)) if form.islower() else 0
    return st.integers(least, least + 2**bits - 1)


def _values(kind: ValueType) -> st.SearchStrategy[Typed]:
    return st.one_of(_scalars(kind), st.lists(_scalars(kind), max_size=6)).map(lambda value: Typed(kind, value))


_VALUES = st.sampled_from([kind for kind in ValueType if kind is not ValueType.ARRAY]).flatmap(_values)
_KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda key: not key.startswith("general.")
)
_PAIRS = st.dictionaries(_KEYS, _VALUES, max_size=8)


@st.composite
def _tensors(draw: st.DrawFn, name: str) -> Tensor:
    kind = draw(st.sampled_from(TensorType))
    rows = draw(st.lists(st.integers(1, 4), max_size=3))
    shape = (kind.block[0] * draw(st.integers(1, 3)), *rows)
    return Tensor(name, kind, shape, [bytes(kind.size(shape))])


_TENSORS = st.lists(st.text("abc.", min_size=1, max_size=9), unique=True, max_size=5).flatmap(
    lambda names: st.tuples(*map(_tensors, names))
)


def _file(pairs: dict[str, Typed], tensors: tuple[Tensor, ...]) -> bytes:
    file = io.BytesIO()
    write(file, {"general.architecture": "test", **pairs}, tensors)
    return file.getvalue()


def _same(read: object, written: Typed) -> bool:
    """Equal, 32-bit floats by their bytes: the reader gives them with the fewest digits."""
    value = tuple(written.value) if isinstance(written.value, list) else written.value
    return _file({"x": Typed(written.type, read)}, ()) == _file({"x": Typed(written.type, value)}, ())  # type: ignore[arg-type] # it is of the type that was written


@given(pairs=_PAIRS, tensors=_TENSORS)
def test_what_is_written_is_read_again(pairs: dict[str, Typed], tensors: tuple[Tensor, ...]) -> None:
    content = _file(pairs, tensors)
    header = read_header(io.BytesIO(content), arrays=True)
    assert header.key_values.keys() == {"general.architecture", *pairs}
    assert all(_same(header.key_values[key], value) for key, value in pairs.items())
    assert [(one.name, one.type, one.shape) for one in header.tensors] == [
        (one.name, one.type, one.shape) for one in tensors
    ]
    assert all(header.data_offset + one.offset + one.size <= len(content) for one in header.tensors)


@given(pairs=_PAIRS, tensors=_TENSORS)
def test_leaving_arrays_out_changes_nothing_else(pairs: dict[str, Typed], tensors: tuple[Tensor, ...]) -> None:
    content = _file(pairs, tensors)
    whole, short = read_header(io.BytesIO(content), arrays=True), read_header(io.BytesIO(content))
    assert (whole.tensors, whole.data_offset) == (short.tensors, short.data_offset)
    assert model_info(whole) == model_info(short)


def _describe(header: Header) -> None:
    assert kind_of(header) in ("model", "projector", "adapter")
    assert facts(header).parameters == sum(one.elements for one in header.tensors)
    assert len(tensor_list(header)) == len(header.tensors)
    assert model_info(header, verbose=True).keys() <= projector_info(header).keys()


@given(data=st.data(), pairs=_PAIRS, tensors=_TENSORS)
def test_a_damaged_file_is_read_or_refused(
    data: st.DataObject, pairs: dict[str, Typed], tensors: tuple[Tensor, ...]
) -> None:
    content = bytearray(_file(pairs, tensors))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    arrays = data.draw(st.booleans())
    with suppress(BadFile):
        _describe(read_header(io.BytesIO(cut), arrays=arrays))


@given(st.binary(max_size=200), st.sampled_from([b"", b"GGUF", b"GGUF\x03\x00\x00\x00", b"GGUF\x02\x00\x00\x00"]))
def test_any_bytes_are_read_or_refused(content: bytes, beginning: bytes) -> None:
    with suppress(BadFile):
        _describe(read_header(io.BytesIO(beginning + content)))
