"""Repositories of safetensors: what the hub's library is told, what is fetched, and what becomes of it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from a3s_power.core.digests import Digest
from a3s_power.core.errors import (
    BadAnswer,
    BadFile,
    NeedsConsent,
    NotAllowed,
    NotSupported,
    NotThere,
    PowerError,
    Refused,
)
from a3s_power.core.manifest import FILE, MODEL
from a3s_power.registry.huggingface import safetensors
from tests.conversions import files_of, recorded, write_folder
from tests.hubs import COMMIT, WORLD, Net
from tests.internet import Authority
from tests.pulling import pull
from tests.registries import Registry, Reply
from tests.shared import REPOSITORY
from tests.stores import named

NAME: Final = "hf.co/org/tiny"
_NOT_TAKEN: Final = {
    "modeling_tiny.py": b"import os",
    "pytorch_model.bin": b"PK\x03\x04",
    "training_args.bin": b"x",
    "README.md": b"# tiny",
    "onnx/config.json": b"{}",
    "onnx/model.safetensors": b"x",
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Authority, dict[str, Registry]]]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    with ExitStack() as stack:
        yield authority, {name: stack.enter_context(Registry().running(authority.context(name))) for name in WORLD}


@pytest.fixture
def net(tmp_path: Path, servers: tuple[Authority, dict[str, Registry]]) -> Net:
    authority, running = servers
    for server in running.values():
        server.files.clear()
        server.seen.clear()
        server.twist = lambda _, reply: reply
    net = Net(tmp_path, authority, running)
    net.open()
    return net


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """A model in two shards, small enough to be made here."""
    folder = write_folder(tmp_path_factory.mktemp("tiny"), recorded("qwen2"))
    return {name: path.read_bytes() for name, path in files_of(folder).items()}


def asked_of(net: Net, host: str) -> list[str]:
    return [asked.path for asked in net[host].seen]


def test_a_repository_of_safetensors_becomes_a_model_that_runs(net: Net, tiny: Mapping[str, bytes]) -> None:
    net.hub_repository("org/tiny", {**tiny, **_NOT_TAKEN})
    world = net.supply()
    told = pull(world, NAME, insecure=False)
    model = world.store.models.read(named(f"{NAME}:latest"))
    assert (model.config.model_format, model.facts.architecture) == ("gguf", "qwen2")
    last = f"{NAME}/{max(name for name in tiny if name.endswith('.safetensors'))}"
    assert model.manifest.of_type(MODEL)[0].source == last
    assert told.lines[:2] == ["pulling manifest", f"pulling from {last}"]
    assert "converting model" in told.lines
    assert (told.lines.count("success"), told.lines[-1]) == (1, "success")
    weights = [name for name in tiny if name.endswith(".safetensors")]
    for name in weights:
        digest, size = Digest.of(tiny[name]), len(tiny[name])
        end = [each for each in told if each.status == f"pulling {digest.short}"][-1]
        assert (end.digest, end.total, end.completed) == (str(digest), size, size)
        assert not world.store.blobs.has(digest)
    fetched = {path.partition("?")[0] for host in ("huggingface.co", "cdn.test") for path in asked_of(net, host)}
    assert not [path for path in fetched if path.endswith(tuple(_NOT_TAKEN))]
    assert {f"/org/tiny/resolve/{COMMIT}/{name}" for name in weights} <= fetched


def test_the_token_is_told_to_the_hub_only(net: Net, tiny: Mapping[str, bytes]) -> None:
    net.hub_repository("org/tiny", dict(tiny))
    pull(net.supply(environ={"HF_TOKEN": "hf_secret"}), NAME, insecure=False)
    hub = [asked.headers.get("authorization") for asked in net["huggingface.co"].seen if "/v2/" not in asked.path]
    elsewhere = [asked.headers.get("authorization") for asked in net["cdn.test"].seen]
    assert set(hub) == {"Bearer hf_secret"}
    assert (len(elsewhere) > 0, set(elsewhere)) == (True, {None})
    every = [*net["huggingface.co"].seen, *net["cdn.test"].seen]
    assert {asked.headers["user-agent"].partition("/")[0] for asked in every} == {"ollama"}


def test_a_mirror_of_the_hub_serves_safetensors_too(net: Net, tiny: Mapping[str, bytes]) -> None:
    with Registry().running() as mirror:
        net.hub_repository("org/tiny", dict(tiny))
        net["huggingface.co"].files |= {f"/org/tiny/resolve/{COMMIT}/{name}": tiny[name] for name in tiny}
        mirror.twist = lambda asked, _: net["huggingface.co"].twist(
            asked, net["huggingface.co"].answer(asked) if "/resolve/" in asked.path else Reply(404)
        )
        for name in tiny:
            net._hub_answers.pop(f"/org/tiny/resolve/{COMMIT}/{name}", None)
        world = net.supply(environ={"HF_ENDPOINT": f"http://{mirror.host}"})
        assert pull(world, NAME, insecure=False).lines[-1] == "success"
    assert net["huggingface.co"].seen == []


def test_a_bare_name_of_the_hub_needs_consent_and_keeps_its_spelling(net: Net, tiny: Mapping[str, bytes]) -> None:
    net.hub_repository("org/tiny", dict(tiny))
    world = net.supply()
    with pytest.raises(NeedsConsent, match=r"file does not exist. The hub has a repository of this name") as raised:
        pull(world, "org/tiny", insecure=False)
    assert raised.value.found == f"{NAME}:latest"
    assert not [path for path in asked_of(net, "huggingface.co") if "resolve" in path]
    pull(world, "org/tiny", insecure=False, consent=True)
    assert world.store.models.read(named("org/tiny:latest")).facts.architecture == "qwen2"


def test_a_bare_name_that_nobody_has_tells_whom_we_asked(net: Net) -> None:
    with pytest.raises(NotThere, match=r"file does not exist \(registry.ollama.ai: .*; hf.co/org/tiny: file does not"):
        pull(net.supply(), "org/tiny", insecure=False, consent=True)


def test_what_was_fetched_is_not_fetched_again(net: Net, tiny: Mapping[str, bytes]) -> None:
    net.hub_repository("org/tiny", dict(tiny))
    world = net.supply()
    weights = next(name for name in tiny if name.endswith(".safetensors"))
    world.store.blobs.put(tiny[weights])
    pull(world, NAME, insecure=False)
    assert not [path for path in asked_of(net, "cdn.test") if weights in path]


def test_weights_that_are_not_those_the_hub_names_are_refused(net: Net, tiny: Mapping[str, bytes]) -> None:
    net.hub_repository("org/tiny", dict(tiny))
    path = next(path for path in net["cdn.test"].files if path.endswith(".safetensors"))
    content = net["cdn.test"].files[path]
    net["cdn.test"].files[path] = content[:-1] + bytes([content[-1] ^ 1])
    world = net.supply()
    with pytest.raises(BadAnswer, match="digest mismatch"):
        pull(world, NAME, insecure=False)
    assert world.store.models.list() == []


def test_an_architecture_that_cannot_be_converted_is_named_before_its_weights_are_fetched(net: Net) -> None:
    config = b'{"architectures": ["MambaForCausalLM"], "auto_map": {"AutoModel": "modeling.Mamba"}}'
    net.hub_repository("org/tiny", {"config.json": config, "model.safetensors": b"x" * 1000})
    world = net.supply()
    with pytest.raises(BadFile, match=r'unsupported architecture "MambaForCausalLM"; the model\'s own code is not run'):
        pull(world, NAME, insecure=False)
    assert asked_of(net, "cdn.test") == []
    assert world.store.models.list() == []


def test_an_architecture_without_a_conversion_stays_safetensors(net: Net, tiny: Mapping[str, bytes]) -> None:
    files = {**tiny, "config.json": b'{"architectures": ["FooForCausalLM"]}'}
    net.hub_repository("org/tiny", {**files, **_NOT_TAKEN})
    world = net.supply()
    told = pull(world, NAME, insecure=False)
    model = world.store.models.read(named(f"{NAME}:latest"))
    layers = model.manifest.of_type(FILE)
    assert {layer.name: world.store.blobs.read(layer.blob, 10**7) for layer in layers} == files
    assert (model.config.model_format, model.config.model_family) == ("safetensors", "FooForCausalLM")
    assert {layer.source.rpartition("/")[0] for layer in layers} == {NAME}
    note = 'cannot be converted: unsupported architecture "FooForCausalLM"; kept as safetensors'
    weights = Digest.of(next(files[name] for name in files if name.endswith(".safetensors")))
    assert told.lines.index(note) < told.lines.index(f"pulling {weights.short}")
    assert told.lines[-1] == "success"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.pt"])
def test_pickled_weights_are_refused_in_words(net: Net, name: str) -> None:
    net.hub_repository("org/tiny", {"config.json": b"{}", name: b"PK\x03\x04"})
    with pytest.raises(NotSupported, match="holds pickled weights: only safetensors and GGUF files are taken"):
        pull(net.supply(), NAME, insecure=False)
    assert not [path for path in asked_of(net, "huggingface.co") if "resolve" in path]


def test_a_repository_without_weights_is_what_the_hub_s_registry_says_of_it(net: Net) -> None:
    net.hub_repository("org/tiny", {"README.md": b"x"})
    with pytest.raises(Refused, match=r"pull model manifest: 400: .*Repository is not GGUF"):
        pull(net.supply(), NAME, insecure=False)


def test_a_repository_that_nobody_has_is_not_there(net: Net) -> None:
    with pytest.raises(NotThere, match=r"^pull model manifest: file does not exist$"):
        pull(net.supply(), NAME, insecure=False)


@pytest.mark.parametrize(
    ("status", "headers", "error", "words"),
    [
        (
            403,
            {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to org/tiny is restricted"},
            Refused,
            "403: Acc",
        ),
        (401, {"X-Error-Message": "Invalid username or password."}, Refused, "401: Invalid username"),
        (401, {"X-Error-Message": "Invalid credentials in Authorization header"}, Refused, "401: Invalid cred"),
        (404, {"X-Error-Code": "RepoNotFound"}, NotThere, "file does not exist"),
        (503, {}, Refused, "503"),
    ],
)
def test_what_the_hub_refuses_is_told(
    net: Net, status: int, headers: dict[str, str], error: type[PowerError], words: str
) -> None:
    net.hub_repository("org/tiny", {"model.safetensors": b"x"})
    net.hub_answer("/api/models/org/tiny", Reply(status, headers))
    with pytest.raises(error, match=words):
        pull(net.supply(), NAME, insecure=False)


@pytest.mark.parametrize(
    "said",
    [
        b"no JSON",
        b"[]",
        b'{"id": "org/tiny"}',
        b'{"id": "org/tiny", "sha": "main/../..", "siblings": []}',
        b'{"id": "org/tiny", "sha": "%s", "siblings": [5]}' % COMMIT.encode(),
        b'{"id": "org/tiny", "sha": "%s", "siblings": {"a": 1}}' % COMMIT.encode(),
        b'{"id":"x","sha":"%s","siblings":[{"rfilename":"model.safetensors","size":-5}]}' % COMMIT.encode(),
        b'{"id":"x","sha":"%s","siblings":[{"rfilename":"model.safetensors","size":"1"}]}' % COMMIT.encode(),
        b'{"id":"x","sha":"%s","siblings":[{"rfilename":"model.safetensors"}]}' % COMMIT.encode(),
        b"[" * 100_000,
    ],
)
def test_a_hub_that_answers_nonsense_about_a_repository_is_an_error(net: Net, said: bytes) -> None:
    net.hub_repository("org/tiny", {"model.safetensors": b"x"})
    net.hub_answer("/api/models/org/tiny", Reply(200, {}, said))
    with pytest.raises(BadAnswer, match="cannot be read"):
        pull(net.supply(), NAME, insecure=False)


def test_offline_nothing_is_asked(net: Net, tiny: Mapping[str, bytes]) -> None:
    net.hub_repository("org/tiny", dict(tiny))
    with pytest.raises(NotAllowed, match="offline"):
        pull(net.supply(offline=True), NAME, insecure=False)
    assert net.internet.asked == []


@pytest.mark.parametrize(
    ("paths", "taken"),
    [
        (["config.json", "a.json", "model.safetensors"], ["config.json", "a.json", "model.safetensors"]),
        (
            ["model-00001-of-00002.safetensors", "model.safetensors.index.json"],
            ["model.safetensors.index.json", "model-00001-of-00002.safetensors"],
        ),
        (["consolidated.safetensors", "model.safetensors"], ["model.safetensors"]),
        (["consolidated.safetensors", "params.json"], ["params.json", "consolidated.safetensors"]),
        (
            ["1_Pooling/config.json", "model.safetensors", "x/config.json"],
            ["1_Pooling/config.json", "model.safetensors"],
        ),
        (["../config.json", "/config.json", "model.safetensors", "a b.json"], ["model.safetensors"]),
        (["adapter_model.safetensors", "config.json"], []),
        (["pytorch_model.bin", "config.json"], []),
    ],
)
def test_the_files_that_make_up_a_model(paths: list[str], taken: list[str]) -> None:
    assert safetensors(paths) == taken


_WITHOUT: Final = """
import sys
from pathlib import Path
import a3s_power.registry.pull, a3s_power.cli.serve, a3s_power.service.local
assert not {"huggingface_hub", "httpx2"} & set(sys.modules)
sys.modules["huggingface_hub"] = None
from a3s_power.core.errors import NotSupported
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.resolve import Places
from tests.pulling import supply
world = supply(Path(sys.argv[1]))
try:
    Places(world, world.exchange(), Cancel()).repository("org/tiny")
except NotSupported as error:
    print(error)
"""


def test_without_the_library_the_extra_is_named_and_nothing_imports_it_before(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.stdout.startswith('pulling safetensors needs further packages: pip install "a3s-power[convert]"')
