"""The tests' own models, loaded by the real engine in a child process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from a3s_power.gguf.layout import TensorType
from tests.models import tiny_llama

_CHILD = """
import json, os, sys
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.verbosity = sys.argv[1], 256, 1, 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
answer = server.handle_completions({"prompt": "Hello, früh!", "max_tokens": 48, "temperature": 0.8, "seed": 1})
print(json.dumps(answer), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("kind", [TensorType.F16, TensorType.F32])
def test_a_tiny_model_loads_and_never_ends_by_itself(tmp_path: Path, kind: TensorType) -> None:
    path = tmp_path / "tiny.gguf"
    tiny_llama(path, seed=3, type=kind)
    run = subprocess.run([sys.executable, "-c", _CHILD, path], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    assert answer["usage"]["completion_tokens"] == 48
    assert answer["choices"][0]["finish_reason"] == "length"
    # BOS, the blank before every text, a token for each sign and two for the letter of two bytes
    assert answer["usage"]["prompt_tokens"] == 2 + 11 + 2
