"""What there is elsewhere: searches, tags and newer versions, asked of real servers."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from a3s_power.core.digests import Digest
from a3s_power.core.errors import NotAllowed, NotSupported, NotThere
from a3s_power.registry.catalogue import Catalogue, Tag
from tests.hubs import WORLD, Net
from tests.internet import Authority
from tests.pulling import supply
from tests.registries import Registry, Reply
from tests.stores import named


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    authority = Authority(tmp_path)
    with ExitStack() as stack:
        servers = {name: stack.enter_context(Registry().running(authority.context(name))) for name in WORLD}
        opened = Net(tmp_path, authority, servers)
        opened.open()
        yield opened


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry().running() as running:
        running.add("ns/m", weights=b"w")
        yield running


def test_a_search_lists_what_can_be_named_most_wanted_first(net: Net) -> None:
    found = [{"id": "a/b", "downloads": 9}, {"id": "../x", "downloads": 8}, {"id": "c/d"}]
    net.hub_json("/api/models", found)
    with Catalogue(net.supply()) as catalogue:
        listed = catalogue.search("b d", 2)
    assert [(one.id, one.downloads) for one in listed] == [("a/b", 9)]
    asked = net["huggingface.co"].seen[-1].path
    assert "search=b%20d" in asked or "search=b+d" in asked
    assert "limit=2" in asked


def test_tags_of_the_hub_are_its_quantisations_the_smallest_first(net: Net) -> None:
    files = [
        {"type": "file", "path": "m-Q8_0.gguf", "size": 80},
        {"type": "file", "path": "m-Q4_K_M-00001-of-00002.gguf", "size": 20},
        {"type": "file", "path": "m-Q4_K_M-00002-of-00002.gguf", "size": 15},
        {"type": "file", "path": "mmproj-F16.gguf", "size": 5},
    ]
    net.hub_json("/api/models/u/m/tree/main", files)
    with Catalogue(net.supply()) as catalogue:
        assert catalogue.tags(named("hf.co/u/m")) == [Tag("Q4_K_M", 35), Tag("Q8_0", 80)]
        with pytest.raises(NotThere):
            catalogue.tags(named("hf.co/u/none"))


def test_tags_of_a_registry_are_its_list(registry: Registry, tmp_path: Path) -> None:
    registry.twist = lambda asked, reply: (
        Reply(200, {}, b'{"name":"ns/m","tags":["latest","1b"]}') if asked.path == "/v2/ns/m/tags/list" else reply
    )
    with Catalogue(supply(tmp_path)) as catalogue:
        name = named(f"{registry.host}/ns/m")
        assert catalogue.tags(name, insecure=True) == [Tag("latest", 0), Tag("1b", 0)]
        with pytest.raises(NotSupported, match="has no list of tags of ns/other"):
            catalogue.tags(named(f"{registry.host}/ns/other"), insecure=True)


def test_a_model_is_current_until_its_name_stands_for_another(registry: Registry, tmp_path: Path) -> None:
    name, digest = named(f"{registry.host}/ns/m"), Digest.of(registry.manifests["ns/m", "latest"])
    with Catalogue(supply(tmp_path)) as catalogue:
        assert catalogue.age(name, digest, insecure=True) == "current"
        registry.add("ns/m", weights=b"newer")
        assert catalogue.age(name, digest, insecure=True) == "outdated"
        assert catalogue.age(named(f"{registry.host}/ns/gone"), digest, insecure=True) == "gone"


def test_who_cannot_be_asked_is_unknown(tmp_path: Path) -> None:
    catalogue = Catalogue(supply(tmp_path, offline=True))
    assert catalogue.age(named("h.test/ns/m"), Digest.of(b"")) == "unknown"
    with pytest.raises(NotAllowed):
        catalogue.search("m", 1)
