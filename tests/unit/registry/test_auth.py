"""Who we are to a registry: the key, the signature as Ollama's registry wants it, tokens and passwords."""

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from a3s_power.cli.elsewhere import logins
from a3s_power.core.errors import BadConfig, RegistryFailed, Unauthorized
from a3s_power.registry.auth import Challenge, KeyPair
from a3s_power.registry.settings import Login
from tests.pulling import pull, supply
from tests.registries import Asked, Registry, Reply

NOTHING = "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ=="


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry().running() as running:
        running.add("ns/m")
        yield running


def public_key(line: str) -> Ed25519PublicKey:
    key = serialization.load_ssh_public_key(f"ssh-ed25519 {line}".encode())
    assert isinstance(key, Ed25519PublicKey)
    return key


def locked_key() -> bytes:
    """The outside of a key file that wants a passphrase."""

    def sized(content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + content

    kind = b"ssh-ed25519"
    outside = sized(b"aes256-ctr") + sized(b"bcrypt") + sized(sized(bytes(16)) + (16).to_bytes(4, "big"))
    content = b"openssh-key-v1\0" + outside + (1).to_bytes(4, "big") + sized(sized(kind) + sized(bytes(32)))
    text = base64.encodebytes(content + sized(bytes(144)))
    label = b"OPENSSH PRIVATE KEY"
    return b"-----BEGIN " + label + b"-----\n" + text + b"-----END " + label + b"-----\n"


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        (
            'Bearer realm="https://a/t",service="s",scope="repository:a/b:pull"',
            Challenge("bearer", "https://a/t", "s", "repository:a/b:pull"),
        ),
        ('bearer Realm="https://a/t", Scope="a:b c:d"', Challenge("bearer", "https://a/t", "", "a:b c:d")),
        ('Bearer realm="a"b",service="s"', Challenge("bearer", 'a"b', "s")),
        ('Bearer realm="a,b",service="s"', Challenge("bearer", "a,b", "s")),
        ('Basic realm="here"', Challenge("basic", "here")),
        ("Bearer", Challenge("bearer")),
        ("", Challenge("")),
        ('Bearer realm="unended', Challenge("bearer")),
    ],
)
def test_a_challenge_is_read(header: str, challenge: Challenge) -> None:
    assert Challenge.read(header) == challenge


def test_a_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    """PATH-17."""
    path = tmp_path / "base" / "id_ed25519"
    first, second = KeyPair(path).authorization("x"), KeyPair(path).authorization("x")
    assert first == second
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----\n")
    line, _, signature = first.partition(":")
    assert path.with_name("id_ed25519.pub").read_text() == f"ssh-ed25519 {line}\n"
    public_key(line).verify(base64.b64decode(signature, validate=True), b"x")
    assert sorted(each.name for each in path.parent.iterdir()) == ["id_ed25519", "id_ed25519.pub"]


def test_ollama_s_own_key_is_read(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    path = tmp_path / "id_ed25519"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    )
    line = KeyPair(path).authorization("text").partition(":")[0]
    assert public_key(line) == key.public_key()


@pytest.mark.parametrize("what", ["nonsense", "locked", "rsa", "folder"])
def test_a_key_that_cannot_be_used_is_told_without_where_it_lies(tmp_path: Path, what: str) -> None:
    path = tmp_path / "id_ed25519"
    if what == "folder":
        path.mkdir()
    elif what == "nonsense":
        path.write_text("nonsense")
    elif what == "locked":
        path.write_bytes(locked_key())
    else:
        path.write_bytes(
            generate_private_key(65537, 2048).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            )
        )
    with pytest.raises(Unauthorized) as raised:
        KeyPair(path).authorization("x")
    assert "id_ed25519" in str(raised.value)
    assert str(tmp_path) not in str(raised.value)


def test_a_token_is_asked_for_as_ollama_s_registry_wants_it(registry: Registry, tmp_path: Path) -> None:
    registry.token = "t0ken"
    registry.realm = f"http://{registry.host}/token?kept=1"
    pull(supply(tmp_path), f"{registry.host}/ns/m")
    refused, asked, granted, *rest = registry.seen
    assert "authorization" not in refused.headers
    query = parse_qs(urlsplit(asked.path).query)
    assert [part.partition("=")[0] for part in urlsplit(asked.path).query.split("&")] == [
        *("kept", "nonce", "scope", "scope", "service", "ts")
    ]
    assert (query["service"], query["scope"]) == (["little"], ["repository:ns/m:pull", "other:x"])
    assert len(base64.urlsafe_b64decode(query["nonce"][0] + "==")) == 16
    line, _, signature = asked.headers["authorization"].partition(":")
    signed = f"GET,http://{registry.host}{asked.path},{NOTHING}"
    public_key(line).verify(base64.b64decode(signature, validate=True), signed.encode())
    assert {each.headers["authorization"] for each in (granted, *rest)} == {"Bearer t0ken"}


def test_without_a_challenge_no_key_is_made(registry: Registry, tmp_path: Path) -> None:
    pull(supply(tmp_path), f"{registry.host}/ns/m")
    assert not (tmp_path / "key").exists()


def test_a_registry_that_takes_no_signature_gives_anybody_a_token(registry: Registry, tmp_path: Path) -> None:
    registry.token = "t0ken"
    registry.check_token = lambda asked: 401 if "authorization" in asked.headers else 200
    pull(supply(tmp_path), f"{registry.host}/ns/m")
    signed, plain = [asked for asked in registry.seen if asked.path.startswith("/token")]
    assert "nonce" in signed.path
    assert "nonce" not in plain.path


def test_a_login_is_told_to_the_token_s_giver(registry: Registry, tmp_path: Path) -> None:
    registry.token = "t0ken"
    pull(supply(tmp_path, logins={registry.host: Login("power", "secret")}), f"{registry.host}/ns/m")
    (asked,) = [asked for asked in registry.seen if asked.path.startswith("/token")]
    assert asked.headers["authorization"] == "Basic " + base64.b64encode(b"power:secret").decode()


def test_a_login_opens_a_registry_of_passwords(registry: Registry, tmp_path: Path) -> None:
    registry.login = "power:secret"
    pull(supply(tmp_path, logins={registry.host: Login("power", "secret")}), f"{registry.host}/ns/m")
    with pytest.raises(Unauthorized, match="pull model manifest: unauthorized: access denied"):
        pull(supply(tmp_path), f"{registry.host}/ns/m")
    with pytest.raises(Unauthorized, match="unauthorized: access denied"):
        pull(supply(tmp_path, logins={registry.host: Login("power", "wrong")}), f"{registry.host}/ns/m")


def test_a_second_refusal_is_final(registry: Registry, tmp_path: Path) -> None:
    registry.token = "t0ken"
    registry.twist = lambda asked, reply: Reply(200, {}, b'{"token":"other"}') if "/token" in asked.path else reply
    with pytest.raises(Unauthorized, match=r"^pull model manifest: unauthorized: access denied$"):
        pull(supply(tmp_path), f"{registry.host}/ns/m")
    assert len(registry.seen) == 3


def test_a_token_that_runs_out_is_asked_for_again(registry: Registry, tmp_path: Path) -> None:
    registry.add("ns/m", weights=os.urandom(40_000))
    registry.token = "first"

    def expire(asked: Asked, reply: Reply) -> Reply:
        if asked.range and registry.token == "first":
            registry.token = "second"
        return reply

    registry.twist = expire
    pull(supply(tmp_path, streams=1), f"{registry.host}/ns/m")
    assert [asked.path for asked in registry.seen if asked.path.startswith("/token")].__len__() == 2


@pytest.mark.parametrize(
    "realm", ["http://evil.example/token", "http://127.0.0.1:1/token", "ftp://x/", "", "http://127.0.0.1@evil.example/"]
)
def test_a_token_is_never_asked_of_another_host(registry: Registry, tmp_path: Path, realm: str) -> None:
    registry.twist = lambda asked, _: Reply(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'})
    with pytest.raises(RegistryFailed) as raised:
        pull(supply(tmp_path), f"{registry.host}/ns/m")
    if "evil.example/token" in realm:
        expected = f'pull model manifest: realm host "evil.example" does not match original host "{registry.host}"'
        assert str(raised.value) == expected
    assert len(registry.seen) == 1
    assert not (tmp_path / "key").exists()


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"token":5}', b'{"token":"a\\r\\nX: y"}', b'{"token":""}'])
def test_a_token_that_is_none_is_an_error(registry: Registry, tmp_path: Path, answer: bytes) -> None:
    registry.token = "t0ken"
    registry.twist = lambda asked, reply: Reply(200, {}, answer) if "/token" in asked.path else reply
    with pytest.raises(RegistryFailed):
        pull(supply(tmp_path), f"{registry.host}/ns/m")


def test_what_the_token_s_giver_refuses_is_shown(registry: Registry, tmp_path: Path) -> None:
    registry.token = "t0ken"
    registry.check_token = lambda _: 418
    with pytest.raises(RegistryFailed, match="pull model manifest: 418: no"):
        pull(supply(tmp_path), f"{registry.host}/ns/m")


def test_a_login_is_of_the_host_that_is_called_and_not_told_to_its_mirror(registry: Registry, tmp_path: Path) -> None:
    with Registry().running() as mirror:
        registry.login = mirror.login = "power:secret"
        plan: dict[str, Any] = {
            "logins": {registry.host: Login("power", "secret")},
            "mirrors": {registry.host: (f"http://{mirror.host}",)},
        }
        pull(supply(tmp_path, **plan), f"{registry.host}/ns/m")
        assert [asked.headers.get("authorization") for asked in mirror.seen] == [None]


def test_logins_are_settings_and_what_is_wrong_with_one_is_told_without_it() -> None:
    assert logins(("R.example:5000=me:se:cret=", "s.example=you:x")) == {
        "r.example:5000": Login("me", "se:cret="),
        "s.example": Login("you", "x"),
    }
    for word in ("r.example", "r.example=secret", "=me:secret", "r.example=me:", "r.example=:secret"):
        with pytest.raises(BadConfig, match=r"^logins: number 2 is not of the form HOST=NAME:PASSWORD$"):
            logins(("s.example=you:x", word))
