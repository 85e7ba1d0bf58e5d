"""An engine that does what its prompt says, for tests of the child around it, which finds it by `TARGET`.

Prompts: `hold` speaks and waits to be cancelled, `deaf PATH` speaks and waits for a file whatever happens, `abort`
ends the process as a failed assertion of native code does, `raise` fails with an error that is none of ours, `say N`
says N pieces, anything else is repeated. Weights: `abort`, `raise`, `no memory`, `wait PATH` (for a file), else loads.
The one at `PATIENT` loads models of a store: it waits for a file called `go` in the folder of the weights, and fails
with the text in it, if there is one.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from a3s_power.core.errors import LoadFailed
from a3s_power.core.model import ModelFiles
from a3s_power.engines.echo import Echo
from a3s_power.engines.engine import Job, Loaded, LoadOptions, Outcome, Piece

TARGET: Final = "tests.obedient:Obedient"
PATIENT: Final = "tests.obedient:Patient"
_SOON: Final = 0.001


class Obedient(Echo):
    """Echo, with a will of the test's."""

    def load(self, files: ModelFiles, options: LoadOptions, report: Callable[[float], None]) -> Loaded:
        match files.weights.split(" ", 1):
            case ["abort"]:
                _abort()
            case ["raise"]:
                raise ZeroDivisionError("not one of ours")
            case ["no", "memory"]:
                print(
                    "0.00.006.244 E ggml_aligned_malloc: insufficient memory (attempted to allocate 61035.16 MB)",
                    file=sys.stderr,
                )
                print("0.00.006.245 E and then this", file=sys.stderr)
                raise LoadFailed("could not load")
            case ["wait", path]:
                report(0.25)
                _wait_for(Path(path))
        return super().load(files, options, report)

    def generate(self, job: Job, emit: Callable[[Piece], None]) -> Outcome:
        words = str(job.prompt).split(" ", 1)
        match words:
            case ["hold"]:
                emit(Piece("held"))
                while not job.cancelled:
                    time.sleep(_SOON)
            case ["deaf", path]:
                emit(Piece("deaf"))
                _wait_for(Path(path))
            case ["abort"]:
                emit(Piece("last words"))
                _abort()
            case ["raise"]:
                raise ZeroDivisionError("not one of ours")
            case ["say", count]:
                for _ in range(int(count)):
                    emit(Piece("word "))
            case _:
                return super().generate(job, emit)
        return Outcome(reason="stop")


class Patient(Echo):
    """Echo, loaded when it is told to."""

    def load(self, files: ModelFiles, options: LoadOptions, report: Callable[[float], None]) -> Loaded:
        report(0.25)
        go = Path(files.weights).parent / "go"
        _wait_for(go)
        if why := go.read_text():
            raise LoadFailed(why)
        return super().load(files, options, report)


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(_SOON)


def _abort() -> None:
    print("/src/ggml.c:12: GGML_ASSERT(everything > 0) failed", file=sys.stderr, flush=True)
    os.abort()
