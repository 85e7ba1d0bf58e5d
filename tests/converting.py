"""Conversions for tests: a folder uploaded and converted by a real child, and the engine's word on what it became."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import pytest

from a3s_power.core.events import Done, Progress, Text
from a3s_power.create.child import Children
from a3s_power.create.convert.start import converted
from a3s_power.create.files import File
from a3s_power.create.making import Making
from a3s_power.gguf.reader import read_header
from a3s_power.runner.frames import Embed
from a3s_power.store import Store
from tests.conversions import Recorded, files_of, pieces_of, write_folder
from tests.runners import events, loaded, raw

_CLOSE: Final = 0.05
"""How far a log-probability may be from the recorded one: weights have 16 bits here, and so has what is multiplied."""


def put(store: Store, folder: Path) -> dict[str, str]:
    """Upload the files of a folder: digests by name."""
    found = {}
    for name, path in files_of(folder).items():
        with path.open("rb") as file:
            found[name] = str(store.blobs.put(file)[0])
    return found


def _nobody(_: Progress) -> None:
    pass


def convert(
    store: Store,
    files: dict[str, str],
    report: Callable[[Progress], None] = _nobody,
    children: Children | None = None,
) -> File:
    """Uploaded files as a GGUF in the store."""
    with Making.begun(store, report, children or Children(dict(os.environ))) as making:
        return converted(files, making)


async def check(scratch: Path, model: Recorded) -> None:
    """Convert a model, and hold what it says in the engine against what Transformers said."""
    store = Store(scratch / "models")
    made = convert(store, put(store, write_folder(scratch / "hf", model)))
    path = store.blobs.path(made.layer.blob)
    if model.vector:
        await _check_vector(scratch, path, model)
    else:
        await _check_next_token(scratch, path, model)


async def _check_vector(scratch: Path, path: Path, model: Recorded) -> None:
    async with loaded("llamacpp", scratch, path, context_length=model.context, parallel=1) as runner:
        vectors = await runner.embed(Embed(texts=(model.text,)))
    assert vectors.prompt_tokens == len(model.tokens)
    assert list(vectors.rows[0]) == pytest.approx(model.vector, abs=0.001)


async def _check_next_token(scratch: Path, path: Path, model: Recorded) -> None:
    async with loaded("llamacpp", scratch, path, context_length=model.context, parallel=1) as runner:
        said, *_, done = await events(runner, raw(model.text, num_predict=1, top_logprobs=len(model.logprobs)))
        tokens = await runner.tokenize(model.text)
    assert isinstance(said, Text)
    assert isinstance(done, Done)
    # The first one may be one that is put before every text.
    assert list(tokens) == model.tokens[-len(tokens) :]
    assert done.usage.prompt_tokens == len(model.tokens) <= len(tokens) + 1
    likely = said.logprobs[0].top
    assert [one.logprob for one in likely] == pytest.approx(sorted(model.logprobs, reverse=True), abs=_CLOSE)
    found = _by_bytes((one.bytes, one.logprob) for one in likely)
    pieces = pieces_of(read_header(path, arrays=True))
    for piece, expected in _by_bytes(zip(pieces, model.logprobs, strict=True)).items():
        assert piece is None or found[piece] == pytest.approx(expected, abs=_CLOSE)


def _by_bytes(tokens: Iterable[tuple[bytes | None, float]]) -> dict[bytes | None, list[float]]:
    """The log-probabilities of tokens by what they stand for, which may be the same for two of them."""
    found: dict[bytes | None, list[float]] = {}
    for piece, logprob in sorted(tokens, key=lambda token: token[1]):
        found.setdefault(piece, []).append(logprob)
    return found
