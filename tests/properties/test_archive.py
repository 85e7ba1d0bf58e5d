"""Laws of archives: cutting changes nothing, and whatever bytes change, there is a whole model or nothing."""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from a3s_power.core.digests import Digest
from a3s_power.core.errors import PowerError
from a3s_power.store import Store
from a3s_power.store.archive import Unpacking
from tests.archives import CONFIG, PLACE, SAID, WEIGHTS, WHOLE, place
from tests.stores import files_below

_GOOD = WHOLE[: 512 * 10]
_CHANGES = st.lists(st.tuples(st.integers(0, len(_GOOD) - 1), st.integers(0, 255)), max_size=3)


def _fed(folder: Path, content: bytes, sizes: Sequence[int]) -> set[str]:
    """What an archive that comes in pieces of these sizes, over and over, leaves behind."""
    unpacking = Unpacking(Store(folder))
    at = 0
    try:
        with suppress(PowerError):
            while at < len(content):
                for size in sizes:
                    unpacking.feed(content[at : at + size])
                    at += size
            unpacking.finish()
    finally:
        unpacking.close()
    return files_below(folder)


@given(sizes=st.lists(st.integers(1, 1500), min_size=1, max_size=5))
def test_every_cutting_gives_the_same_model(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        left = _fed(Path(folder), _GOOD, sizes)
    assert left == {PLACE, *(place(content) for content in (CONFIG, WEIGHTS, SAID))}


@given(changes=_CHANGES, end=st.integers(0, len(_GOOD)), sizes=st.lists(st.integers(1, 1500), min_size=1, max_size=3))
def test_whatever_is_changed_a_whole_model_is_left_or_nothing(
    changes: list[tuple[int, int]], end: int, sizes: list[int]
) -> None:
    content = bytearray(_GOOD)
    for at, byte in changes:
        content[at] = byte
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        left = _fed(folder, bytes(content[: max(end, len(content) * (end % 2))]), sizes)
        for path in left:
            if path.startswith("blobs/"):
                assert Digest.of((folder / path).read_bytes()).file_name == Path(path).name
        manifests = [path for path in left if path.startswith("manifests/")]
        assert len(manifests) == (1 if left else 0)
