"""Manifests and configs: byte for byte as Ollama writes them, and forgiving where Ollama's readers are."""

import json
from hashlib import sha256

import pytest

from a3s_power.core import limits
from a3s_power.core.digests import Digest
from a3s_power.core.errors import BadManifest
from a3s_power.core.manifest import (
    CONFIG_TYPE,
    FILE,
    MODEL,
    PROMPT,
    SYSTEM,
    TEMPLATE,
    TENSOR,
    ConfigBlob,
    Layer,
    Manifest,
    go_json,
    read_config,
    read_manifest,
    write_config,
    write_manifest,
)

A, B, C = (f"sha256:{digit * 64}" for digit in "abc")
CONFIG = Layer(media_type=CONFIG_TYPE, digest=A, size=486)
SMALL = Manifest(config=CONFIG, layers=(Layer(media_type=MODEL, digest=B, size=2019377376, source="llama3:latest"),))


def test_a_manifest_is_written_compactly_with_a_newline() -> None:
    assert write_manifest(SMALL) == (
        b'{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",'
        b'"config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"'
        + A.encode()
        + b'","size":486},'
        b'"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"' + B.encode() + b'","size":2019377376,'
        b'"from":"llama3:latest"}]}\n'
    )


def test_what_was_written_is_read() -> None:
    assert read_manifest(write_manifest(SMALL)) == SMALL


def test_order_white_space_and_unknown_fields_do_not_matter() -> None:
    shuffled = {
        "layers": [{"size": 2019377376, "from": "llama3:latest", "x": 1, "digest": B, "mediaType": MODEL}],
        "annotations": {"a": ["b"]},
        "config": {"digest": A, "mediaType": CONFIG_TYPE, "size": 486, "urls": None},
    }
    assert read_manifest(json.dumps(shuffled, indent=3).encode()) == SMALL


@pytest.mark.parametrize("layers", [b'"layers":null,', b'"layers":[],', b""])
def test_a_model_without_layers_is_one_that_runs_elsewhere(layers: bytes) -> None:
    content = b"{" + layers + b'"config":{"mediaType":"c","digest":"' + A.encode() + b'","size":0}}'
    assert read_manifest(content).layers == ()


def _manifest(**layer: object) -> bytes:
    layers = [{"mediaType": MODEL, "digest": B, "size": 1} | layer]
    return json.dumps({"config": {"mediaType": "c", "digest": A, "size": 1}, "layers": layers}).encode()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"{}", b"[]", b"null", b'"text"', b"12", b"\xff\xfe", b"\x00", b'{"config":null,"layers":[]}'),
        *(b'{"config":{"mediaType":"c","digest":"x","size":1},"layers":[]}', b"[" * 100_000, b'{"a":' * 100_000),
        *(_manifest(digest="sha256:../../x"), _manifest(digest=""), _manifest(digest=None), _manifest(digest=7)),
        *(_manifest(size=-1), _manifest(size=2**63), _manifest(size="1"), _manifest(size=1.5), _manifest(mediaType=1)),
    ],
)
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(BadManifest, match="manifest"):
        read_manifest(content)


def test_a_manifest_has_limits() -> None:
    layer = Layer(media_type=MODEL, digest=B, size=1)
    assert len(read_manifest(write_manifest(Manifest(config=CONFIG, layers=(layer,) * limits.LAYERS))).layers) == 64
    with pytest.raises(BadManifest, match="more than 64 layers"):
        read_manifest(write_manifest(Manifest(config=CONFIG, layers=(layer,) * (limits.LAYERS + 1))))
    with pytest.raises(BadManifest, match="larger than"):
        read_manifest(write_manifest(SMALL) + b" " * limits.MANIFEST_BYTES)


def test_a_model_of_tensors_may_have_many_layers() -> None:
    layers = tuple(Layer(media_type=TENSOR, digest=B, size=1, name=f"blk.{number}") for number in range(500))
    assert read_manifest(write_manifest(Manifest(config=CONFIG, layers=layers))).layers == layers


def test_layers_are_found_by_type_and_added_up() -> None:
    types = (MODEL, PROMPT, SYSTEM, TEMPLATE)
    manifest = Manifest(config=CONFIG, layers=tuple(Layer(media_type=type_, digest=C, size=10) for type_ in types))
    assert [layer.media_type for layer in manifest.of_type(TEMPLATE, PROMPT)] == [PROMPT, TEMPLATE]
    assert manifest.size == 486 + 40
    assert manifest.blobs == {Digest.parse(A), Digest.parse(C)}


def test_the_config_of_ollama_s_own_test_has_ollama_s_digest() -> None:
    config = ConfigBlob(
        model_format="gguf", model_family="test", model_families=["test"], model_type="0", file_type="unknown"
    )
    assert (
        sha256(write_config(config)).hexdigest() == "99759ad5b91e723db0393d698ffbb448b1b7df5ff6377a108c49254583b1bc8c"
    )


def test_optional_fields_of_a_config_stand_in_their_place() -> None:
    config = ConfigBlob(model_format="gguf", renderer="r", requires="0.14.0", capabilities=["tools"], context_length=7)
    assert write_config(config) == (
        b'{"model_format":"gguf","model_family":"","model_families":null,"model_type":"","file_type":"","renderer":"r",'
        b'"requires":"0.14.0","capabilities":["tools"],"context_length":7,"architecture":"amd64","os":"linux"}\n'
    )
    assert read_config(write_config(config)) == config


@pytest.mark.parametrize("names", [[""], ["../x"], ["/etc/passwd"], ["a\\b"], ["c:x"], ["a//b"], ["a", "a"]])
def test_files_under_names_that_could_leave_their_folder_are_refused(names: list[str]) -> None:
    layers = tuple(Layer(media_type=FILE, digest=B, size=1, name=name) for name in names)
    with pytest.raises(BadManifest, match="names that cannot be"):
        read_manifest(write_manifest(Manifest(config=CONFIG, layers=layers)))


def test_a_config_of_a_registry_is_read_with_all_it_carries() -> None:
    config = read_config(
        b'{"model_format":"gguf","model_family":"llama","model_families":null,"model_type":"8.0B","file_type":"Q4_0",'
        b'"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:1"]},"renderer":null}'
    )
    assert config == ConfigBlob(model_format="gguf", model_family="llama", model_type="8.0B", file_type="Q4_0")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'{"model_type":7}', b"\xff", b'{"a":' * 100_000])
def test_what_is_no_config_is_refused(content: bytes) -> None:
    with pytest.raises(BadManifest, match="config"):
        read_config(content)


def test_a_config_has_a_limit() -> None:
    with pytest.raises(BadManifest, match="larger than"):
        read_config(b"{" + b" " * limits.CONFIG_BYTES + b"}")


@pytest.mark.parametrize(
    ("value", "digest"),
    [
        (
            {"temperature": 0.6, "top_p": 0.7, "top_k": 10, "stop": ["USER:", "ASSISTANT:"]},
            "e29a7b3c47287a2489c895d21fe413c20f859a85d20e749492f52a838e36e1ba",
        ),
        (
            {"top_p": 0.7, "stop": ["<|endoftext|>"], "temperature": 0.6, "top_k": 10},
            "12f58bb75cb3042d69a7e013ab87fb3c3c7088f50ddc62f0c77bd332f0d44d35",
        ),
    ],
)
def test_sorted_json_has_the_digest_of_go_s(value: object, digest: str) -> None:
    assert sha256(go_json(value, order="sorted") + b"\n").hexdigest() == digest


def test_json_is_escaped_as_go_escapes_it() -> None:
    assert go_json({"k": '<a>&\u2028\u2029é\n\t"\\'}) == (
        '{"k":"\\u003ca\\u003e\\u0026\\u2028\\u2029é\\n\\t\\"\\\\"}'.encode()
    )
