"""Push against a little registry: what is sent, in what words, and how a broken upload goes on."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from a3s_power.core.errors import BadRequest, Cancelled, NotAllowed, PowerError, RegistryFailed, StoreFailed
from a3s_power.core.events import Progress
from a3s_power.core.manifest import (
    CONFIG_TYPE,
    FILE,
    LICENSE,
    SYSTEM,
    ConfigBlob,
    Manifest,
    write_config,
    write_manifest,
)
from a3s_power.core.requests import Push
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.push import push as push_model
from a3s_power.registry.supply import Supply
from tests.internet import Authority, Internet
from tests.pulling import Told, pull, push, supply
from tests.registries import Asked, Registry, Reply
from tests.stores import add_model, named, put_layer

WEIGHTS = os.urandom(50_000)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry().running() as running:
        yield running


def world_with(folder: Path, name: str, *, source: str = "", **settings: Any) -> Supply:
    world = supply(folder, **settings)
    add_model(world.store, name, (SYSTEM, b"Be brief."), weights=WEIGHTS, source=source)
    return world


def test_a_model_is_published_and_told_in_ollama_s_words(registry: Registry, tmp_path: Path) -> None:
    name = f"{registry.host}/ns/m:v1"
    world = world_with(tmp_path, name)
    told = push(world, name)
    stored = world.store.manifests.read(named(name))
    parts = [*stored.manifest.layers, stored.manifest.config]
    assert told.lines == [
        "retrieving manifest",
        *(f"pushing {part.blob.short}" for part in parts),
        "pushing manifest",
        "success",
    ]
    for part in parts:
        assert Progress(f"pushing {part.blob.short}", part.digest, part.size, part.size) in told
        assert hashlib.sha256(registry.blobs[part.digest]).hexdigest() == part.blob.hex
    assert registry.manifests["ns/m", "v1"] == stored.content
    (last,) = [asked for asked in registry.seen if asked.method == "PUT" and "/manifests/" in asked.path]
    assert last.headers["content-type"] == "application/vnd.docker.distribution.manifest.v2+json"


def test_a_model_kept_as_files_goes_to_a_registry_and_comes_back(registry: Registry, tmp_path: Path) -> None:
    name = f"{registry.host}/ns/kept:v1"
    world = supply(tmp_path / "here")
    files = {"config.json": b"{}", "model.safetensors": WEIGHTS} | {f"{n}.json": b"%d" % n for n in range(65)}
    layers = [
        msgspec.structs.replace(put_layer(world.store, FILE, content), name=file) for file, content in files.items()
    ]
    config = put_layer(world.store, CONFIG_TYPE, write_config(ConfigBlob(model_format="safetensors")))
    world.store.write(named(name), write_manifest(Manifest(config=config, layers=tuple(layers))))
    push(world, name)
    there = supply(tmp_path / "there")
    pull(there, name)
    assert there.store.manifests.read(named(name)).content == world.store.manifests.read(named(name)).content
    manifest = there.store.models.read(named(name)).manifest
    assert {layer.name: there.store.blobs.read(layer.blob, 10**6) for layer in manifest.layers} == files


def test_parts_go_one_after_the_other_as_ollama_sends_them(registry: Registry, tmp_path: Path) -> None:
    name = f"{registry.host}/ns/m"
    push(world_with(tmp_path, name), name)
    parts = [asked for asked in registry.seen if asked.method == "PATCH" and "/uploads/s0" in asked.path]
    assert len(parts) == 7
    ends = [int(asked.headers["content-range"].partition("-")[2]) for asked in parts]
    starts = [int(asked.headers["content-range"].partition("-")[0]) for asked in parts]
    assert starts == [0, *(end + 1 for end in ends[:-1])]
    assert {asked.headers["x-redirect-uploads"] for asked in parts} == {"1"}
    assert {asked.headers["content-type"] for asked in parts} == {"application/octet-stream"}
    commit = next(asked for asked in registry.seen if asked.method == "PUT" and "/uploads/" in asked.path)
    query = parse_qs(urlsplit(commit.path).query)
    step = ends[0] + 1
    sums = b"".join(hashlib.md5(WEIGHTS[at : at + step]).digest() for at in range(0, len(WEIGHTS), step))
    assert query["etag"] == [f"{hashlib.md5(sums).hexdigest()}-7"]
    assert query["digest"] == [f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}"]
    assert commit.headers["content-length"] == "0"


def test_what_the_registry_has_is_not_sent(registry: Registry, tmp_path: Path) -> None:
    name = f"{registry.host}/ns/m"
    world = world_with(tmp_path, name)
    push(world, name)
    registry.seen.clear()
    told = push(world, name)
    assert {asked.method for asked in registry.seen} == {"HEAD", "PUT"}
    assert told.lines[-1] == "success"


def test_a_layer_of_another_model_is_mounted(registry: Registry, tmp_path: Path) -> None:
    name = f"{registry.host}/ns/m"
    world = world_with(tmp_path, name, source=f"{registry.host}/other/base:v2")
    digest = f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}"
    registry.twist = lambda asked, reply: Reply(404) if asked.method == "HEAD" else reply
    registry.blobs[digest] = WEIGHTS
    push(world, name)
    first = next(asked for asked in registry.seen if asked.method == "POST")
    assert parse_qs(urlsplit(first.path).query) == {"from": ["other/base"], "mount": [digest]}
    assert not [asked for asked in registry.seen if int(asked.headers.get("content-length", 0)) > 1000]


def test_a_source_of_another_registry_is_not_mounted(registry: Registry, tmp_path: Path) -> None:
    name = f"{registry.host}/ns/m"
    push(world_with(tmp_path, name, source="llama3.2:1b"), name)
    assert not [asked for asked in registry.seen if "mount" in asked.path]


@pytest.mark.parametrize("kept", [0, 1, 1000, 5000])
def test_a_broken_part_goes_on_where_it_broke(registry: Registry, tmp_path: Path, kept: int) -> None:
    name = f"{registry.host}/ns/m"
    broken = 0

    def break_off(asked: Asked, reply: Reply) -> Reply:
        nonlocal broken
        if asked.method == "PATCH" and broken < 2 and asked.headers["content-range"].startswith("8333-"):
            broken += 1
            session = asked.path.rpartition("/")[2].partition("?")[0]
            registry.uploads[session] = registry.uploads[session][: 8333 + kept]
            return Reply(500, {}, b"lost the rest", cut=0)
        return reply

    registry.twist = break_off
    push(world_with(tmp_path, name), name)
    assert registry.blobs[f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}"] == WEIGHTS
    assert broken >= 1
    starts = [asked.headers["content-range"].partition("-")[0] for asked in registry.seen if asked.method == "PATCH"]
    assert str(8333 + kept) in starts


@pytest.mark.parametrize("status", [404, 410, 416])
def test_an_upload_that_the_registry_forgot_starts_anew(registry: Registry, tmp_path: Path, status: int) -> None:
    name, once = f"{registry.host}/ns/m", iter([False, False, True])

    def forget(asked: Asked, reply: Reply) -> Reply:
        return Reply(status) if asked.method == "PATCH" and next(once, False) else reply

    registry.twist = forget
    push(world_with(tmp_path, name), name)
    assert len([asked for asked in registry.seen if asked.method == "POST"]) == 4
    assert registry.blobs[f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}"] == WEIGHTS


def test_busy_registries_are_asked_again(registry: Registry, tmp_path: Path) -> None:
    name, refusals = f"{registry.host}/ns/m", {"HEAD": 1, "POST": 1, "PATCH": 2, "PUT": 2}

    def busy(asked: Asked, reply: Reply) -> Reply:
        if refusals.get(asked.method, 0) and reply.status < 400:
            refusals[asked.method] -= 1
            if asked.method == "PATCH":
                session = asked.path.rpartition("/")[2].partition("?")[0]
                registry.uploads[session] = registry.uploads[session][: -len(asked.body)]
            return Reply(503, {"Retry-After": "0"})
        return reply

    registry.twist = busy
    push(world_with(tmp_path, name), name)
    assert registry.manifests["ns/m", "latest"]


def test_a_refusal_is_told_and_not_repeated(registry: Registry, tmp_path: Path) -> None:
    name = f"{registry.host}/ns/m"
    registry.twist = lambda asked, reply: Reply(403, {}, b"not yours") if asked.method == "POST" else reply
    with pytest.raises(RegistryFailed, match=r"^403: not yours$"):
        push(world_with(tmp_path, name), name)
    assert len([asked for asked in registry.seen if asked.method == "POST"]) == 1


def test_a_registry_that_only_fails_is_given_up(registry: Registry, tmp_path: Path) -> None:
    name = f"{registry.host}/ns/m"
    registry.twist = lambda asked, reply: Reply(500, {}, b"no") if asked.method == "PATCH" else reply
    with pytest.raises(RegistryFailed, match="max retries exceeded: 500: no"):
        push(world_with(tmp_path, name), name)


def test_parts_are_sent_to_where_the_registry_keeps_them_without_our_token(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with (
        Registry().running(authority.context("registry.test")) as front,
        Registry().running(authority.context("store.test")) as back,
    ):
        internet = Internet(registry=front.port, store=back.port)
        front.token, front.realm = "t0ken", "https://registry.test:4443/token"
        front.uploads_elsewhere = "https://store.test:4443/bucket"
        received: dict[str, bytes] = {}

        def keep(asked: Asked, _: Reply) -> Reply:
            assert asked.method == "PUT"
            received[asked.path] = asked.body
            return Reply(200)

        def assembled(asked: Asked, reply: Reply) -> Reply:
            if asked.method == "PUT" and "digest=" in asked.path:
                session = asked.path.rpartition("/")[2].partition("?")[0]
                parts = [received[path] for path in sorted(received) if path.startswith(f"/bucket/{session}/")]
                front.uploads[session] = b"".join(parts)
                return front.answer(asked)
            return reply

        back.twist, front.twist = keep, assembled
        world = supply(tmp_path, internet, environ={"SSL_CERT_FILE": str(authority.path)})
        add_model(world.store, "registry.test:4443/ns/m", (LICENSE, b"MIT"), weights=WEIGHTS)
        push(world, "registry.test:4443/ns/m", insecure=False)
        assert front.blobs[f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}"] == WEIGHTS
        assert back.seen
        assert not [asked for asked in back.seen if "authorization" in asked.headers]


@pytest.mark.parametrize(
    ("destination", "repository", "tag"),
    [
        ("http://{host}", "library/m", "v1"),
        ("{host}", "library/m", "v1"),
        ("http://{host}/", "library/m", "v1"),
        ("http://{host}/other/name:v9", "other/name", "v9"),
        ("http://{host}/other/name", "other/name", "latest"),
    ],
)
def test_a_destination_says_where_to(
    registry: Registry, tmp_path: Path, destination: str, repository: str, tag: str
) -> None:
    push(world_with(tmp_path, "m:v1"), "m:v1", destination=destination.format(host=registry.host))
    assert (repository, tag) in registry.manifests


@pytest.mark.parametrize(
    "destination",
    ["ftp://x/", "http://a\\@b", "http://127.1", "https://x/only-one", "https://x/a/b/c/d", "://", "http://"],
)
def test_a_destination_that_is_none_is_refused(tmp_path: Path, destination: str) -> None:
    with pytest.raises(BadRequest, match="invalid destination"):
        push(world_with(tmp_path, "m"), "m", destination=destination)


def test_plain_http_must_be_allowed(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"^insecure protocol http$"):
        push(world_with(tmp_path, "m"), "m", destination=f"http://{registry.host}", insecure=False)
    assert registry.seen == []


def test_a_service_that_is_no_registry_is_not_called(tmp_path: Path) -> None:
    with pytest.raises(NotAllowed, match=r"port 22 of 127.0.0.1 may not be called"):
        push(world_with(tmp_path, "m"), "m", destination="http://127.0.0.1:22")


def test_a_password_of_the_request_is_used(registry: Registry, tmp_path: Path) -> None:
    registry.login = "power:secret"
    name = f"{registry.host}/ns/m"
    push(world_with(tmp_path, name), name, username="power", password="secret")
    assert registry.manifests["ns/m", "latest"]


def test_a_model_that_is_not_here_is_ollama_s_sentence(tmp_path: Path) -> None:
    told = Told()
    with pytest.raises(StoreFailed) as raised:
        push_model(Push(model=named("nope")), supply(tmp_path), told, Cancel())
    assert told.lines == ["retrieving manifest", "couldn't retrieve manifest"]
    expected = "open manifests/registry.ollama.ai/library/nope/latest: no such file or directory"
    assert (str(raised.value), raised.value.status) == (expected, 500)


def test_a_cancelled_push_ends_at_once(registry: Registry, tmp_path: Path) -> None:
    name, cancel = f"{registry.host}/ns/m", Cancel()

    def hang(asked: Asked, reply: Reply) -> Reply:
        if asked.method == "PATCH":
            cancel.ask()
            return reply._replace(hang=30.0, cut=0)
        return reply

    registry.twist = hang
    with pytest.raises(Cancelled):
        push(world_with(tmp_path, name), name, cancel)


def test_a_location_that_leads_inside_is_not_followed(registry: Registry, tmp_path: Path) -> None:
    with Registry().running() as inside:
        registry.twist = lambda asked, reply: (
            Reply(202, {"Location": f"http://{inside.host}/steal"}) if asked.method == "POST" else reply
        )
        with pytest.raises(PowerError, match="redirect not allowed"):
            push(world_with(tmp_path, f"{registry.host}/ns/m"), f"{registry.host}/ns/m")
        assert inside.seen == []


def test_what_was_pushed_can_be_pulled(registry: Registry, tmp_path: Path) -> None:
    name = f"{registry.host}/ns/m:v1"
    world = world_with(tmp_path, name)
    before = world.store.manifests.read(named(name))
    push(world, name)
    world.store.delete(named(name))
    pull(world, name)
    assert world.store.manifests.read(named(name)).digest == before.digest
