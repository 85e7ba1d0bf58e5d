"""Pull against a little registry on loopback: what arrives, in what words, and what becomes of what is in the way."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from a3s_power.core.digests import Digest
from a3s_power.core.errors import (
    BadManifest,
    BadRequest,
    Cancelled,
    DiskFull,
    NotSupported,
    NotThere,
    PowerError,
    RegistryFailed,
)
from a3s_power.core.events import Progress
from a3s_power.core.manifest import LICENSE, MODEL, PARAMS, SYSTEM, TEMPLATE, TENSOR
from a3s_power.registry.cancel import Cancel
from a3s_power.store import Store
from a3s_power.store.partials import Part
from tests.pulling import HURRY, State, pull, states, supply
from tests.registries import Asked, Registry, Reply
from tests.stores import files_below, gguf, named

WEIGHTS = os.urandom(70_000)
DIGEST = str(Digest.of(WEIGHTS))


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry().running() as running:
        yield running


def blobs_of(store: Store) -> set[str]:
    return {path.name for path in (store.root / "blobs").iterdir()}


def test_a_model_arrives_byte_for_byte_and_is_told_in_ollama_s_words(registry: Registry, tmp_path: Path) -> None:
    layers = ((TEMPLATE, b"{{ .Prompt }}"), (SYSTEM, b"Be brief."), (PARAMS, b'{"num_ctx":5}'), (LICENSE, b"MIT"))
    manifest = registry.add("ns/m:v1", *layers, weights=gguf())
    world = supply(tmp_path)
    told = pull(world, f"{registry.host}/ns/m:v1")
    stored = world.store.manifests.read(named(f"{registry.host}/ns/m:v1"))
    assert stored.content == manifest
    model = world.store.models.read(stored.name)
    assert (model.template, model.system, model.parameters, model.licenses) == (
        "{{ .Prompt }}",
        "Be brief.",
        {"num_ctx": 5},
        ("MIT",),
    )
    parts = [*stored.manifest.layers, stored.manifest.config]
    assert told.lines == [
        "pulling manifest",
        *(f"pulling {part.blob.short}" for part in parts),
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    for part in parts:
        assert Progress(f"pulling {part.blob.short}", part.digest, part.size, part.size) in told


def test_every_request_says_who_we_are_and_the_manifest_is_asked_for_as_docker_s(
    registry: Registry, tmp_path: Path
) -> None:
    registry.add("ns/m")
    pull(supply(tmp_path), f"{registry.host}/ns/m")
    first, *rest = registry.seen
    assert (first.method, first.path) == ("GET", "/v2/ns/m/manifests/latest")
    assert first.headers["accept"] == "application/vnd.docker.distribution.manifest.v2+json"
    for asked in (first, *rest):
        assert asked.headers["user-agent"].startswith("ollama/0.")
        assert asked.headers["accept-encoding"] == "identity"
        assert "authorization" not in asked.headers


def test_a_large_blob_comes_in_parts_that_cover_it_once(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", weights=WEIGHTS)
    pull(supply(tmp_path), f"{registry.host}/ns/m")
    ranges = sorted(asked.range for asked in registry.seen if asked.range)
    assert [first for first, _ in ranges] == [0, *(last + 1 for _, last in ranges[:-1])]
    assert (len(ranges), ranges[-1][1]) == (7, len(WEIGHTS) - 1)


def test_what_is_there_is_not_fetched_again(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", (SYSTEM, b"old"), weights=WEIGHTS)
    world = supply(tmp_path)
    pull(world, f"{registry.host}/ns/m")
    registry.add("ns/m", (SYSTEM, b"new"), weights=WEIGHTS)
    registry.seen.clear()
    told = pull(world, f"{registry.host}/ns/m")
    assert [asked.path for asked in registry.seen if "/blobs/" in asked.path] == [f"/v2/ns/m/blobs/{Digest.of(b'new')}"]
    assert told.lines[-2:] == ["removing unused layers", "success"]
    assert not world.store.blobs.has(Digest.of(b"old"))
    assert told.count(Progress(f"pulling {DIGEST[7:19]}", DIGEST, len(WEIGHTS), len(WEIGHTS))) == 1


def test_unused_layers_stay_where_they_are_kept(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", (SYSTEM, b"old"))
    world = supply(tmp_path)
    world.store._keep_unused = True
    pull(world, f"{registry.host}/ns/m")
    registry.add("ns/m", (SYSTEM, b"new"))
    assert "removing unused layers" not in pull(world, f"{registry.host}/ns/m").lines
    assert world.store.blobs.has(Digest.of(b"old"))


def test_a_blob_that_a_power_cut_left_too_short_is_fetched_anew(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", weights=WEIGHTS)
    world = supply(tmp_path)
    pull(world, f"{registry.host}/ns/m")
    world.store.blobs.path(Digest.parse(DIGEST)).write_bytes(b"")
    pull(world, f"{registry.host}/ns/m")
    assert world.store.blobs.path(Digest.parse(DIGEST)).read_bytes() == WEIGHTS


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097])
def test_blobs_of_odd_sizes_arrive(registry: Registry, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    registry.add("ns/m", (LICENSE, content))
    world = supply(tmp_path)
    pull(world, f"{registry.host}/ns/m")
    assert world.store.blobs.path(Digest.of(content)).read_bytes() == content


def test_a_download_goes_on_where_ollama_s_stopped(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", weights=WEIGHTS)
    world = supply(tmp_path)
    blobs = tmp_path / "models" / "blobs"
    blobs.mkdir(parents=True)
    name = f"{DIGEST.replace(':', '-')}-partial"
    half = len(WEIGHTS) // 2
    (blobs / name).write_bytes(WEIGHTS[:half] + WEIGHTS[half : half + 1000] + bytes(len(WEIGHTS) - half - 1000))
    (blobs / f"{name}-0").write_text(f'{{"N":0,"Offset":0,"Size":{half},"Completed":{half}}}\n')
    (blobs / f"{name}-1").write_text(f'{{"N":1,"Offset":{half},"Size":{half},"Completed":1000}}\n')
    pull(world, f"{registry.host}/ns/m")
    assert [asked.range for asked in registry.seen if asked.range] == [(half + 1000, len(WEIGHTS) - 1)]
    assert world.store.blobs.path(Digest.parse(DIGEST)).read_bytes() == WEIGHTS
    assert not [path for path in blobs_of(world.store) if "partial" in path]


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"nonsense",
        b'{"N":0,"Offset":0,"Size":10,"Completed":10}',
        b'{"N":0,"Offset":0,"Size":70000,"Completed":70001}',
        b'{"N":0,"Offset":-5,"Size":70005,"Completed":5}',
        b'{"N":0,"Offset":0,"Size":99999999999999999999,"Completed":0}',
        b'{"N":0,"Offset":1,"Size":69999,"Completed":5}',
    ],
)
def test_a_state_that_does_not_cover_the_blob_is_not_trusted(registry: Registry, tmp_path: Path, state: bytes) -> None:
    registry.add("ns/m", weights=WEIGHTS)
    world = supply(tmp_path)
    blobs = tmp_path / "models" / "blobs"
    blobs.mkdir(parents=True)
    name = f"{DIGEST.replace(':', '-')}-partial"
    (blobs / name).write_bytes(bytes(len(WEIGHTS)))
    (blobs / f"{name}-0").write_bytes(state)
    pull(world, f"{registry.host}/ns/m")
    assert world.store.blobs.path(Digest.parse(DIGEST)).read_bytes() == WEIGHTS


def test_states_without_their_data_are_not_trusted(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", weights=WEIGHTS)
    world = supply(tmp_path)
    blobs = tmp_path / "models" / "blobs"
    blobs.mkdir(parents=True)
    state = '{"N":0,"Offset":0,"Size":70000,"Completed":70000}'
    (blobs / f"{DIGEST.replace(':', '-')}-partial-0").write_text(state)
    pull(world, f"{registry.host}/ns/m")
    assert world.store.blobs.path(Digest.parse(DIGEST)).read_bytes() == WEIGHTS


def cancelled_after(world: Any, source: str, registry: Registry, requests: int) -> None:
    """Pull until so many parts were asked for, of which the last one hangs; then cancel."""
    cancel, honest = Cancel(), registry.twist
    reached = threading.Event()

    def hang(asked: Asked, reply: Reply) -> Reply:
        if sum(1 for each in registry.seen if each.range) >= requests and asked.range:
            reached.set()
            return reply._replace(cut=len(reply.body) // 2, hang=30.0)
        return reply

    registry.twist = hang

    def give_up() -> None:
        reached.wait(10)
        cancel.ask()

    waiting = threading.Thread(target=give_up)
    waiting.start()
    with pytest.raises(Cancelled, match="context canceled"):
        pull(world, source, cancel)
    waiting.join()
    registry.twist = honest


def settled(world: Any) -> None:
    """Wait until nothing is on its way any more."""
    gone = threading.Event()
    for _ in range(1000):
        if not world.downloads._jobs:
            return
        gone.wait(0.01)
    pytest.fail("a download goes on that nobody wants")


def test_a_cancelled_pull_ends_at_once_and_the_next_one_goes_on(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", weights=WEIGHTS)
    world = supply(tmp_path, streams=2)
    cancelled_after(world, f"{registry.host}/ns/m", registry, 4)
    settled(world)
    left = states(world.store, DIGEST)
    assert sum(state.completed for state in left) > 0
    assert world.store.manifests.find(named(f"{registry.host}/ns/m")) is None
    registry.seen.clear()
    pull(supply(tmp_path), f"{registry.host}/ns/m")
    assert sorted(asked.range for asked in registry.seen if asked.range) == [
        (state.offset + state.completed, state.offset + state.size - 1)
        for state in left
        if state.completed < state.size
    ]


def test_pulls_at_once_share_each_download(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", weights=WEIGHTS)
    registry.add("ns/other", (SYSTEM, b"more"), weights=WEIGHTS)
    world = supply(tmp_path, streams=1)
    here = threading.Barrier(4)
    problems: list[BaseException] = []

    def one(name: str) -> None:
        here.wait(10)
        try:
            pull(world, f"{registry.host}/ns/{name}")
        except PowerError as error:
            problems.append(error)

    threads = [threading.Thread(target=one, args=(name,)) for name in ("m", "other", "m", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert problems == []
    parts = [asked.range for asked in registry.seen if asked.range]
    assert len(parts) == len(set(parts)) == 7
    assert len(world.store.models.list()) == 2


def test_a_download_goes_on_as_long_as_one_waits_for_it(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", weights=WEIGHTS)
    # Patient: on a busy machine the pause made here would else be taken for a stall.
    world = supply(tmp_path, streams=1, patience=msgspec.structs.replace(HURRY, stall=20.0))
    hanging, go_on, cancel = threading.Event(), threading.Event(), Cancel()

    def wait(asked: Asked, reply: Reply) -> Reply:
        if asked.range and asked.range[0] > 20_000:
            hanging.set()
            go_on.wait(20)
        return reply

    registry.twist = wait
    results: list[object] = []

    def one(wish: Cancel) -> None:
        try:
            results.append(pull(world, f"{registry.host}/ns/m", wish).lines[-1])
        except Cancelled as error:
            results.append(type(error))
            go_on.set()

    threads = [threading.Thread(target=one, args=(wish,)) for wish in (cancel, Cancel())]
    threads[0].start()
    assert hanging.wait(10)
    threads[1].start()
    while world.downloads._jobs[Digest.parse(DIGEST)].waiting < 2:
        hanging.wait(0.001)
    cancel.ask()
    for thread in threads:
        thread.join(30)
    assert results == [Cancelled, "success"]
    parts = [asked.range for asked in registry.seen if asked.range]
    assert len(parts) == len(set(parts))


def test_another_process_s_download_is_waited_for(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", weights=WEIGHTS)
    first, second = supply(tmp_path), supply(tmp_path)
    partial = first.store.partials.open(Digest.parse(DIGEST), len(WEIGHTS))
    assert partial is not None
    done: list[str] = []
    thread = threading.Thread(target=lambda: done.append(pull(second, f"{registry.host}/ns/m").lines[-1]))
    thread.start()
    thread.join(0.5)
    assert (done, [asked for asked in registry.seen if asked.range]) == ([], [])
    partial.close()
    thread.join(20)
    assert done == ["success"]


def test_an_unknown_model_is_ollama_s_sentence(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(NotThere) as raised:
        pull(supply(tmp_path), f"{registry.host}/ns/nope")
    assert str(raised.value) == "pull model manifest: file does not exist"


def test_a_refusal_is_shown_with_its_code_made_harmless_and_cut(registry: Registry, tmp_path: Path) -> None:
    body = b"newer\r\n\x1b[31m version " + b"x" * 5000
    registry.twist = lambda _, reply: Reply(412, {}, body)
    with pytest.raises(RegistryFailed) as raised:
        pull(supply(tmp_path), f"{registry.host}/ns/m")
    shown = str(raised.value)
    assert shown.startswith("pull model manifest: 412: newer\\r\\n\\x1b[31m version xxx")
    assert len(shown) < 1200


def test_nobody_there_is_told_as_go_tells_it(tmp_path: Path) -> None:
    with Registry().running() as gone:
        host = gone.host
    with pytest.raises(RegistryFailed) as raised:
        pull(supply(tmp_path), f"{host}/ns/m")
    assert str(raised.value) == (
        f'pull model manifest: Get "http://{host}/v2/ns/m/manifests/latest": '
        f"dial tcp {host}: connect: connection refused"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("http://127.0.0.1:5000/ns/m", "insecure protocol http"),
        ("http://127.0.0.1:5000/files/m.gguf", "insecure protocol http"),
        ("", "invalid model name"),
        ("../x", "invalid model name"),
        ("file:///etc/passwd", "invalid model name"),
        ("ftp://example.com/ns/m", "invalid model name"),
        ("data:,hello", "invalid model name"),
    ],
)
def test_what_is_no_source_is_refused(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(BadRequest) as raised:
        pull(supply(tmp_path), source, insecure=False)
    assert str(raised.value) == message


def test_a_wrong_digest_is_ollama_s_sentence_and_nothing_is_kept(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", weights=WEIGHTS)
    registry.blobs[DIGEST] = bytes(len(WEIGHTS))
    world = supply(tmp_path)
    with pytest.raises(RegistryFailed) as raised:
        pull(world, f"{registry.host}/ns/m")
    assert str(raised.value) == (
        f"digest mismatch, file must be downloaded again: want {DIGEST}, got {Digest.of(bytes(len(WEIGHTS)))}"
    )
    assert files_below(world.store.root) == set()


def test_an_older_model_of_the_name_stays_when_the_new_one_fails(registry: Registry, tmp_path: Path) -> None:
    """OUT-10."""
    before = registry.add("ns/m", weights=b"old weights")
    world = supply(tmp_path)
    pull(world, f"{registry.host}/ns/m")
    registry.add("ns/m", weights=WEIGHTS)
    registry.blobs[DIGEST] = bytes(len(WEIGHTS))
    with pytest.raises(RegistryFailed):
        pull(world, f"{registry.host}/ns/m")
    stored = world.store.manifests.read(named(f"{registry.host}/ns/m"))
    assert stored.content == before
    assert all(world.store.blobs.has(digest) for digest in stored.manifest.blobs)


def test_a_blob_that_another_s_deletion_took_along_is_fetched_again(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/a", weights=WEIGHTS)
    registry.add("ns/b", (LICENSE, b"the last layer"), weights=WEIGHTS)
    world = supply(tmp_path)
    pull(world, f"{registry.host}/ns/a")

    def delete(asked: Asked, reply: Reply) -> Reply:
        if asked.path.endswith(str(Digest.of(b"the last layer"))):
            registry.twist = lambda _, reply: reply
            world.store.delete(named(f"{registry.host}/ns/a"))
        return reply

    registry.twist = delete
    pull(world, f"{registry.host}/ns/b")
    stored = world.store.manifests.read(named(f"{registry.host}/ns/b"))
    assert all(world.store.blobs.has(digest) for digest in stored.manifest.blobs)


def test_a_full_disk_is_told_before_the_first_byte(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", weights=WEIGHTS)
    enormous = registry.manifests["ns/m", "latest"].replace(str(len(WEIGHTS)).encode(), b"1" + b"0" * 17)
    registry.manifests["ns/m", "latest"] = enormous
    with pytest.raises(DiskFull, match="not enough disk space"):
        pull(supply(tmp_path), f"{registry.host}/ns/m")
    assert not [asked for asked in registry.seen if "/blobs/" in asked.path]


def test_a_model_of_tensors_is_refused_in_ollama_s_words(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", (TENSOR, b"tensor"))
    with pytest.raises(NotSupported) as raised:
        pull(supply(tmp_path), f"{registry.host}/ns/m")
    assert str(raised.value) == "this model requires MLX support, but the MLX runtime is not available"


def test_a_bandwidth_is_kept(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", weights=WEIGHTS)
    began = time.monotonic()
    pull(supply(tmp_path, bandwidth=200_000), f"{registry.host}/ns/m")
    assert time.monotonic() - began >= len(WEIGHTS) / 200_000 * 0.9


def test_a_mirror_is_asked_first_and_its_silence_is_no_failure(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", weights=WEIGHTS)
    registry.add("ns/only-here")
    with Registry().running() as mirror:
        mirror.add("ns/m", weights=WEIGHTS)
        world = supply(tmp_path, mirrors={registry.host: (f"http://{mirror.host}",)})
        pull(world, f"{registry.host}/ns/m")
        assert registry.seen == []
        assert world.store.manifests.find(named(f"{registry.host}/ns/m"))
        pull(world, f"{registry.host}/ns/only-here")
        assert registry.seen != []


def test_busy_registries_are_asked_again_after_the_time_they_name(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", weights=WEIGHTS)
    refusals = iter([Reply(429, {"Retry-After": "0"}), Reply(503)])
    registry.twist = lambda _, reply: next(refusals, reply)
    pull(supply(tmp_path), f"{registry.host}/ns/m")
    assert [asked.path for asked in registry.seen[:3]] == ["/v2/ns/m/manifests/latest"] * 3


def test_a_name_with_its_scheme_is_asked_by_that_scheme(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m")
    world = supply(tmp_path)
    pull(world, f"http://{registry.host}/ns/m")
    assert world.store.manifests.find(named(f"{registry.host}/ns/m:latest"))


def test_names_keep_the_spelling_they_were_first_stored_in(registry: Registry, tmp_path: Path) -> None:
    registry.add("Ns/M", weights=WEIGHTS)
    registry.add("ns/m", weights=b"other")
    world = supply(tmp_path)
    pull(world, f"{registry.host}/Ns/M")
    pull(world, f"{registry.host}/ns/m")
    assert [listing.name.model for listing in world.store.models.list()] == ["M"]


@pytest.mark.parametrize("media_type", [TEMPLATE, SYSTEM, PARAMS, LICENSE])
def test_a_small_layer_that_is_large_is_refused_before_it_is_fetched(
    registry: Registry, tmp_path: Path, media_type: str
) -> None:
    registry.add("ns/m", (media_type, b"12345678901"))
    content = registry.manifests["ns/m", "latest"]
    registry.manifests["ns/m", "latest"] = content.replace(b'"size": 11\n', b'"size": 104857600\n')
    with pytest.raises(BadManifest, match="is larger than"):
        pull(supply(tmp_path), f"{registry.host}/ns/m")
    assert len(registry.seen) == 1


def test_states_are_written_as_ollama_writes_them(tmp_path: Path) -> None:
    world = supply(tmp_path)
    partial = world.store.partials.open(Digest.parse(DIGEST), 10)
    assert partial is not None
    partial.cut([Part(number=0, offset=0, size=10, completed=4)])
    partial.close()
    (path,) = (tmp_path / "models" / "blobs").glob("*-partial-0")
    assert path.read_bytes() == b'{"N":0,"Offset":0,"Size":10,"Completed":4}\n'
    assert states(world.store, DIGEST) == [State(n=0, offset=0, size=10, completed=4)]
    assert MODEL.endswith("model")


def test_an_address_that_expires_amid_a_download_is_asked_for_anew(registry: Registry, tmp_path: Path) -> None:
    """Section 15, 6: signed addresses of object stores are good for minutes."""
    content = os.urandom(200_000)
    registry.add("ns/m", weights=content)
    digest = str(Digest.of(content))
    signatures: list[str] = []
    served = 0

    def signed(asked: Asked, reply: Reply) -> Reply:
        nonlocal served
        if asked.path.endswith(f"/blobs/{digest}"):
            signatures.append(f"/stored/{len(signatures)}")
            registry.files[signatures[-1]] = content
            return Reply(307, {"Location": f"http://{registry.host}{signatures[-1]}"})
        if asked.path in signatures:
            served += 1
            expired = asked.path != signatures[-1] or (len(signatures) == 1 and served > 1)
            return Reply(403, {}, b"expired") if expired else reply
        return reply

    registry.twist = signed
    pull(supply(tmp_path, streams=1), f"{registry.host}/ns/m")
    assert len(signatures) > 1
    fetched = [asked.range for asked in registry.seen if asked.path in signatures]
    assert len(fetched) == len(set(fetched)) + 1
