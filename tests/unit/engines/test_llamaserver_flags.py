"""The flags of llama-server: they mean what the library is told, and what an operator may add is on a list."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from a3s_power.core.errors import BadConfig
from a3s_power.core.model import Facts, ModelFiles
from a3s_power.engines import llamacpp_library
from a3s_power.engines.engine import LoadOptions
from a3s_power.engines.llamacpp_params import Machine, Settings, settings
from a3s_power.engines.llamacpp_socket import Listener
from a3s_power.engines.llamaserver_flags import check_added, flags
from tests.llama_server import take

FACTS = Facts(architecture="llama", file_type="Q4_K_M", context_length=4096, heads=8, block_count=4)
CHOSEN = settings(LoadOptions(context_length=1024, parallel=2), FACTS, Machine(x86=True))
OTHERS: dict[str, Any] = {
    "context": 2048,
    "parallel": 3,
    "batch": 64,
    "micro_batch": 32,
    "threads": 7,
    "threads_batch": 8,
    "gpu_layers": 5,
    "main_gpu": 1,
    "tensor_split": (1.0, 2.5),
    "load_mode": "NONE",
    "repack": True,
    "flash_attention": "ENABLED",
    "cache_type": "q8_0",
    "prompt_cache_mib": 77,
    "shift": False,
    "embedding": True,
    "last_token_pooling": True,
    "ranks": True,
    "fit": True,
    "warm_up": True,
    "draft": "ngram",
    "draft_tokens": 6,
    "gpu_reserve": 3 << 20,
}
"""For every setting a value that it has not in `CHOSEN`."""

_OURS = {"gives_back"}
"""What the engine is not told: it is done by us when it has loaded."""

_OWN = {"n_threads_http", "offline", "kv_unified"}
"""What the two are told differently, on purpose: where requests are handled, and what is the library's default."""


def _as_values(native: Any) -> dict[str, Any]:
    """A structure of the library as plain values."""
    found: dict[str, Any] = {}
    for name in dir(native):
        if name.startswith("_") or name in _OWN:
            continue
        value = getattr(native, name)
        if callable(value):
            continue
        plain = isinstance(value, str | int | float | bool | list | tuple | set | dict | None)
        found[name] = value if plain else _as_values(value)
    return found


def _told(chosen: Settings, files: ModelFiles) -> tuple[dict[str, Any], dict[str, Any]]:
    """The library's parameters as they are set in this process, and by flags."""
    x = llamacpp_library.library()
    ours = llamacpp_library.parameters(x, chosen, files, Listener(path="/tmp/e.sock"))
    theirs = x.CommonParams()
    take(x, theirs, [*flags(chosen, files, "", "llama"), "--host", "/tmp/e.sock"])
    return _as_values(ours), _as_values(theirs)


def test_there_is_another_value_for_every_setting() -> None:
    assert set(OTHERS) | _OURS == set(Settings.__struct_fields__)


@pytest.mark.parametrize("name", ["", *OTHERS])
def test_flags_say_what_the_library_is_told(name: str) -> None:
    other = {name: OTHERS[name]} if name else {}
    beside = {"draft": "ngram"} if name == "draft_tokens" else {"draft_tokens": 6} if name == "draft" else {}
    chosen = msgspec.structs.replace(CHOSEN, **other, **beside)
    ours, theirs = _told(chosen, ModelFiles(weights="/m.gguf"))
    ours.pop("lora_adapters"), theirs.pop("lora_adapters")
    assert theirs == ours
    unchanged = {"ranks": {"embedding": True}, "last_token_pooling": {"embedding": True}}.get(name, beside)
    before = msgspec.structs.replace(CHOSEN, **unchanged)
    if name:
        assert flags(chosen, ModelFiles(weights="/m.gguf"), "", "llama") != flags(
            before, ModelFiles(weights="/m.gguf"), "", "llama"
        )


def test_files_beside_the_weights_are_told() -> None:
    files = ModelFiles(weights="/m.gguf", adapters=(("/a.gguf", 0.5), ("/b.gguf", 1.0)), draft="/d.gguf")
    chosen = msgspec.structs.replace(CHOSEN, draft="model", draft_tokens=4)
    ours, theirs = _told(chosen, files)
    adapters = [[(each.path, each.scale) for each in values.pop("lora_adapters")] for values in (ours, theirs)]
    assert adapters == [[("/a.gguf", 0.5), ("/b.gguf", 1.0)]] * 2
    assert theirs == ours
    assert ours["speculative"]["draft"]["mparams"]["path"] == "/d.gguf"


def test_a_projector_ends_shifting() -> None:
    said = flags(CHOSEN, ModelFiles(weights="/m.gguf"), "/p.gguf", "llama")
    assert "--no-context-shift" in said
    assert said[said.index("-mm") + 1] == "/p.gguf"


@pytest.mark.parametrize(
    "added",
    [
        (),
        ("--numa", "distribute"),
        ("-C", "0xF", "--cpu-strict", "1"),
        ("-ot", r"blk\.\d+\.ffn_.*=CPU", "--n-cpu-moe", "4"),
        ("-dev", "CUDA0,CUDA1", "-sm", "row"),
        ("--swa-full", "--rope-scale", "2.5"),
    ],
)
def test_harmless_flags_may_be_added(added: tuple[str, ...]) -> None:
    check_added(added)


@pytest.mark.parametrize(
    ("added", "why"),
    [
        *(
            ((flag, "x"), "not among the flags")
            for flag in (
                *("--host", "--port", "--api-key", "--api-key-file", "-m", "--model", "-mu", "--model-url", "-hf"),
                *("--log-file", "--slot-save-path", "--tools", "--ui-config", "--media-path", "--path", "--rpc"),
                *("--mcp-servers-config", "--models-dir", "--lora", "-mm", "--chat-template-file", "--ssl-key-file"),
                *("-c", "-np", "--override-kv", "--grammar-file", "--video-ffmpeg-dir", "--log-prompts-dir", "x"),
            )
        ),
        (("--numa=isolate",), "not among the flags"),
        (("--numa", "everywhere"), "must be one of distribute, isolate, numactl"),
        (("--numa",), "lacks its value"),
        (("--rope-scale", "--swa-full"), "could not convert"),
        (("-dev", "CUDA0;rm"), "cannot be read"),
        (("-ot", "a=/etc/x"), "cannot be read"),
        (("--swa-full", "yes"), "not among the flags"),
    ],
)
def test_all_others_are_refused(added: tuple[str, ...], why: str) -> None:
    with pytest.raises(BadConfig, match=why):
        check_added(added)


def test_paths_are_told_as_they_are(tmp_path: Path) -> None:
    odd = str(tmp_path / "a b;c'd.gguf")
    said = flags(CHOSEN, ModelFiles(weights=odd), "", "llama")
    assert said[said.index("-m") + 1] == odd
