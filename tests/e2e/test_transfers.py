"""Models on their way, with real servers: to and from registries, between two servers, and through a file."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import pytest

from a3s_power.core.manifest import SYSTEM, TEMPLATE
from tests.models import tiny_llama
from tests.registries import Registry, real_registry
from tests.served import DEADLINE, Served, environment, served
from tests.stores import files_below

_LAYERS = ((TEMPLATE, b"{{ .Prompt }}"), (SYSTEM, b"Be brief."))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Of a model that can be run."""
    path = tmp_path_factory.mktemp("weights") / "tiny.gguf"
    tiny_llama(path)
    return path.read_bytes()


@pytest.fixture
def registry(weights: bytes) -> Iterator[Registry]:
    """A little one that has `ns/m`."""
    with Registry().running() as running:
        running.add("ns/m", *_LAYERS, weights=weights)
        yield running


@pytest.fixture(scope="module")
def _ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("home"), **_NOWHERE) as running:
        yield running


@pytest.fixture
def server(_ours: Served) -> Iterator[Served]:
    """Ours, which any other address than loopback's would be a mistake for. No test finds what another left."""
    yield _ours
    for name in _models(_ours):
        assert _ran(_ours, "rm", name)[0] == 0
    for blob in (_store(_ours) / "blobs").glob("sha256-*"):
        blob.unlink()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Another machine's."""
    with served(tmp_path_factory.mktemp("other"), **_NOWHERE) as running:
        yield running


_NOWHERE = {"HTTPS_PROXY": "http://127.0.0.1:1"}


def _ran(server: Served, *args: str) -> tuple[int, str, str]:
    """Status, output and errors of a command; the server is the one it finds."""
    world = environment(server.home, {"OLLAMA_HOST": f"127.0.0.1:{server.port}"})
    command = [sys.executable, "-m", "a3s_power", *args]
    run = subprocess.run(
        command, env=world, cwd=server.home, capture_output=True, text=True, timeout=DEADLINE, input="", check=False
    )
    return run.returncode, run.stdout, run.stderr


def _models(server: Served) -> dict[str, str]:
    """The digest of each model."""
    return {model["name"]: model["digest"] for model in server.get("/api/tags")["models"]}


def _store(server: Served) -> Path:
    return server.home / "power" / "models"


def test_a_model_is_pulled_run_and_removed(server: Served, registry: Registry) -> None:
    name = f"{registry.host}/ns/m"
    status, out, err = _ran(server, "pull", name, "--insecure")
    lines = err.splitlines()
    assert (status, out, lines[0], lines[-3:]) == (
        *(0, "", "pulling manifest"),
        ["verifying sha256 digest", "writing manifest", "success"],
    )
    assert sum(line.startswith("pulling ") and line.endswith(":") for line in lines) == 4
    assert server.post("/api/show", {"model": name})["system"] == "Be brief."
    content = (_store(server) / "manifests" / registry.host / "ns/m/latest").read_bytes()
    assert content == registry.manifests["ns/m", "latest"]
    assert _ran(server, "run", name, "hi", "--num-predict", "3")[0] == 0
    assert _ran(server, "rm", name)[0] == 0
    assert files_below(_store(server)) == set()


def test_run_pulls_what_is_not_there(server: Served, registry: Registry) -> None:
    """Section 9 of the sheet of the command."""
    name = f"{registry.host}/ns/m"
    status, _, err = _ran(server, "run", name, "hi", "--insecure", "--num-predict", "3")
    assert status == 0
    assert err.startswith("pulling manifest\n")
    assert err.endswith("success\n")
    assert _ran(server, "rm", name)[0] == 0


def test_a_model_nobody_has_is_an_error(server: Served, registry: Registry) -> None:
    """Rows 140, 141 of the sheet of Ollama's API, with a real registry."""
    name = f"{registry.host}/ns/nope"
    error = "pull model manifest: file does not exist"
    assert _ran(server, "pull", name, "--insecure") == (1, "", f"pulling manifest\nError: {error}\n")
    assert server.post("/api/pull", {"model": name, "insecure": True}) == [
        {"status": "pulling manifest"},
        {"error": error},
    ]
    with ollama.Client(host=server.url) as client, pytest.raises(ollama.ResponseError, match=error) as refusal:
        client.pull(name, insecure=True)
    assert refusal.value.status_code == 500


def test_what_is_here_is_told_and_not_fetched_again(server: Served, registry: Registry) -> None:
    """Row 142."""
    name = f"{registry.host}/ns/m"
    body = {"model": name, "insecure": True}
    server.post("/api/pull", body)
    asked = len(registry.seen)
    layers = [line for line in server.post("/api/pull", body) if "digest" in line]
    assert [line["completed"] for line in layers] == [line["total"] for line in layers]
    assert len(layers) == 4
    assert len(registry.seen) == asked + 1
    assert _ran(server, "rm", name)[0] == 0


def test_a_push_of_an_unknown_model_is_an_error(server: Served) -> None:
    """Row 144."""
    lines = server.post("/api/push", {"model": "nope"})
    assert [line.get("status") for line in lines] == ["retrieving manifest", "couldn't retrieve manifest", None]
    error = "open manifests/registry.ollama.ai/library/nope/latest: no such file or directory"
    assert lines[-1] == {"error": error}


def test_a_model_goes_to_a_registry_and_comes_back_the_same(server: Served, registry: Registry) -> None:
    name = f"{registry.host}/me/copy"
    assert _ran(server, "pull", f"{registry.host}/ns/m", "--insecure")[0] == 0
    assert _ran(server, "cp", f"{registry.host}/ns/m", "mine")[0] == 0
    status, out, err = _ran(server, "push", "mine", "--insecure", "--destination", f"http://{name}")
    assert (status, out) == (0, f"\nYou can find your model at:\n\n\t{name}:latest\n")
    assert err.startswith("retrieving manifest\npushing ")
    assert err.endswith("pushing manifest\nsuccess\n")
    before = _models(server)["mine:latest"]
    assert _ran(server, "rm", "mine", f"{registry.host}/ns/m")[0] == 0
    assert _ran(server, "pull", name, "--insecure")[0] == 0
    assert _models(server) == {f"{name}:latest": before}
    assert _ran(server, "rm", name)[0] == 0


@pytest.mark.parametrize("password", [False, True])
def test_the_official_client_and_a_real_registry(
    server: Served, registry: Registry, tmp_path: Path, password: bool
) -> None:
    with real_registry(tmp_path, password=password) as host, ollama.Client(host=server.url) as client:
        name = f"{host}/ns/m"
        client.pull(f"{registry.host}/ns/m", insecure=True)
        client.copy(f"{registry.host}/ns/m", name)
        body: dict[str, Any] = {"model": name, "insecure": True, "stream": False}
        if password:
            refused = server.post("/api/push", {**body, "stream": True})
            assert refused[-1] == {"error": "unauthorized: access denied"}
            assert server.post("/api/push", {**body, "username": "power", "password": "secret"}) == {
                "status": "success"
            }
        else:
            assert [progress.status for progress in client.push(name, insecure=True, stream=True)][-1] == "success"
        before = _models(server)[f"{name}:latest"]
        for model in (name, f"{registry.host}/ns/m"):
            client.delete(model)
        assert files_below(_store(server)) == set()
        if not password:
            assert [progress.status for progress in client.pull(name, insecure=True, stream=True)][-1] == "success"
            assert _models(server) == {f"{name}:latest": before}
            client.delete(name)


def test_a_model_is_carried_from_another_server(server: Served, other: Served, registry: Registry) -> None:
    name = f"{registry.host}/ns/m"
    assert _ran(other, "pull", name, "--insecure")[0] == 0
    assert _ran(other, "cp", name, "mine:1b")[0] == 0
    status, out, err = _ran(server, "pull", "mine:1b", "--from", other.url)
    assert (status, out) == (0, "")
    assert err.startswith("pulling manifest\npulling ")
    assert err.endswith("writing manifest\nsuccess\n")
    assert _models(server) == {"mine:1b": _models(other)["mine:1b"]}
    assert _ran(server, "run", "mine:1b", "hi", "--num-predict", "3")[0] == 0
    again = _ran(server, "pull", "mine:1b", "--from", f"127.0.0.1:{other.port}")
    assert again[0] == 0
    assert _ran(server, "pull", "nope", "--from", other.url)[2].endswith("Error: model 'nope:latest' not found\n")
    assert _ran(server, "rm", "mine:1b")[0] == 0


def test_a_model_goes_through_a_file(server: Served, other: Served, registry: Registry, tmp_path: Path) -> None:
    name, file = f"{registry.host}/ns/m", str(tmp_path / "m.tar")
    assert _ran(other, "pull", name, "--insecure")[0] == 0
    assert _ran(other, "export", name, file) == (0, f"exported '{name}' to '{file}'\n", f"exporting {name}\n")
    assert _ran(server, "import", file) == (0, f"imported '{name}:latest'\n", "importing m.tar\n")
    assert _models(server)[f"{name}:latest"] == _models(other)[f"{name}:latest"]
    assert files_below(_store(server)) <= files_below(_store(other))
    content = bytearray(Path(file).read_bytes())
    content[-20_000] ^= 1
    Path(file).write_bytes(content)
    assert _ran(server, "rm", name)[0] == 0
    status, out, err = _ran(server, "import", file)
    assert (status, out) == (1, "")
    assert "Error: digest mismatch, expected " in err
    assert files_below(_store(server)) == set()


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_is_made_of_one_that_is_pulled_first(
    tmp_path: Path, registry: Registry, weights: bytes, stream: bool
) -> None:
    """Section 2.9 of the sheet of Ollama's API. A mirror stands in for the registry that a bare name means."""
    registry.add("library/base", weights=weights)
    mirror = {"A3S_POWER_MIRRORS": f"registry.ollama.ai=http://{registry.host}"}
    with served(tmp_path, **_NOWHERE, **mirror) as server:
        made = server.post("/api/create", {"model": "made", "from": "base", "system": "x", "stream": stream})
        assert set(_models(server)) == {"made:latest", "base:latest"}
    if not stream:
        assert made == {"status": "success"}
        return
    said = [line["status"].partition(" sha256:")[0] for line in made]
    assert said[0] == "pulling manifest"
    assert said[-3:] == ["creating new layer", "writing manifest", "success"]
    assert said.count("success") == 1


def test_a_model_is_made_from_what_is_on_this_machine(server: Served, weights: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tiny.gguf").write_bytes(weights)
    (folder / "config.json").write_text(json.dumps({"a": 1}))
    (tmp_path / "Modelfile").write_text("FROM ./model\nSYSTEM Be brief.\n")
    status, out, err = _ran(server, "create", "made", "-f", str(tmp_path / "Modelfile"), "-q", "q8_0")
    assert (status, out) == (0, "")
    assert "quantizing F16 model to Q8_0" in err
    shown = server.post("/api/show", {"model": "made"})
    assert (shown["details"]["quantization_level"], shown["system"]) == ("Q8_0", "Be brief.")
    assert _ran(server, "rm", "made")[0] == 0
