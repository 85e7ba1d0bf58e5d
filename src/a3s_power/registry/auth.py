"""Auth: our key pair, and what is answered to a registry that wants to know who asks."""

import base64
import os
import re
import secrets
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from a3s_power.core.errors import BadRequest, Refused, RegistryFailed, Unauthorized
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.connection import Answer
from a3s_power.registry.exchange import Exchange, refused
from a3s_power.registry.settings import Login
from a3s_power.registry.urls import Url

_NOTHING: Final = "ZTNiMGM0NDI5OGZjMWMxNDlhZmJmNGM4OTk2ZmI5MjQyN2FlNDFlNDY0OWI5MzRjYTQ5NTk5MWI3ODUyYjg1NQ=="
"""The base64 of the hex sha256 of no bytes: what Ollama's registry wants signed for a request without a body."""

_TOKEN_BYTES: Final = 64 * 1024
_PARAMETER = re.compile(r'([A-Za-z]+)="(.*?)"(?=,|\s*$)')
_NOT_OUR_FORM: Final = frozenset({400, 401, 403, 404, 405})


class KeyPair:
    """Our Ed25519 key, an OpenSSH file that is made where there is none. Read when something is to be signed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def authorization(self, text: str) -> str:
        """What proves that we have written this text: `<public key>:<signature>`, each in base64.

        Raises Unauthorized when there is no usable key.
        """
        # Loading it takes longer than most commands do.
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

        key = self._key()
        line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        signature = base64.b64encode(key.sign(text.encode())).decode()
        return f"{line.split()[1].decode()}:{signature}"

    def _key(self) -> Any:  # noqa: ANN401 -- a type of a library that is imported late
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_ssh_private_key  # noqa: PLC0415

        try:
            key = load_ssh_private_key(self._content(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise Unauthorized(f"key {self._path.name} cannot be used: {error}") from error
        except OSError as error:
            raise Unauthorized(f"open {self._path.name}: {(error.strerror or 'unknown error').lower()}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise Unauthorized(f"key {self._path.name} cannot be used: it is no Ed25519 key")
        return key

    def _content(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            self._make()
            return self._path.read_bytes()

    def _make(self) -> None:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

        key = Ed25519PrivateKey.generate()
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if _written_once(self._path, secret, 0o600):
            _written_once(self._path.with_name(f"{self._path.name}.pub"), line + b"\n", 0o644)


def _written_once(path: Path, content: bytes, mode: int) -> bool:
    """Make a file that nobody ever sees in part; whether it was not there before."""
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


class Challenge(msgspec.Struct, frozen=True):
    """What a 401 asks for. `scheme` is in lower case; `scope` may hold several, with blanks between."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""

    @classmethod
    def read(cls, header: str) -> "Challenge":
        """Read a `WWW-Authenticate` header. A quote ends a value only before a comma or the end."""
        scheme, _, rest = header.strip().partition(" ")
        said = {match[1].lower(): match[2] for match in _PARAMETER.finditer(rest)}
        known = {name: said[name] for name in ("realm", "service", "scope") if name in said}
        return cls(scheme.lower(), **known)


class _Token(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""


class Auth:
    """Answers challenges of one registry: with its login where one is known, with our key, or as nobody."""

    def __init__(self, exchange: Exchange, key: KeyPair, login: Login | None = None) -> None:
        self._exchange = exchange
        self._key = key
        self._login = login

    def satisfy(self, answer: Answer, cancel: Cancel) -> None:
        """Have the exchange send what this 401 asks for from now on.

        Raises:
            Unauthorized: it asks for what we do not have, or for a token from another host.
            RegistryFailed: the token could not be had.
        """
        challenge = Challenge.read(answer.header("WWW-Authenticate"))
        answer.close()
        if challenge.scheme == "basic" and self._login is not None:
            self._exchange.remember(answer.url, _basic(self._login))
        elif challenge.scheme == "bearer":
            realm = _realm(challenge, answer.url)
            self._exchange.remember(answer.url, f"Bearer {self._token(challenge, realm, cancel)}")
        else:
            raise Unauthorized

    def _token(self, challenge: Challenge, realm: Url, cancel: Cancel) -> str:
        if self._login is not None:
            return self._asked(_plain_url(challenge, realm), _basic(self._login), cancel)
        url = _signed_url(challenge, realm)
        try:
            return self._asked(url, self._key.authorization(f"GET,{url},{_NOTHING}"), cancel)
        except Refused as error:
            if error.code not in _NOT_OUR_FORM:
                raise
            signed = error
        try:
            # Registries that are not Ollama's take a signature for a bad header, and give tokens to anybody.
            return self._asked(_plain_url(challenge, realm), "", cancel)
        except RegistryFailed:
            raise signed from None

    def _asked(self, url: Url, authorization: str, cancel: Cancel) -> str:
        headers = {"Authorization": authorization} if authorization else {}
        with self._exchange.ask("GET", url, cancel, headers=headers, redirects="none") as answer:
            if answer.status >= 300:
                raise refused(answer)
            try:
                said = msgspec.json.decode(answer.read(_TOKEN_BYTES), type=_Token)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise Unauthorized("unauthorized: the token cannot be read") from error
        token = said.token or said.access_token
        if not token or not token.isprintable() or not token.isascii():
            raise Unauthorized("unauthorized: the registry gave no token")
        return token


def _realm(challenge: Challenge, asked: Url) -> Url:
    """Where tokens are to be had: nowhere but at the host that asks for one, and as safely."""
    try:
        realm = Url.parse(challenge.realm)
    except BadRequest as error:
        raise Unauthorized(f"unauthorized: {error}") from error
    if realm.authority != asked.authority or (realm.scheme, asked.scheme) == ("http", "https"):
        raise Unauthorized(f'realm host "{realm.authority}" does not match original host "{asked.authority}"')
    return realm


def _plain_url(challenge: Challenge, realm: Url) -> Url:
    return realm.asking([("service", challenge.service), *(("scope", scope) for scope in challenge.scope.split())])


def _signed_url(challenge: Challenge, realm: Url) -> Url:
    nonce = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
    return _plain_url(challenge, realm).asking([("nonce", nonce), ("ts", str(int(time.time())))])


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.name}:{login.password}".encode()).decode()
