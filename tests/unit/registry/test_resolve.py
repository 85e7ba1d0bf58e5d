"""Where a model comes from: addresses, registries, known names, a search, in this order; and who hears which secret."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from a3s_power.core.digests import Digest
from a3s_power.core.errors import (
    BadFile,
    BadRequest,
    NeedsConsent,
    NotAllowed,
    NotThere,
    Refused,
    RegistryFailed,
    Unreachable,
)
from a3s_power.core.events import Progress
from a3s_power.core.names import ModelName
from a3s_power.gguf.layout import TensorType, ValueType
from a3s_power.gguf.writer import Tensor, Typed, write
from a3s_power.registry.huggingface import HubFile, choose, tag_of
from a3s_power.registry.resolve import known_models
from a3s_power.registry.sources import Named, read_source
from a3s_power.registry.urls import Url
from tests.hubs import WORLD, Net
from tests.internet import Authority, Internet
from tests.pulling import pull, supply
from tests.registries import Asked, Registry, Reply
from tests.shared import BUILTIN_MODEL
from tests.stores import LLAMA, gguf, named


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    authority = Authority(tmp_path)
    with ExitStack() as stack:
        servers = {name: stack.enter_context(Registry().running(authority.context(name))) for name in WORLD}
        opened = Net(tmp_path, authority, servers)
        opened.open()
        yield opened


def tree(**files: bytes) -> list[dict[str, Any]]:
    return [
        {
            "type": "file",
            "path": path,
            "size": len(content),
            "oid": "x",
            "lfs": {"oid": Digest.of(content).hex, "size": len(content)},
        }
        for path, content in files.items()
    ]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("llama3.2", Named(ModelName.parse("llama3.2"))),
        (" a/b:c ", Named(ModelName.parse("a/b:c"))),
        ("http://localhost:5000/ns/m", Named(ModelName.parse("localhost:5000/ns/m"), "http")),
        ("HTTPS://hf.co/u/r:Q8_0", Named(ModelName.parse("hf.co/u/r:Q8_0"), "https")),
        ("https://e.com/a/b.gguf", Url("https", "e.com", 443, "/a/b.gguf")),
        ("https://e.com/b.GGUF", Url("https", "e.com", 443, "/b.GGUF")),
        ("https://e.com/a/b/c", Url("https", "e.com", 443, "/a/b/c")),
        ("https://e.com/a/b.gguf?download=true", Url("https", "e.com", 443, "/a/b.gguf?download=true")),
    ],
)
def test_a_source_is_a_name_or_an_address(text: str, read: object) -> None:
    assert read_source(text) == read


@pytest.mark.parametrize(
    "text", ["http://a\\@b/c/d", "https://a@b/c/d", "http://127.1/a/b.gguf", "gopher://x/y/z", "a b"]
)
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        read_source(text)


def test_the_known_names_are_names_and_files_of_repositories() -> None:
    known = known_models()
    for name, model in known.items():
        assert ModelName.parse(name).short == name
        assert ModelName.parse(f"hf.co/{model.repo}").host == "hf.co"
        assert model.file.endswith(".gguf")
        Url.parse(f"https://huggingface.co/{model.repo}/resolve/main/{model.file}")
    for promised in ("llama3.2:1b", "llama3.2:3b", "llama3.1:8b", "phi3:mini", "mistral:7b", "gemma2:2b", "gemma2:9b"):
        assert promised in known
    for promised in ("qwen2.5:3b", "qwen2.5:7b", "nomic-embed-text:latest", "qwen3:8b", "gemma3:4b"):
        assert promised in known


def files(*paths: str) -> list[HubFile]:
    return [HubFile(path, 1, None) for path in paths]


@pytest.mark.parametrize(
    ("paths", "tag", "chosen"),
    [
        (("m-Q8_0.gguf", "m-Q4_K_M.gguf"), "latest", ["m-Q4_K_M.gguf"]),
        (("m-Q8_0.gguf", "m-Q2_K.gguf"), "latest", ["m-Q8_0.gguf"]),
        (("odd.gguf",), "latest", ["odd.gguf"]),
        (("m-Q8_0.gguf", "m-Q4_K_M.gguf"), "q8_0", ["m-Q8_0.gguf"]),
        (("m-Q8_0.gguf",), "Q4_K_M", []),
        (("m.Q4_K_M.gguf", "m-UD-Q4_K_M.gguf"), "Q4_K_M", ["m.Q4_K_M.gguf"]),
        (("m-Q4_K_M.gguf", "m-Q4_K.gguf"), "Q4_K", ["m-Q4_K.gguf"]),
        (("m-iq3_m.gguf",), "M-IQ3_M.gguf", ["m-iq3_m.gguf"]),
        (
            ("Q8_0/m-00002-of-00002.gguf", "Q8_0/m-00001-of-00002.gguf", "m-Q4_0.gguf"),
            "Q8_0",
            ["Q8_0/m-00001-of-00002.gguf", "Q8_0/m-00002-of-00002.gguf"],
        ),
        (("m-Q8_0-00001-of-00001.gguf",), "m-q8_0-00001-of-00001.gguf", ["m-Q8_0-00001-of-00001.gguf"]),
        ((), "latest", []),
    ],
)
def test_a_tag_means_a_file_or_all_its_parts(paths: tuple[str, ...], tag: str, chosen: list[str]) -> None:
    assert [file.path for file in choose(files(*paths), tag)] == chosen


@pytest.mark.parametrize(
    ("path", "tag"),
    [
        ("M-Q4_K_M.gguf", "Q4_K_M"),
        ("a/M-iq3_m-00001-of-00002.gguf", "iq3_m"),
        ("BF16/M-00001-of-00002.gguf", "BF16"),
        ("my model.gguf", "my-model.gguf"),
        ("-.gguf", "gguf"),
    ],
)
def test_a_file_has_a_tag_by_which_it_can_be_pulled(path: str, tag: str) -> None:
    assert tag_of(path) == tag
    assert ModelName.parse(f"hf.co/u/r:{tag}").tag == tag


def test_a_name_without_a_host_is_asked_of_ollama_s_registry_first(net: Net) -> None:
    net["registry.ollama.ai"].add("library/llama3.2:1b", weights=gguf())
    world = net.supply()
    pull(world, "llama3.2:1b", insecure=False)
    assert net["huggingface.co"].seen == []
    assert world.store.models.read(named("llama3.2:1b")).name.short == "llama3.2:1b"


def test_a_known_name_is_taken_from_the_list_when_its_registry_does_not_answer(net: Net) -> None:
    known = known_models()["llama3.2:1b"]
    net.hub_file(f"{known.repo}/resolve/main/{known.file}", BUILTIN_MODEL.read_bytes())
    net["registry.ollama.ai"].twist = lambda *_: Reply(404)
    world = net.supply()
    told = pull(world, "llama3.2:1b", insecure=False)
    origin = f"hf.co/{known.repo}/{known.file}"
    assert told.lines[:2] == ["pulling manifest", f"pulling from {origin}"]
    assert told.lines[-1] == "success"
    model = world.store.models.read(named("llama3.2:1b"))
    assert [layer.source for layer in model.manifest.layers] == [origin]
    assert model.weights == Digest.of(BUILTIN_MODEL.read_bytes())
    assert told.lines.count("success") == 1


def found_by_search(net: Net, content: bytes) -> None:
    net.hub_json("/api/models", [{"id": "no/weights", "downloads": 9}, {"id": "stranger/Thing-GGUF", "downloads": 5}])
    net.hub_json("/api/models/no/weights/tree/main", tree(**{"mmproj-x.gguf": b"1", "README.md": b"2"}))
    net.hub_json(
        "/api/models/stranger/Thing-GGUF/tree/main", tree(**{"thing-Q8_0.gguf": b"x", "thing-Q4_K_M.gguf": content})
    )
    net.hub_file("stranger/Thing-GGUF/resolve/main/thing-Q4_K_M.gguf", content)


def test_what_only_a_search_finds_is_shown_and_not_taken(net: Net) -> None:
    found_by_search(net, gguf())
    world = net.supply()
    with pytest.raises(NeedsConsent) as raised:
        pull(world, "thing", insecure=False)
    assert raised.value.found == "hf.co/stranger/Thing-GGUF:Q4_K_M"
    assert str(raised.value).startswith("pull model manifest: file does not exist. A search found hf.co/stranger/Thing")
    assert net["cdn.test"].seen == []
    (asked,) = [asked for asked in net["huggingface.co"].seen if asked.path.startswith("/api/models?")]
    assert asked.path == "/api/models?direction=-1&filter=gguf&limit=10&search=thing&sort=downloads"


def test_with_consent_what_a_search_finds_is_taken_and_told(net: Net) -> None:
    found_by_search(net, gguf())
    world = net.supply()
    told = pull(world, "thing", insecure=False, consent=True)
    assert told.lines[1] == "pulling from hf.co/stranger/Thing-GGUF/thing-Q4_K_M.gguf"
    assert world.store.models.read(named("thing")).manifest.layers[0].source == told.lines[1].removeprefix(
        "pulling from "
    )


def test_when_nobody_has_it_the_error_names_whom_we_asked_and_what_each_said(net: Net) -> None:
    net.hub_json("/api/models", [])
    with pytest.raises(NotThere) as raised:
        pull(net.supply(), "no-such-thing", insecure=False)
    assert str(raised.value) == (
        "pull model manifest: file does not exist (registry.ollama.ai: file does not exist; "
        "known models: not among them; search on huggingface.co: nothing found)"
    )


def test_without_a_network_the_error_names_all_that_did_not_answer(tmp_path: Path) -> None:
    with pytest.raises(Unreachable) as raised:
        pull(supply(tmp_path, Internet()), "llama3.2:3b", insecure=False)
    shown = str(raised.value)
    assert "lookup registry.ollama.ai: no such host" in shown
    assert "hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF: " in shown
    assert "search on huggingface.co: " in shown


def test_a_name_with_a_host_is_asked_of_that_host_only(net: Net) -> None:
    with pytest.raises(NotThere, match=r"^pull model manifest: file does not exist$"):
        pull(net.supply(), "mirror.test/library/llama3.2:1b", insecure=False)
    assert net["huggingface.co"].seen == []


def test_a_refusal_is_not_passed_on_to_others(net: Net) -> None:
    net["registry.ollama.ai"].twist = lambda *_: Reply(412, {}, b"requires a newer version of Ollama")
    with pytest.raises(Refused, match="412: requires a newer version of Ollama"):
        pull(net.supply(), "llama3.2:1b", insecure=False)
    assert net["huggingface.co"].seen == []


def test_the_hub_is_a_registry(net: Net) -> None:
    net["huggingface.co"].add("user/repo:Q8_0", weights=gguf())
    for name in ("hf.co/user/repo:Q8_0", "https://huggingface.co/user/repo:Q8_0"):
        world = net.supply()
        pull(world, name, insecure=False)
        short = name.removeprefix("https://")
        assert world.store.models.read(named(short)).name.full == short


def test_a_split_model_of_the_hub_is_put_together(net: Net) -> None:
    parts = split_gguf(3)
    net["huggingface.co"].twist = refusing_shards(net)
    net.hub_json(
        "/api/models/user/repo/tree/main", tree(**{f"Q8_0/{name}": content for name, content in parts.items()})
    )
    for name, content in parts.items():
        net.hub_file(f"user/repo/resolve/main/Q8_0/{name}", content)
    world = net.supply()
    told = pull(world, "hf.co/user/repo:Q8_0", insecure=False)
    model = world.store.models.read(named("hf.co/user/repo:Q8_0"))
    assert model.facts.architecture == "llama"
    assert told.lines[1] == "pulling from hf.co/user/repo/Q8_0/m.gguf"
    left = {path.name for path in (world.store.root / "blobs").iterdir()}
    assert left == {digest.file_name for digest in model.manifest.blobs}


def refusing_shards(net: Net) -> Callable[[Asked, Reply], Reply]:
    hub = net["huggingface.co"].twist
    return lambda asked, reply: Reply(400, {}, b'{"error":"sharded"}') if "/v2/" in asked.path else hub(asked, reply)


def test_the_hub_s_refusal_stands_where_there_is_no_split_model(net: Net) -> None:
    net["huggingface.co"].twist = refusing_shards(net)
    net.hub_json("/api/models/user/repo/tree/main", tree(**{"m-Q4_K_M.gguf": b"x"}))
    with pytest.raises(Refused, match=r'pull model manifest: 400: {"error":"sharded"}'):
        pull(net.supply(), "hf.co/user/repo:Q8_0", insecure=False)


def split_gguf(count: int) -> dict[str, bytes]:
    """The parts of a model, by file name, as llama.cpp splits: the first says what it is, each holds a tensor."""
    parts: dict[str, bytes] = {}
    for number in range(count):
        pairs: dict[str, Any] = dict(LLAMA) if number == 0 else {}
        pairs["split.no"] = Typed(ValueType.UINT16, number)
        pairs["split.count"] = Typed(ValueType.UINT16, count)
        pairs["split.tensors.count"] = Typed(ValueType.INT32, count)
        file = io.BytesIO()
        write(file, pairs, [Tensor(f"t{number}.weight", TensorType.F32, (256,), [os.urandom(1024)])])
        parts[f"m-{number + 1:05d}-of-{count:05d}.gguf"] = file.getvalue()
    return parts


def test_an_address_of_any_part_brings_the_whole_model(net: Net) -> None:
    parts = split_gguf(3)
    for name, content in parts.items():
        net["files.test"].files[f"/models/{name}"] = content
    world = net.supply()
    told = pull(world, "https://files.test/models/m-00002-of-00003.gguf", insecure=False)
    assert told.lines[1] == "pulling from https://files.test/models/m.gguf"
    model = world.store.models.read(named("m"))
    assert [tensor for tensor in model.manifest.layers if tensor.source == "https://files.test/models/m.gguf"]
    assert model.facts.parameters == 3 * 256


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/x/Llama-3.2-1B-Instruct-Q4_K_M.gguf", "Llama-3.2-1B-Instruct:Q4_K_M"),
        ("/tiny.gguf", "tiny:latest"),
        ("/a%20b%2Fc.gguf", "a-b-c:latest"),
        ("/..%2f..%2fetc.gguf", "etc:latest"),
        ("/.gguf", "model:latest"),
    ],
)
def test_a_file_at_an_address_becomes_a_model_of_its_name(net: Net, path: str, name: str) -> None:
    net["files.test"].files[path] = BUILTIN_MODEL.read_bytes()
    world = net.supply()
    told = pull(world, f"https://files.test{path}?download=true", insecure=False)
    assert [listing.name.short for listing in world.store.models.list()] == [name]
    assert Progress("verifying sha256 digest") in told


def test_a_page_of_the_hub_about_a_file_is_taken_for_the_file(net: Net) -> None:
    net.hub_file("user/repo/resolve/main/M-IQ3_M.gguf", gguf())
    world = net.supply()
    pull(world, "https://huggingface.co/user/repo/blob/main/M-IQ3_M.gguf", insecure=False)
    assert world.store.models.read(named("hf.co/user/repo:IQ3_M")).facts.architecture == "llama"


def test_what_is_no_gguf_is_refused_after_four_bytes(net: Net) -> None:
    net["files.test"].files["/x.gguf"] = b"<html>" + bytes(100_000)
    world = net.supply()
    with pytest.raises(BadFile, match=r"https://files.test/x.gguf is no GGUF file"):
        pull(world, "https://files.test/x.gguf", insecure=False)
    assert [asked.range for asked in net["files.test"].seen] == [(0, 3)]
    assert world.store.models.list() == []


def test_a_file_that_only_begins_as_a_gguf_leaves_nothing(net: Net) -> None:
    net["files.test"].files["/x.gguf"] = b"GGUF" + bytes(1000)
    world = net.supply()
    with pytest.raises(BadFile):
        pull(world, "https://files.test/x.gguf", insecure=False)
    assert world.store.models.list() == []
    assert [path.name for path in (world.store.root / "blobs").iterdir()] == []


def test_an_address_goes_on_where_it_stopped_as_long_as_its_content_is_the_same(net: Net) -> None:
    content = gguf() + bytes(60_000)
    server = net["files.test"]
    server.files["/x.gguf"] = content
    state = {"version": '"one"', "broken": True}

    def twist(asked: Asked, reply: Reply) -> Reply:
        reply = reply._replace(headers={**reply.headers, "ETag": str(state["version"])})
        middle = asked.range and asked.range[0] > 30_000
        return Reply(404) if middle and state["broken"] else reply

    server.twist = twist
    world = net.supply(streams=1)
    with pytest.raises(RegistryFailed):
        pull(world, "https://files.test/x.gguf", insecure=False)
    state["broken"] = False
    server.seen.clear()
    pull(net.supply(), "https://files.test/x.gguf", insecure=False)
    resumed = [asked.range for asked in server.seen if asked.range and asked.range != (0, 3)]
    assert min(first for first, _ in resumed) > 0


def test_hf_token_is_told_to_the_hub_and_to_nobody_else(net: Net) -> None:
    net.hub_file("user/repo/resolve/main/m.gguf", gguf())
    net["registry.ollama.ai"].add("library/x")
    world = net.supply(environ={"HF_TOKEN": "hf_secret"})
    pull(world, "https://huggingface.co/user/repo/resolve/main/m.gguf", insecure=False)
    pull(world, "x", insecure=False)
    assert {asked.headers.get("authorization") for asked in net["huggingface.co"].seen} == {"Bearer hf_secret"}
    for elsewhere in ("cdn.test", "registry.ollama.ai"):
        assert net[elsewhere].seen
        assert not [asked for asked in net[elsewhere].seen if "authorization" in asked.headers]


def test_the_hub_s_mirror_is_asked_instead(net: Net) -> None:
    net["mirror.test"].add("user/repo", weights=gguf())
    world = net.supply(environ={"HF_ENDPOINT": "https://mirror.test/hub/", "HF_TOKEN": "hf_secret"})
    net["mirror.test"].twist = lambda asked, _: net["mirror.test"].answer(
        asked._replace(path=asked.path.removeprefix("/hub"))
    )
    pull(world, "hf.co/user/repo", insecure=False)
    assert {asked.headers["authorization"] for asked in net["mirror.test"].seen} == {"Bearer hf_secret"}
    assert net["huggingface.co"].seen == []


def test_offline_nobody_is_asked_not_even_for_a_name(tmp_path: Path) -> None:
    internet = Internet()
    world = supply(tmp_path, internet, offline=True)
    for source in ("llama3.2", "hf.co/user/repo", "https://files.test/x.gguf", "http://127.0.0.1:5000/ns/m"):
        with pytest.raises(NotAllowed, match=r"^offline: "):
            pull(world, source)
    assert (internet.asked, internet.dialled) == ([], [])


def test_a_hub_that_answers_nonsense_is_an_error(net: Net) -> None:
    net.hub_json("/api/models", {"no": "list"})
    with pytest.raises(NotThere, match=r"search on huggingface.co: answer of .* cannot be read"):
        pull(net.supply(), "thing", insecure=False)
