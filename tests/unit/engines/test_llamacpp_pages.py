"""Pages given back: those of what was rearranged and no others, of this file and no other, and they read as before."""

import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from a3s_power.core.limits import MIB
from a3s_power.engines.llamacpp_pages import give_back
from a3s_power.gguf.layout import Header, TensorInfo, TensorType

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pages are given back on Linux only")

Q4_0_MIB = (32, MIB // 18)
"""The shape of just under a MiB of Q4_0."""
BEFORE = 4096 + 64
"""Where the tensors' data begins in the file."""


def tensor(name: str, place: int, kind: TensorType = TensorType.Q4_0) -> TensorInfo:
    """One of a MiB, `place` MiB behind the first."""
    shape = Q4_0_MIB if kind is TensorType.Q4_0 else (MIB // 4,)
    return TensorInfo(name, kind, shape, place * MIB)


def header(*tensors: TensorInfo) -> Header:
    return Header(version=3, key_values={}, tensors=tensors, data_offset=BEFORE, size=8 * MIB)


@contextmanager
def mapped(path: Path, mib: int) -> Iterator[mmap.mmap]:
    """A file of so many MiB, all of it mapped and in memory."""
    path.write_bytes(bytes(range(256)) * (mib * MIB // 256))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
        # A huge page leaves as a whole.
        content.madvise(mmap.MADV_NOHUGEPAGE)
        assert sum(content[:: mmap.PAGESIZE]) == 0
        yield content


def in_memory(path: Path) -> int:
    """MiB of the file's pages that this process has in memory, to the nearest one."""
    said = Path("/proc/self/smaps").read_text().partition(str(path))[2]
    return round(int(said.partition("\nRss:")[2].split()[0]) / 1024)


def test_pages_of_rearranged_tensors_are_given_back_and_no_others(tmp_path: Path) -> None:
    one, other = tmp_path / "one.gguf", tmp_path / "other.gguf"
    with mapped(one, 8) as content, mapped(other, 8):
        kept = tensor("blk.0.ffn_norm.weight", 3, TensorType.F32), tensor("token_embd.weight", 5)
        rearranged = [tensor(f"blk.{place}.attn_q.weight", place) for place in (0, 1, 6)]
        give_back(str(one), header(*kept, *rearranged))
        assert (in_memory(one), in_memory(other)) == (5, 8)
        assert content[BEFORE + MIB : BEFORE + MIB + 256] == bytes(range(64, 256)) + bytes(range(64))


def test_a_file_under_another_name_is_found(tmp_path: Path) -> None:
    with mapped(tmp_path / "weights.gguf", 2):
        link = tmp_path / "link.gguf"
        link.symlink_to("weights.gguf")
        give_back(str(link), header(tensor("blk.0.attn_q.weight", 0)))
        assert in_memory(tmp_path / "weights.gguf") == 1


@pytest.mark.parametrize("tensors", [(), (tensor("output_norm.weight", 0, TensorType.F32),)])
def test_where_nothing_was_rearranged_all_stays(tmp_path: Path, tensors: tuple[TensorInfo, ...]) -> None:
    with mapped(tmp_path / "weights.gguf", 2):
        give_back(str(tmp_path / "weights.gguf"), header(*tensors))
        assert in_memory(tmp_path / "weights.gguf") == 2


def test_a_file_that_is_not_mapped_is_let_be(tmp_path: Path) -> None:
    give_back(str(tmp_path / "nothing.gguf"), header(tensor("blk.0.attn_q.weight", 0)))
