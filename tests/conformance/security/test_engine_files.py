"""The security sheet's rows on files that an engine opens: odd ones, oddly named ones, and ones that change."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from a3s_power.core.manifest import CONFIG_TYPE, MODEL, ConfigBlob, Layer, Manifest, write_config, write_manifest
from a3s_power.core.names import ModelName
from a3s_power.service.local import LocalSettings, open_local
from a3s_power.store import Store
from a3s_power.store.layers import put
from tests.hostile import ODD
from tests.models import tiny_llama
from tests.running import DEADLINE, running

_NAME = "--log-file=pwn $(touch pwn) \"'\n-m"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder whose name would be flags and commands, if anybody took it for a command line."""
    return tmp_path_factory.mktemp("odd") / _NAME


@pytest.fixture(scope="module")
def http(models: Path) -> Iterator[httpx2.Client]:
    """A client of a real server over that folder, with a real engine."""
    with (
        running(lambda: open_local(LocalSettings(models=models))) as port,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE) as client,
    ):
        yield client


def _asked(model: str, **options: Any) -> dict[str, Any]:
    return {"model": model, "prompt": "Hi", "stream": False, "options": {"num_predict": 2, "num_ctx": 256} | options}


def test_a_folder_s_name_is_no_command_line(http: httpx2.Client, models: Path) -> None:
    """PATH-06."""
    before = set(Path.cwd().iterdir())
    assert http.post("/api/generate", json=_asked("power-tiny")).status_code == 200
    assert set(Path.cwd().iterdir()) == before
    assert [path.name for path in models.parent.iterdir()] == [_NAME]


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_harms_nobody_but_itself(http: httpx2.Client, name: str) -> None:
    """GGUF-01, GGUF-07, GGUF-13: made or refused, shown, loaded or not; the others go on."""
    digest = f"sha256:{hashlib.sha256(ODD[name]).hexdigest()}"
    assert http.post(f"/api/blobs/{digest}", content=ODD[name]).status_code in (200, 201)
    made = http.post("/api/create", json={"model": "odd", "files": {"m.gguf": digest}, "stream": False})
    assert made.status_code in (200, 400)
    if made.status_code == 200:
        shown = http.post("/api/show", json={"model": "odd", "verbose": True})
        assert (shown.status_code, b"\x1b" in shown.content) == (200, False)
        assert http.post("/api/generate", json=_asked("odd")).status_code in (400, 500)
        assert http.request("DELETE", "/api/delete", json={"model": "odd"}).status_code == 200
    assert http.post("/api/show", json={"model": "odd"}).status_code == 404
    assert http.post("/api/generate", json=_asked("power-tiny")).status_code == 200


def _linked(models: Path, file: Path, name: str) -> None:
    store = Store(models)
    digest, linked = store.blobs.link(file, hard=False)
    assert linked
    config, _ = put(store.blobs, CONFIG_TYPE, write_config(ConfigBlob(model_format="gguf", model_family="llama")))
    layer = Layer(media_type=MODEL, digest=str(digest), size=file.stat().st_size)
    store.write(ModelName.parse(name), write_manifest(Manifest(config=config, layers=(layer,))))


@pytest.mark.parametrize("load", [{}, {"use_mmap": False}], ids=["mapped", "read"])
def test_a_file_that_shrinks_while_it_is_used_is_one_model_s_trouble(
    http: httpx2.Client, models: Path, tmp_path: Path, load: dict[str, Any]
) -> None:
    """GGUF-14."""
    file = tmp_path / "linked.gguf"
    tiny_llama(file, seed=14)
    _linked(models, file, "linked")
    asked = _asked("linked", num_predict=200, **load) | {"stream": True, "prompt": "Repeat a forever.", "raw": True}
    with http.stream("POST", "/api/generate", json=asked) as answer:
        lines = answer.iter_lines()
        assert answer.status_code == 200
        next(lines)
        os.truncate(file, 4096)
        last = json.loads(list(lines)[-1])
    assert "error" in last or last["done"]
    again = http.post("/api/generate", json=_asked("linked"))
    assert (again.status_code, "that file was changed" in again.json()["error"]) == (400, True)
    assert http.post("/api/generate", json=_asked("power-tiny")).status_code == 200
    assert http.request("DELETE", "/api/delete", json={"model": "linked"}).status_code == 200
    assert file.stat().st_size == 4096


def test_one_name_in_two_spellings_is_one_model(http: httpx2.Client, models: Path, tmp_path: Path) -> None:
    """PATH-07: and a name in another normal form is none."""
    tiny_llama(tmp_path / "tiny.gguf")
    digest = f"sha256:{hashlib.sha256((tmp_path / 'tiny.gguf').read_bytes()).hexdigest()}"
    http.post(f"/api/blobs/{digest}", content=(tmp_path / "tiny.gguf").read_bytes())
    for name in ("A/b", "a/B", "A/B:LATEST"):
        body = {"model": name, "files": {"m.gguf": digest}, "system": name, "stream": False}
        assert http.post("/api/create", json=body).status_code == 200
    listed = [
        model["name"] for model in http.get("/api/tags").json()["models"] if model["name"].lower() == "a/b:latest"
    ]
    assert len(listed) == 1
    assert http.post("/api/show", json={"model": "a/b"}).json()["system"] == "A/B:LATEST"
    for name in ("caf\u00e9", "cafe\u0301"):
        assert http.post("/api/create", json={"model": name, "files": {"m.gguf": digest}}).status_code == 400
    assert http.request("DELETE", "/api/delete", json={"model": "a/B"}).status_code == 200
