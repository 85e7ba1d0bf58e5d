"""The engine's library with nothing of ours around it, in a process of its own: what our answers are compared to."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SECONDS = 120

_PROGRAM = """
import json, os, sys
import xllamacpp
asked = json.load(sys.stdin)
params = xllamacpp.CommonParams()
params.model.path = asked["weights"]
params.verbosity, params.ui, params.warmup, params.n_parallel = 1, False, False, 1
params.hostnames = [os.path.join(asked["folder"], "bare.sock")]
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.mmproj.path = asked["projector"]
if "pooling" in asked:
    params.pooling_type = xllamacpp.llama_pooling_type(asked["pooling"])
for name, value in asked["params"].items():
    setattr(params, name, value)
params.flash_attn_type = xllamacpp.llama_flash_attn_type(asked["flash_attention"])
server = xllamacpp.Server(params)
print(json.dumps([getattr(server, "handle_" + method)(body) for method, body in asked["calls"]]))
sys.stdout.flush()
os._exit(0)
"""


def bare(
    folder: Path,
    weights: Path,
    calls: Sequence[tuple[str, dict[str, Any]]],
    *,
    flash_attention: bool = False,
    pooling: int | None = None,
    projector: Path | None = None,
    **params: Any,
) -> list[Any]:
    """The library's answers to calls of its methods `handle_…`, one model and one slot for all of them."""
    asked: dict[str, Any] = {"weights": str(weights), "folder": str(folder), "calls": calls, "params": params}
    asked["projector"] = str(projector or "")
    asked |= {"flash_attention": int(flash_attention)} | ({} if pooling is None else {"pooling": pooling})
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    answers: list[Any] = json.loads(ran.stdout)
    return answers
