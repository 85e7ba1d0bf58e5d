"""Start a child: its command line, its cleaned environment, its pipes, and a folder that goes when it goes."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from a3s_power import __version__
from a3s_power.engines import EngineInfo
from a3s_power.hardware.priority import lower

_NICE = 5
"""Enough for the server to be let in between at once; among other programs it still counts for a third of one."""

# A child opens files of strangers with native code: of our environment it gets what such libraries need, no secret.
_KEPT = frozenset({"PATH", "HOME", "USER", "LANG", "TZ", "VIRTUAL_ENV", "SYSTEMROOT", "SSL_CERT_FILE", "HF_HOME"})
_KEPT_PREFIXES = (
    *("LC_", "LD_", "DYLD_", "PYTHON", "COVERAGE_", "XDG_"),
    *("CUDA_", "NVIDIA_", "NCCL_", "HIP_", "ROCR_", "ROCM_", "HSA_", "VK_", "ZE_", "ONEAPI_", "SYCL_"),
    *("GGML_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "TORCH_", "VLLM_"),
)


class Launched(NamedTuple):
    """A child that runs, our end of its socket, and its private folder (mode 0700)."""

    process: subprocess.Popen[bytes]
    link: socket.socket
    folder: Path


def launch(
    name: str,
    engine: EngineInfo,
    environ: Mapping[str, str],
    scratch: Path | None,
    python: str,
    *,
    own: Mapping[str, str],
) -> Launched:
    """Start a child, from the thread that will live as long as the server: the child dies with that thread.

    `own` are variables of this child alone; they win over those that its engine has always.
    """
    folder = Path(tempfile.mkdtemp(prefix="a3s-", dir=scratch))
    ours, theirs = socket.socketpair()
    try:
        process = subprocess.Popen(  # noqa: S603 -- our own program, by a list
            _command(python, theirs.fileno(), name),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={**environment(environ, engine, folder), **own},
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        theirs.close()
    # Its threads may keep all processors busy, and the server that talks to everybody must not wait for them.
    lower(process.pid, _NICE)
    return Launched(process, ours, folder)


def _command(python: str, descriptor: int, engine: str) -> list[str]:
    # -P: the folder the server was started in is no place to import from.
    program = [python, "-P", "-m", "a3s_power.runner"]
    asked = ["--fd", str(descriptor), "--parent", str(os.getpid()), "--engine", engine, "--version", __version__]
    return [*program, *asked]


def environment(environ: Mapping[str, str], engine: EngineInfo, folder: Path) -> dict[str, str]:
    """What a child's environment holds: no proxies, no secrets, nothing that sets up the engine behind our back."""
    return cleaned(environ) | {"TMPDIR": str(folder)} | dict(engine.environment)


def cleaned(environ: Mapping[str, str]) -> dict[str, str]:
    """Of an environment, what a process may have that works on files of strangers."""
    return {name: value for name, value in environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
