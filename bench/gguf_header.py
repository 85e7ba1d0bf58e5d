"""How long reading a GGUF header takes, in milliseconds: the best and the median of some runs.

python -m bench.gguf_header FILE...       without a file: a vocabulary of 150,000 tokens, made on the spot
"""

import argparse
import io
import random
import statistics
import time
from pathlib import Path

from a3s_power.gguf.layout import ValueType
from a3s_power.gguf.reader import read_header
from a3s_power.gguf.writer import Typed, write

TOKENS = 150_000
RUNS = 15


def vocabulary() -> bytes:
    """A header like that of a large model: tokens, their types, and merges."""
    chance = random.Random(1)
    tokens = ["".join(chance.choices("abcdefghij ", k=chance.randint(1, 12))) for _ in range(TOKENS)]
    merges = [f"{token[: len(token) // 2]} {token[len(token) // 2 :]}" for token in tokens]
    file = io.BytesIO()
    write(
        file,
        {
            "general.architecture": "llama",
            "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": Typed(ValueType.INT32, [1] * TOKENS),
            "tokenizer.ggml.merges": merges,
        },
    )
    return file.getvalue()


def milliseconds(source: Path | bytes, *, arrays: bool) -> list[float]:
    """One reading after another."""
    times = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        read_header(io.BytesIO(source) if isinstance(source, bytes) else source, arrays=arrays)
        times.append((time.perf_counter() - begun) * 1000)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="Time of reading GGUF headers.")
    parser.add_argument("files", nargs="*", type=Path)
    files: list[Path] = parser.parse_args().files
    sources: dict[str, Path | bytes] = {file.name: file for file in files} or {"150,000 tokens": vocabulary()}
    for name, source in sources.items():
        for arrays in (False, True):
            times = milliseconds(source, arrays=arrays)
            what = "all arrays" if arrays else "header only"
            print(f"{name:36} {what:12} best {min(times):7.2f} ms   median {statistics.median(times):7.2f} ms")


if __name__ == "__main__":
    main()
