"""Registries on loopback: a little one that can be told to misbehave, and Debian's real one where it is installed."""

import base64
import hashlib
import http.server
import itertools
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple
from urllib.error import URLError
from urllib.parse import parse_qs, urlsplit

import pytest

from a3s_power.core.digests import Digest
from a3s_power.core.manifest import CONFIG_TYPE, MODEL, ConfigBlob, write_config

DEADLINE: Final = 20.0
_PATH = re.compile(r"/v2/(.+)/(manifests|blobs)/(.+)")


class Asked(NamedTuple):
    """A request that the registry got. Names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def range(self) -> tuple[int, int] | None:
        """First and last byte that were asked for."""
        form = re.fullmatch(r"bytes=([0-9]+)-([0-9]+)", self.headers.get("range", ""))
        return (int(form[1]), int(form[2])) if form else None


class Reply(NamedTuple):
    """An answer. `cut` bytes of the body are sent and then the connection closes; `hang` seconds pass before that."""

    status: int
    headers: dict[str, str] = {}  # noqa: RUF012 -- a NamedTuple's default
    body: bytes = b""
    cut: int | None = None
    hang: float = 0.0


Twist = Callable[[Asked, Reply], Reply]
"""Makes another answer of the honest one."""


class Registry:
    """A registry of models in memory. `twist` is asked about every answer; `seen` is every request.

    `token` is what it wants to see as `Bearer`, given out at `/token`; `login` as `Basic`.
    `uploads_elsewhere` is where uploaded parts are to be sent instead.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], bytes] = {}
        self.files: dict[str, bytes] = {}
        self.seen: list[Asked] = []
        self.twist: Twist = lambda _, reply: reply
        self.port = 0
        self.token = ""
        self.realm = ""
        self.login = ""
        self.check_token: Callable[[Asked], int] = lambda _: 200
        self.uploads_elsewhere = ""
        self.uploads: dict[str, bytes] = {}
        self.stopping = threading.Event()
        self._sessions = itertools.count()

    @property
    def host(self) -> str:
        """As it stands in a model's name."""
        return f"127.0.0.1:{self.port}"

    def add(self, name: str, *layers: tuple[str, bytes], weights: bytes = b"weights") -> bytes:
        """Add a model, `ns/model:tag`; its manifest."""
        repository, _, tag = name.partition(":")
        config = write_config(ConfigBlob(model_format="gguf", model_family="llama", file_type="Q8_0"))
        every = [*([(MODEL, weights)] if weights else []), *layers]
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "config": self.layer(CONFIG_TYPE, config),
                "layers": [self.layer(*layer) for layer in every],
            },
            indent=3,
        ).encode()
        self.manifests[repository, tag or "latest"] = manifest
        return manifest

    def layer(self, media_type: str, content: bytes) -> dict[str, Any]:
        """Keep a blob; what a manifest says of it."""
        digest = str(Digest.of(content))
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def answer(self, asked: Asked) -> Reply:
        """What an honest registry says."""
        path = urlsplit(asked.path).path
        if path == "/token":
            status = self.check_token(asked)
            return Reply(status, {}, json.dumps({"token": self.token}).encode() if status == 200 else b"no")
        if path in self.files:
            return _ranged(asked, self.files[path])
        if refusal := self._unknown(asked):
            return refusal
        if (form := _PATH.fullmatch(path)) is None:
            return Reply(404)
        repository, kind, rest = form.groups()
        if kind == "manifests":
            return self._manifest(asked, repository, rest)
        return self._upload(asked, rest) if rest.startswith("uploads/") else self._blob(asked, rest)

    def _unknown(self, asked: Asked) -> Reply | None:
        said = asked.headers.get("authorization", "")
        if self.login and said != "Basic " + base64.b64encode(self.login.encode()).decode():
            return Reply(401, {"WWW-Authenticate": 'Basic realm="here"'})
        if self.token and said != f"Bearer {self.token}":
            realm = self.realm or f"http://{self.host}/token"
            challenge = f'Bearer realm="{realm}",service="little",scope="repository:ns/m:pull other:x"'
            return Reply(401, {"WWW-Authenticate": challenge})
        return None

    def _manifest(self, asked: Asked, repository: str, tag: str) -> Reply:
        if asked.method == "PUT":
            self.manifests[repository, tag] = asked.body
            return Reply(201)
        content = self.manifests.get((repository, tag))
        return Reply(404, {}, b'{"errors":[]}') if content is None else Reply(200, {}, content)

    def _blob(self, asked: Asked, digest: str) -> Reply:
        content = self.blobs.get(digest)
        return Reply(404) if content is None else _ranged(asked, content)

    def _upload(self, asked: Asked, rest: str) -> Reply:
        query = parse_qs(urlsplit(asked.path).query)
        if asked.method == "POST":
            if query.get("mount", [""])[0] in self.blobs:
                return Reply(201)
            session = f"s{next(self._sessions)}"
            self.uploads[session] = b""
            return Reply(202, {"Location": f"{session}?state=0"})
        session = rest.removeprefix("uploads/")
        if session not in self.uploads:
            return Reply(404)
        here = {"Location": f"{session}?state={len(self.uploads[session])}"}
        if asked.method == "GET":
            return Reply(204, {**here, "Range": f"0-{max(0, len(self.uploads[session]) - 1)}"})
        if asked.method == "PATCH":
            return self._part(asked, session, here)
        digest = query["digest"][0]
        if f"sha256:{hashlib.sha256(self.uploads[session]).hexdigest()}" != digest:
            return Reply(400, {}, b"digest invalid")
        self.blobs[digest] = self.uploads.pop(session)
        return Reply(201)

    def _part(self, asked: Asked, session: str, here: dict[str, str]) -> Reply:
        start = int(asked.headers["content-range"].partition("-")[0])
        if self.uploads_elsewhere:
            target = f"{self.uploads_elsewhere}/{session}/{start:012d}"
            return Reply(307, {"Docker-Upload-Location": here["Location"], "Location": target})
        if start != len(self.uploads[session]):
            return Reply(416)
        self.uploads[session] += asked.body
        return Reply(202, here)

    @contextmanager
    def running(self, context: ssl.SSLContext | None = None) -> Iterator["Registry"]:
        """Serve on a free port of loopback, over TLS when there is a context."""
        server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"registry": self}))
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.stopping.set()
            server.shutdown()
            thread.join()
            server.server_close()


def _ranged(asked: Asked, content: bytes) -> Reply:
    wanted = asked.range
    if wanted is None:
        return Reply(200, {}, content)
    first, last = wanted[0], min(wanted[1], len(content) - 1)
    return Reply(206, {"Content-Range": f"bytes {first}-{last}/{len(content)}"}, content[first : last + 1])


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what most of these tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: ClassVar[Registry]

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 -- the base class calls it so
        """Say nothing."""

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, b"")
        self.registry.seen.append(asked)
        # A redirected upload is answered before its body is read, as object stores do.
        early = self.command == "PATCH" and bool(self.registry.uploads_elsewhere)
        body = b"" if early else self.rfile.read(length)
        reply = self.registry.twist(asked._replace(body=body), self.registry.answer(asked._replace(body=body)))
        self._send(reply)
        if early:
            self.close_connection = True

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        headers = {"Content-Length": str(len(reply.body)), **reply.headers}
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        content = reply.body if reply.cut is None else reply.body[: reply.cut]
        self.wfile.write(content)
        self.wfile.flush()
        if reply.hang:
            self.registry.stopping.wait(reply.hang)
        if reply.cut is not None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _serve  # noqa: N815 -- the base class looks for these


REAL: Final = shutil.which("docker-registry") or ""
# As `htpasswd -B` writes it, of the password `secret`.
_HTPASSWD: Final = "power:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"


@contextmanager
def real_registry(folder: Path, *, password: bool = False) -> Iterator[str]:
    """The host of a real CNCF distribution registry; the test is skipped where it is not installed.

    With `password` it wants to hear `power` and `secret`.
    """
    if not REAL:
        pytest.skip("needs Debian's package docker-registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "users").write_text(f"{_HTPASSWD}\n")
    settings: Mapping[str, Any] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        **({"auth": {"htpasswd": {"realm": "here", "path": str(folder / "users")}}} if password else {}),
    }
    (folder / "registry.yml").write_text(json.dumps(settings))
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen([REAL, "serve", str(folder / "registry.yml")], stdout=log, stderr=subprocess.STDOUT)
    try:
        _await_answer(f"http://127.0.0.1:{port}/")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(DEADLINE)


def _await_answer(url: str) -> None:
    end = time.monotonic() + DEADLINE
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except (URLError, ConnectionError):
            assert time.monotonic() < end, "the registry does not start"
        else:
            return
