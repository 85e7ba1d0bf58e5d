"""The security sheet's rows on browsers and the network edge; Ollama's own on Host and Origin stand beside them."""

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from a3s_power.api.app import ENDPOINTS
from a3s_power.core.errors import BadConfig
from tests.fakes import client, service
from tests.running import playing

EVIL = "https://evil.example"
PREFLIGHT = {
    "access-control-allow-methods": "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS",
    "access-control-allow-headers": (
        "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,X-Stainless-Arch,X-Stainless-Async,"
        "X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,X-Stainless-Lang,X-Stainless-Os,"
        "X-Stainless-Package-Version,X-Stainless-Poll-Helper,X-Stainless-Retry-Count,X-Stainless-Runtime,"
        "X-Stainless-Runtime-Version,X-Stainless-Timeout"
    ),
    "access-control-max-age": "43200",
}


@pytest.fixture
def local(tmp_path: Path) -> TestClient:
    """A client of an application bound to a loopback address."""
    return client(tmp_path, hostname="Workstation", addresses=("203.0.113.7",))


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A real server on a loopback address."""
    with playing(service(tmp_path)) as port:
        yield port


def said(port: int, request: bytes) -> bytes:
    """All that the server answers until it closes, or for half a second."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(0.5)
        try:
            connection.sendall(request)
            while piece := connection.recv(65536):
                answer += piece
        except (TimeoutError, ConnectionError):
            pass
    return answer


def _refused(answer: httpx2.Response) -> bool:
    headers = {name for name in answer.headers if name.startswith("access-control")}
    return (answer.status_code, answer.content, headers) == (403, b"", set())


@pytest.mark.parametrize("agent", ["curl/8", "", "Mozilla/5.0"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *[("GET", path) for path in ("/", "/api/tags", "/v1/models", "/health", "/nope", "//api/tags")],
        *[("POST", "/api/pull"), ("DELETE", "/api/delete"), ("PUT", "/api/tags")],
    ],
)
def test_a_foreign_name_is_refused(local: TestClient, method: str, path: str, agent: str) -> None:
    """NET-01, NET-11; Ollama's row 153."""
    assert _refused(local.request(method, path, headers={"Host": "evil.example:11434", "User-Agent": agent}))


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "127.0.0.1:11434", "[::1]:11434", "[::1]", "::1", "workstation", "WORKSTATION:1", "203.0.113.7"),
        *("x.local", "x.internal:80", "x.localhost", "", "LocalHost", "127.9.9.9", "0.0.0.0", "[::]", "10.1.2.3"),
        *("192.168.1.5", "172.16.0.1", "[fd00::1]", "host.docker.internal", "[::ffff:127.0.0.1]:5"),
    ],
)
def test_a_name_of_this_machine_is_good(local: TestClient, host: str) -> None:
    """NET-02; Ollama's rows 154, 155."""
    assert local.get("/api/tags", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("localhost.evil.com", "127.0.0.1.nip.io", "evil.com:localhost", "localhost@evil.com", "0x7f.1", "2130706433"),
        *("127.1", "[::ffff:8.8.8.8]", "8.8.8.8", "local\thost", "a" * 300 + ".localhost", "172.32.0.1", "[fe00::1]"),
        *("evil.com#.localhost", "[::1", "127.0.0.1:99999999", "xlocalhost", "evil.com/.local", "172.016.0.1"),
    ],
)
def test_a_look_alike_is_refused(local: TestClient, host: str) -> None:
    """NET-03; Ollama's row 156."""
    assert _refused(local.get("/api/tags", headers={"Host": host}))


def test_two_hosts_are_refused(port: int) -> None:
    """NET-03."""
    answer = said(port, b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("allowed", "host", "status"),
    [
        ((), "example.com", 200),
        (("example.com",), "example.com:11434", 200),
        (("example.com",), "EXAMPLE.com", 200),
        (("example.com",), "evil.example", 403),
        (("example.com",), "127.0.0.1", 200),
        (("example.com",), "8.8.8.8", 403),
        (("203.0.113.9",), "203.0.113.9", 200),
    ],
)
def test_elsewhere_than_on_loopback_names_are_looked_at_when_some_are_allowed(
    tmp_path: Path, allowed: tuple[str, ...], host: str, status: int
) -> None:
    """NET-04, and Ollama's row 162: without a list of allowed hosts it looks at none."""
    http = client(tmp_path, host="0.0.0.0", allowed_hosts=allowed)
    assert http.get("/api/tags", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    "request_",
    [
        b"GET http://localhost/api/tags HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /api/tags HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost\r\n\r\n",
        b"GET /api/tags HTTP/1.1\r\nHost: evil.example\r\nForwarded: host=localhost\r\n\r\n",
    ],
)
def test_only_the_host_line_says_the_name(port: int, request_: bytes) -> None:
    """NET-05."""
    assert said(port, request_).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("agent", ["curl/8", "", "Mozilla/5.0"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
@pytest.mark.parametrize(
    "origin",
    [
        *(EVIL, "http://example.com", "http://localhost.evil.com", "http://evil.com#localhost", "null"),
        *("http://localhost:3000.evil", "http://localhost:1.evil.com", "HTTP://LOCALHOST", "chrome-extension://id"),
        *("http://[::1]:3000", "http://192.168.1.5", "http://localhost:3000/", "localhost", "app://a/b"),
        *("http://localhost:", "http://localhost:123456", "http://localhost:80@evil.com"),
    ],
)
def test_a_foreign_page_is_refused(local: TestClient, method: str, origin: str, agent: str) -> None:
    """NET-06, NET-07, NET-08, NET-11; Ollama's rows 158, 160."""
    headers = {"Origin": origin, "User-Agent": agent, "Content-Type": "text/plain"}
    assert _refused(local.request(method, "/api/tags", headers=headers))


_WELCOME = [
    *("http://localhost:3000", "https://localhost", "http://127.0.0.1:8080", "http://0.0.0.0", "app://x"),
    *("file://", "file://evil", "tauri://localhost", "vscode-webview://x", "vscode-file://vscode-app"),
]


@pytest.mark.parametrize("origin", _WELCOME)
def test_a_page_of_this_machine_is_told_that_it_may(local: TestClient, origin: str) -> None:
    """Ollama's row 157."""
    answer = local.get("/api/tags", headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", ["/api/chat", "/nope"])
@pytest.mark.parametrize("origin", _WELCOME)
def test_a_page_of_this_machine_may_ask_first(local: TestClient, origin: str, path: str) -> None:
    """NET-07; Ollama's row 159."""
    answer = local.options(path, headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
    assert (answer.status_code, answer.content) == (204, b"")
    said = {name: value for name, value in answer.headers.items() if name.startswith("access-control")}
    assert said == PREFLIGHT | {"access-control-allow-origin": origin}
    vary = ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"]
    assert answer.headers.get_list("vary") == vary


def test_a_page_of_the_same_address_needs_no_leave(local: TestClient) -> None:
    """Section 6 of Ollama's sheet."""
    answer = local.get("/api/tags", headers={"Origin": "http://localhost:11434"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("entry", "origin", "status"),
    [
        ("https://app.example.com", "https://app.example.com", 200),
        ("https://*.example.com", "https://a.b.example.com", 200),
        ("https://*.example.com", "https://evil.com/.example.com", 403),
        ("https://example.com:*", "https://example.com:8443", 200),
        ("https://example.com:*", "https://example.com:1.evil.com", 403),
        ("chrome-extension://*", "chrome-extension://id", 200),
        ("https://app.example.com", EVIL, 403),
    ],
)
def test_origins_can_be_added(tmp_path: Path, entry: str, origin: str, status: int) -> None:
    """NET-08."""
    assert client(tmp_path, origins=(entry,)).get("/api/tags", headers={"Origin": origin}).status_code == status


def test_every_origin_can_be_let_in(tmp_path: Path) -> None:
    """Ollama's row 161."""
    http = client(tmp_path, origins=("*",))
    answers = [http.get("/api/tags", headers={"Origin": EVIL}), http.options("/api/tags", headers={"Origin": EVIL})]
    assert [answer.status_code for answer in answers] == [200, 204]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "vary" not in answer.headers


@pytest.mark.parametrize("entry", ["example.com", "localhost:3000"])
def test_an_origin_without_a_scheme_stops_the_server(tmp_path: Path, entry: str) -> None:
    """Section 6 of Ollama's sheet."""
    with pytest.raises(BadConfig, match=entry):
        client(tmp_path, origins=(entry,))


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [("localhost", "/api/chat", 204), ("127.0.0.1", "/api/chat", 405), ("127.0.0.1", "/nope", 404), ("", "/nope", 204)],
)
def test_options_without_an_origin(local: TestClient, host: str, path: str, status: int) -> None:
    """Section 6 of Ollama's sheet: a quirk of its Host check."""
    assert local.options(path, headers={"Host": host}).status_code == status


def test_a_form_of_a_foreign_page_is_refused(local: TestClient) -> None:
    """NET-09: a browser need not ask first for these."""
    content = b'{"model":"evil/x"}='
    for headers in ({"Origin": EVIL}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "Cross-Site"}):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            answer = local.post("/api/pull", content=content, headers={**headers, "Content-Type": kind})
            assert _refused(answer)
    assert local.post("/api/copy", content=content, headers={"Content-Type": "text/plain"}).status_code == 400


_GETS = [endpoint.path for endpoint in ENDPOINTS if "GET" in endpoint.methods]


@pytest.mark.parametrize("path", [path.replace("{digest}", "sha256:" + "0" * 64) for path in _GETS])
def test_an_image_of_a_foreign_page_gets_no_data(local: TestClient, path: str) -> None:
    """NET-10: every GET route; only the root, which holds nothing, answers."""
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    answer = local.get(path, headers=headers)
    assert answer.text == "Ollama is running" if path == "/" else _refused(answer)


def test_a_link_on_a_foreign_page_may_be_followed(local: TestClient) -> None:
    """NET-10: what a person opens is shown to the person, not to the page."""
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert local.get("/api/tags", headers=headers).status_code == 200
    assert _refused(local.get("/api/tags", headers=headers | {"Sec-Fetch-Dest": "iframe"}))
    assert _refused(local.post("/api/copy", headers=headers))


def test_a_websocket_is_refused(port: int) -> None:
    """NET-13."""
    head = b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    answer = said(
        port, head + b"Sec-WebSocket-Key: YQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: " + EVIL.encode() + b"\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 403 ")


_POST = b"POST /api/copy HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        _POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        _POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        _POST + b"Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        _POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        *(_POST + b"Content-Length: " + length + b"\r\n\r\n{}" for length in (b"-1", b"+2", b"2,2", b"0x2")),
        b"GET /api/tags HTTP/1.1\nHost: localhost\n\n",
        b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
        b"GET /api/tags HTTP/1.1\r\nHost: local\rhost\r\n\r\n",
    ],
)
def test_a_request_of_two_readings_is_refused_and_closed(port: int, request_: bytes) -> None:
    """NET-14."""
    answer = said(port, request_)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer


def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    """NET-20."""
    answer = said(port, b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
    assert answer.count(b'{"version"') == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", b"431"),
        (b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 9000 + b"\r\n\r\n", b"431"),
        (b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 10 * 2**20 + b"\r\n\r\n", b"431"),
        (b"GET /api/tags?" + b"y" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"414"),
        (b"GET /" + b"y" * 2**20 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"4"),
    ],
)
def test_a_flood_of_headers_is_refused(port: int, request_: bytes, status: bytes) -> None:
    """NET-16. What is far too long may be cut off before its answer is read."""
    answer = said(port, request_)
    assert answer.startswith(b"HTTP/1.1 " + status) or (answer == b"" and len(request_) > 10**6)
    assert said(port, b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/api/tags", 405),
        ("GET", "/api/nope", 404),
        ("GET", "/v1/nope", 404),
        ("GET", "//api/tags", 301),
        ("GET", "/api/../health", 301),
        ("GET", "/api/tags/", 301),
        ("GET", "/API/tags", 404),
        ("GET", "/%61pi/tags", 200),
        ("GET", "/%2561pi/tags", 404),
        ("GET", "/api%2ftags", 200),
        ("GET", "//evil.example/..", 301),
        ("GET", "/%ff%00", 404),
    ],
)
def test_a_path_is_matched_after_one_decoding(port: int, method: str, path: str, status: int) -> None:
    """NET-18."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request(method, path)
    answer = connection.getresponse()
    assert answer.status == status
    assert status != 405 or answer.headers["allow"] == "HEAD, GET"
    location = answer.headers["location"] or "/"
    assert location.startswith("/")
    assert not location.startswith("//")
    connection.close()


def test_no_answer_names_what_it_is_made_with(port: int) -> None:
    """NET-21."""
    for request in (
        b"GET / HTTP/1.1\r\nHost: a.local\r\n\r\n",
        b"GET /nope HTTP/1.1\r\nHost: a.local\r\n\r\n",
        b"x\r\n\r\n",
    ):
        answer = said(port, request).lower()
        assert answer.startswith(b"http/1.1 ")
        assert b"server:" not in answer
        assert b"uvicorn" not in answer
        assert b"starlette" not in answer
