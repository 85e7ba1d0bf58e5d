"""The security sheet's rows on what leaves this machine: redirects, tokens, manifests, bytes that are others'."""

import gzip
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from a3s_power.core.digests import Digest
from a3s_power.core.errors import NotAllowed, PowerError, Unreachable
from a3s_power.core.manifest import CONFIG_TYPE, MODEL, SYSTEM
from a3s_power.registry.settings import Settings
from a3s_power.service.transfers import LocalTransfers
from a3s_power.store import Store
from tests.fakes import client, service
from tests.internet import Authority, Internet
from tests.pulling import HURRY, SMALL, pull, push, supply
from tests.registries import Asked, Registry, Reply
from tests.shared import REPOSITORY
from tests.stores import add_model, files_below, named

WEIGHTS = os.urandom(20_000)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry().running() as running:
        running.add("ns/m", weights=WEIGHTS)
        yield running


@pytest.fixture
def inside() -> Iterator[Registry]:
    """A server of the inner network, which nobody outside may have us call."""
    with Registry().running() as running:
        running.twist = lambda *_: Reply(200, {}, WEIGHTS)
        yield running


def api(folder: Path, **settings: Any) -> TestClient:
    """A client of a server that pulls into an empty store."""
    models = folder / "models"
    plan = Settings(key_file=folder / "key" / "id_ed25519", patience=HURRY, cutting=SMALL, **settings)
    return client(models, service(models, transfers=LocalTransfers(Store(models), None, plan)))


def redirecting(registry: Registry, location: str, status: int = 307) -> None:
    registry.twist = lambda asked, reply: Reply(status, {"Location": location}) if "/blobs/" in asked.path else reply


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_into_the_inside_is_not_followed(
    registry: Registry, inside: Registry, tmp_path: Path, status: int
) -> None:
    """OUT-01: not even to another port of the same machine, though the user's own registry is private."""
    for location in (f"http://{inside.host}/x", f"http://localhost:{inside.port}/x", f"//{inside.host}/x"):
        redirecting(registry, location, status)
        with pytest.raises(NotAllowed, match="redirect not allowed"):
            pull(supply(tmp_path), f"{registry.host}/ns/m")
    assert inside.seen == []


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/",
        "http://127.0.0.1:22/",
        "http://[::1]/",
        "https://[::1]/",
        "https://10.0.0.1/",
        "https://[::ffff:169.254.169.254]/",
        "https://[::ffff:10.0.0.1]/",
        "https://metadata.test/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:70/x",
        "http://2130706433/",
        "http://evil.com\\@127.0.0.1/",
        "http://127.0.0.1#@good.com",
        "http://good.com:80@127.0.0.1/",
        "https://goöd.com/",
    ],
)
def test_whatever_a_redirect_says_nothing_inside_is_called(tmp_path: Path, location: str) -> None:
    """OUT-01 and OUT-03, from a registry of the public network."""
    authority = Authority(tmp_path)
    with Registry().running(authority.context("registry.test")) as front:
        front.add("ns/m", weights=WEIGHTS)
        internet = Internet(registry=front.port)
        internet.put("metadata.test", "169.254.169.254")
        redirecting(front, location)
        world = supply(tmp_path, internet, environ={"SSL_CERT_FILE": str(authority.path)})
        with pytest.raises(NotAllowed, match=r"not allowed|may not be called"):
            pull(world, "registry.test/ns/m", insecure=False)
        assert set(internet.dialled) == {"93.184.216.1:443"}


def test_a_chain_of_redirects_ends(registry: Registry, tmp_path: Path) -> None:
    """OUT-01: eleven are too many, and each is looked at."""
    registry.twist = lambda asked, reply: (
        Reply(302, {"Location": f"{asked.path}x"}) if "/manifests/" in asked.path else reply
    )
    with pytest.raises(PowerError, match=r"maximum redirects exceeded \(10\)"):
        pull(supply(tmp_path), f"{registry.host}/ns/m")
    assert len(registry.seen) == 11


def test_a_redirect_does_not_leave_encryption(tmp_path: Path) -> None:
    """OUT-01: from https to http, even to the same public host."""
    authority = Authority(tmp_path)
    with Registry().running(authority.context("registry.test")) as front:
        front.add("ns/m", weights=WEIGHTS)
        redirecting(front, "http://registry.test/x")
        world = supply(tmp_path, Internet(registry=front.port), environ={"SSL_CERT_FILE": str(authority.path)})
        with pytest.raises(NotAllowed, match="is not secure"):
            pull(world, "https://registry.test/ns/m", insecure=True)


def test_an_address_is_looked_up_once(tmp_path: Path) -> None:
    """OUT-02: a name that is public first and inside later is called where it was first."""
    authority = Authority(tmp_path)
    with (
        Registry().running(authority.context("registry.test", "cdn.test")) as front,
        Registry().running(authority.context("cdn.test")) as trap,
    ):
        front.add("ns/m", (SYSTEM, b"more"), weights=WEIGHTS)
        internet = Internet(registry=front.port, cdn=front.port)
        answers = iter([["93.184.216.2"]])
        honest = internet.resolve

        def rebinding(host: str, port: int) -> list[str]:
            found = honest(host, port)
            return next(answers, ["127.0.0.1"]) if host == "cdn.test" else found

        internet.resolve = rebinding  # type: ignore[method-assign] # a name server of the attacker's
        front.twist = lambda asked, reply: (
            Reply(307, {"Location": f"https://cdn.test:{trap.port}{asked.path}"})
            if "/blobs/" in asked.path and asked.headers["host"] == "registry.test"
            else reply
        )
        world = supply(tmp_path, internet, environ={"SSL_CERT_FILE": str(authority.path)})
        pull(world, "registry.test/ns/m", insecure=False)
        assert internet.asked.count("cdn.test") == 1
        assert trap.seen == []


def test_a_name_that_means_both_worlds_is_called_in_the_outer_one_only(tmp_path: Path) -> None:
    """OUT-02."""
    authority = Authority(tmp_path)
    with Registry().running(authority.context("registry.test")) as front:
        front.add("ns/m", weights=WEIGHTS)
        internet = Internet(registry=front.port, cdn=front.port)
        internet.addresses["cdn.test"] = ["127.0.0.1", "10.0.0.1"]
        redirecting(front, "https://cdn.test/x")
        world = supply(tmp_path, internet, environ={"SSL_CERT_FILE": str(authority.path)})
        with pytest.raises(NotAllowed, match=r"redirect not allowed: cdn.test"):
            pull(world, "registry.test/ns/m", insecure=False)


@pytest.mark.parametrize(
    "text",
    [
        "http://evil.com\\@127.0.0.1/x.gguf",
        "http://127.0.0.1#@good.com",
        "http://good.com:80@127.0.0.1/",
        "http://0/",
        "http://127.1/",
        "ht\ttp://good.com/x.gguf",
        "http://good。com/x.gguf",
        "file:///etc/passwd",
        "ftp://good.com/x.gguf",
        "data:,GGUF",
    ],
)
def test_an_address_that_may_mean_two_things_is_a_bad_request(tmp_path: Path, text: str) -> None:
    """OUT-03 and OUT-12, over the API."""
    answer = api(tmp_path).post("/api/pull", json={"model": text, "insecure": True})
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
    answer = api(tmp_path).post("/api/push", json={"model": "x", "destination": text, "insecure": True})
    assert "error" in answer.text


@pytest.mark.parametrize(
    "destination", ["http://127.0.0.1:22", "https://127.0.0.1:22", "https://169.254.169.254", "http://127.0.0.1:6379"]
)
def test_a_push_calls_no_other_service(tmp_path: Path, destination: str) -> None:
    """OUT-05."""
    world = supply(tmp_path)
    add_model(world.store, "x")
    with pytest.raises(NotAllowed):
        push(world, "x", destination=destination)


def test_a_push_without_insecure_sends_nothing_over_plain_http(registry: Registry, tmp_path: Path) -> None:
    """OUT-05 and OUT-14."""
    models = tmp_path / "models"
    add_model(Store(models), "x")
    answer = api(tmp_path).post("/api/push", json={"model": "x", "destination": f"http://{registry.host}"})
    assert "insecure protocol http" in answer.text
    assert registry.seen == []


def test_a_token_is_asked_of_the_registry_s_own_host(registry: Registry, inside: Registry, tmp_path: Path) -> None:
    """OUT-06: the error names both hosts, and nobody else is asked."""
    registry.token, registry.realm = "t0ken", f"http://{inside.host}/token"
    lines = api(tmp_path).post("/api/pull", json={"model": f"{registry.host}/ns/m", "insecure": True}).text.splitlines()
    expected = f'pull model manifest: realm host "{inside.host}" does not match original host "{registry.host}"'
    assert [json.loads(line) for line in lines] == [{"status": "pulling manifest"}, {"error": expected}]
    assert inside.seen == []


def test_secrets_stay_with_the_host_they_are_for(tmp_path: Path) -> None:
    """OUT-07: neither the registry's token nor the hub's is told to where a blob lies."""
    authority = Authority(tmp_path)
    with (
        Registry().running(authority.context("registry.test")) as front,
        Registry().running(authority.context("cdn.test")) as back,
    ):
        front.add("ns/m", weights=WEIGHTS)
        back.blobs = front.blobs
        front.token, front.realm = "t0ken", "https://registry.test/token"
        front.twist = lambda asked, reply: (
            Reply(302, {"Location": f"https://cdn.test{asked.path}", "Set-Cookie": "a=b"})
            if "/blobs/" in asked.path and reply.status < 300
            else reply
        )
        environ = {"SSL_CERT_FILE": str(authority.path), "HF_TOKEN": "hf_secret"}
        world = supply(tmp_path, Internet(registry=front.port, cdn=back.port), environ=environ)
        pull(world, "registry.test/ns/m", insecure=False)
        assert back.seen
        for asked in back.seen:
            assert not {"authorization", "cookie"} & set(asked.headers)
            assert "t0ken" not in str(asked)
        assert "hf_secret" not in str(front.seen)


def test_who_we_are_sent_to_does_not_learn_who_we_are(tmp_path: Path) -> None:
    """OUT-06: a foreign host's challenge is not answered."""
    authority = Authority(tmp_path)
    with (
        Registry().running(authority.context("registry.test")) as front,
        Registry().running(authority.context("evil.test")) as evil,
    ):
        front.twist = lambda asked, _: Reply(307, {"Location": f"https://evil.test{asked.path}"})
        evil.twist = lambda *_: Reply(401, {"WWW-Authenticate": 'Bearer realm="https://evil.test/token"'})
        world = supply(
            tmp_path, Internet(registry=front.port, evil=evil.port), environ={"SSL_CERT_FILE": str(authority.path)}
        )
        with pytest.raises(PowerError, match="unauthorized"):
            pull(world, "registry.test/ns/m", insecure=False)
        assert [asked.path for asked in evil.seen] == ["/v2/ns/m/manifests/latest"]
        assert not (tmp_path / "key").exists()


_LAYER = {"mediaType": MODEL, "digest": str(Digest.of(WEIGHTS)), "size": len(WEIGHTS)}
_CONFIG = {"mediaType": CONFIG_TYPE, "digest": str(Digest.of(b"{}")), "size": 2}


def _manifest(**changes: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "config": _CONFIG, "layers": [_LAYER], **changes}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"5",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"layers":' * 50_000,
        _manifest(layers=[]),
        _manifest(layers={}),
        _manifest(config=None),
        _manifest(layers=[{}]),
        _manifest(layers=[{**_LAYER, "digest": ""}]),
        _manifest(layers=[{**_LAYER, "digest": "sha256:../../x"}]),
        _manifest(layers=[{**_LAYER, "digest": "sha512:" + "0" * 128}]),
        _manifest(layers=[{**_LAYER, "size": -1}]),
        _manifest(layers=[{**_LAYER, "size": 2**63}]),
        _manifest(layers=[{**_LAYER, "size": "7"}]),
        _manifest(layers=[{key: value for key, value in _LAYER.items() if key != "size"}]),
        _manifest(layers=[{key: value for key, value in _LAYER.items() if key != "mediaType"}]),
        _manifest(layers=[_LAYER] * 5000),
        _manifest(layers=[{**_LAYER, "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}]),
        _manifest(config={**_CONFIG, "digest": str(Digest.of(b"no json")), "size": 7}),
        _manifest() + b" " * 2_000_000,
    ],
)
def test_a_manifest_that_is_none_ends_in_an_error_and_no_model(
    registry: Registry, tmp_path: Path, content: bytes
) -> None:
    """OUT-08 and PATH-02: as an error line of the stream, and as an answer of 500."""
    registry.manifests["ns/m", "latest"] = content
    registry.blobs |= {str(Digest.of(b"{}")): b"{}", str(Digest.of(b"no json")): b"no json"}
    server = api(tmp_path)
    body = {"model": f"{registry.host}/ns/m", "insecure": True}
    streamed = server.post("/api/pull", json=body)
    assert streamed.status_code == 200
    first, *_, last = [json.loads(line) for line in streamed.text.splitlines()]
    assert first == {"status": "pulling manifest"}
    assert set(last) == {"error"}
    assert str(tmp_path) not in last["error"]
    whole = server.post("/api/pull", json={**body, "stream": False})
    assert (whole.status_code, set(whole.json())) == (500, {"error"})
    assert not [path for path in files_below(tmp_path / "models") if path.startswith("manifests")]


def test_a_size_that_is_not_the_real_one_is_an_error(registry: Registry, tmp_path: Path) -> None:
    """OUT-08: shorter than it is, and longer."""
    registry.blobs[str(Digest.of(b"{}"))] = b"{}"
    for size in (len(WEIGHTS) - 1, len(WEIGHTS) + 1, 1, 0):
        registry.manifests["ns/m", "latest"] = _manifest(layers=[{**_LAYER, "size": size}])
        world = supply(tmp_path)
        with pytest.raises(PowerError):
            pull(world, f"{registry.host}/ns/m")
        assert world.store.manifests.find(named(f"{registry.host}/ns/m")) is None


def test_the_same_layer_twice_is_fetched_once(registry: Registry, tmp_path: Path) -> None:
    """OUT-08."""
    registry.blobs[str(Digest.of(b"{}"))] = b"{}"
    registry.manifests["ns/m", "latest"] = _manifest(layers=[_LAYER, _LAYER], schemaVersion=1)
    pull(supply(tmp_path), f"{registry.host}/ns/m")
    ranges = [asked.range for asked in registry.seen if asked.range]
    assert len(ranges) == len(set(ranges))


@pytest.mark.parametrize("media_type", ["template", "system", "params", "license", "messages"])
def test_a_hostile_text_is_bounded(registry: Registry, tmp_path: Path, media_type: str) -> None:
    """OUT-11: a hundred mebibytes of license are refused by what the manifest says."""
    layer = {**_LAYER, "mediaType": f"application/vnd.ollama.image.{media_type}", "size": 100 * 1024 * 1024}
    registry.manifests["ns/m", "latest"] = _manifest(layers=[_LAYER, layer])
    with pytest.raises(PowerError, match="is larger than"):
        pull(supply(tmp_path), f"{registry.host}/ns/m")
    assert len(registry.seen) == 1


def test_a_compressed_answer_is_refused(registry: Registry, tmp_path: Path) -> None:
    """PATH-15 and OUT-09: a manifest that would unpack to a gigabyte, and a blob likewise."""
    bomb = gzip.compress(bytes(10_000_000))
    for place in ("/manifests/", "/blobs/"):
        registry.twist = lambda asked, reply, place=place: (  # type: ignore[misc] # a twist
            reply._replace(headers={**reply.headers, "Content-Encoding": "gzip"}, body=bomb)
            if place in asked.path
            else reply
        )
        with pytest.raises(PowerError, match=r"is compressed|bytes long"):
            pull(supply(tmp_path), f"{registry.host}/ns/m")


def test_an_endless_answer_ends(registry: Registry, tmp_path: Path) -> None:
    """OUT-09: more bytes than a manifest or an error may have."""
    registry.twist = lambda *_: Reply(200, {}, b"[" * 3_000_000)
    with pytest.raises(PowerError, match="larger than"):
        pull(supply(tmp_path), f"{registry.host}/ns/m")
    registry.twist = lambda *_: Reply(418, {}, b"x" * 3_000_000)
    with pytest.raises(PowerError, match="418"):
        pull(supply(tmp_path), f"{registry.host}/ns/m")


def test_what_a_registry_says_is_shown_without_its_controls(registry: Registry, tmp_path: Path) -> None:
    """OUT-15."""
    registry.twist = lambda *_: Reply(400, {}, b"a\r\nSet-Cookie: x\x1b[2J\x00\xff" + b"y" * 100_000)
    answer = api(tmp_path).post("/api/pull", json={"model": f"{registry.host}/ns/m", "insecure": True})
    error = json.loads(answer.text.splitlines()[-1])["error"]
    assert error.isprintable()
    assert len(error) < 1200


def test_an_address_of_the_inside_needs_insecure_and_must_be_a_model(inside: Registry, tmp_path: Path) -> None:
    """OUT-12."""
    address = f"http://{inside.host}/api/blobs/x.gguf"
    answer = api(tmp_path).post("/api/pull", json={"model": address})
    assert "insecure protocol http" in answer.text
    assert inside.seen == []
    inside.twist = lambda *_: Reply(200, {}, b"secrets of another service")
    answer = api(tmp_path).post("/api/pull", json={"model": address, "insecure": True})
    assert "is no GGUF file" in answer.text
    assert "secrets" not in answer.text
    assert not [path for path in files_below(tmp_path) if "blobs" in path]


def test_bad_certificates_are_refused_whatever_is_allowed(tmp_path: Path) -> None:
    """OUT-14: one that nobody vouches for, one of another name; `insecure` allows http and nothing else."""
    authority = Authority(tmp_path)
    with Registry().running(authority.context("other.test")) as front:
        internet = Internet(registry=front.port)
        for environ in ({}, {"SSL_CERT_FILE": str(authority.path)}):
            world = supply(tmp_path, internet, environ=environ)
            with pytest.raises(Unreachable, match="tls: failed to verify certificate"):
                pull(world, "https://registry.test/ns/m", insecure=True)
    assert front.seen == []


def test_a_header_is_no_proxy(registry: Registry, tmp_path: Path) -> None:
    """OUT-19."""
    body = {"model": f"{registry.host}/ns/m", "insecure": True}
    answer = api(tmp_path).post("/api/pull", json=body, headers={"Proxy": "http://127.0.0.1:9"})
    assert json.loads(answer.text.splitlines()[-1]) == {"status": "success"}


def test_with_a_proxy_names_of_the_inside_are_refused_unseen(tmp_path: Path) -> None:
    """OUT-02: the proxy looks names up, so that they are judged by themselves."""
    with Registry().running() as proxy:
        proxy.twist = lambda asked, _: Reply(302, {"Location": "https://metadata.google.internal/"})
        internet = Internet(proxy=proxy.port)
        environ = {"http_proxy": "http://proxy.test:3128", "https_proxy": "http://proxy.test:3128"}
        with pytest.raises(NotAllowed, match=r"redirect not allowed: metadata.google.internal"):
            pull(supply(tmp_path, internet, environ=environ), "http://registry.test/ns/m")
        assert internet.asked == ["proxy.test"]
        (asked,) = proxy.seen
        assert asked.path == "http://registry.test/v2/ns/m/manifests/latest"


_OFFLINE = """
import sys
from pathlib import Path
from a3s_power.core.errors import NotAllowed
from a3s_power.core.requests import Pull, Push
from a3s_power.core.names import ModelName
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.pull import pull
from a3s_power.registry.push import push
from a3s_power.registry.settings import Settings
from a3s_power.registry.supply import Supply
from a3s_power.store import Store
seen = []
sys.addaudithook(lambda event, arguments: seen.append(event) if event.startswith("socket.") else None)
store = Store(Path(sys.argv[1]))
store.copy(ModelName.parse("power-tiny"), ModelName.parse("mine"))
supply = Supply(store, Settings(key_file=Path(sys.argv[1]) / "key", offline=True))
sources = ["llama3.2", "hf.co/a/b", "https://e.com/x.gguf", "http://127.0.0.1:5000/a/b", "registry.corp/a/b"]
refused = 0
for source in sources:
    try:
        pull(Pull(source=source, insecure=True, consent=True), supply, lambda told: None, Cancel(), lambda *made: None)
    except NotAllowed as error:
        refused += str(error).startswith("offline: ")
for destination in ("", "https://registry.corp", "http://127.0.0.1:5000"):
    try:
        wish = Push(model=ModelName.parse("mine"), destination=destination, insecure=True)
        push(wish, supply, lambda told: None, Cancel())
    except NotAllowed as error:
        refused += str(error).startswith("offline: ")
print(refused, seen)
"""


def test_offline_no_socket_is_made_and_no_name_looked_up(tmp_path: Path) -> None:
    """OUT-17: seen by the interpreter's own audit."""
    done = subprocess.run(
        [sys.executable, "-c", _OFFLINE, tmp_path], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "8 []\n"


def test_sockets_are_made_in_one_place() -> None:
    """OUT-17: whoever adds another one has to think of all this."""
    makers = {
        path.name
        for path in (REPOSITORY / "src/a3s_power/registry").glob("*.py")
        if any(
            word in path.read_text("utf-8")
            for word in ("socket.socket(", "create_connection", "getaddrinfo", "urlopen")
        )
    }
    assert makers == {"outbound.py"}


def test_a_slow_answer_does_not_hold_a_server_for_ever(tmp_path: Path) -> None:
    """A registry that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unreachable, match="i/o timeout"):
            pull(supply(tmp_path, patience=HURRY.__class__(answer=0.2, tries=1)), f"{host}/ns/m")


def test_asked_is_what_was_asked(registry: Registry, tmp_path: Path) -> None:
    """No request carries more than it needs: no cookie, no referrer, no path of this machine."""
    pull(supply(tmp_path), f"{registry.host}/ns/m")
    for asked in registry.seen:
        assert isinstance(asked, Asked)
        assert set(asked.headers) <= {"host", "user-agent", "accept", "accept-encoding", "range"}
