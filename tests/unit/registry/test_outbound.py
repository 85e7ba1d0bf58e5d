"""The way out: proxies, certificates, connections that are kept, and what breaks them."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from a3s_power.core.errors import BadConfig, Cancelled, Unreachable
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.exchange import Exchange
from a3s_power.registry.gate import Gate
from a3s_power.registry.outbound import Outbound
from a3s_power.registry.urls import Url
from tests.internet import Authority, Internet
from tests.pulling import HURRY
from tests.registries import Registry, Reply


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def exchange(internet: Internet, environ: dict[str, str] | None = None) -> Exchange:
    outbound = Outbound(environ or {}, patience=HURRY, resolve=internet.resolve, dial=internet.dial)
    return Exchange(outbound, "test")


class _Tunnel(BaseHTTPRequestHandler):
    """A proxy that answers CONNECT, and passes on what comes."""

    seen: ClassVar[list[tuple[str, str]]]
    target: ClassVar[int]
    status: ClassVar[int]

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 -- the base class calls it so
        """Say nothing."""

    def do_CONNECT(self) -> None:
        import socket  # noqa: PLC0415 -- only here

        self.seen.append((self.path, self.headers.get("Proxy-Authorization", "")))
        self.send_response(self.status)
        self.end_headers()
        if self.status != 200:
            return
        with socket.create_connection(("127.0.0.1", self.target)) as behind, ExitStack() as stack:
            back = threading.Thread(target=_pass_on, args=(behind, self.connection))
            back.start()
            stack.callback(back.join)
            _pass_on(self.connection, behind)
        self.close_connection = True


def _pass_on(source: Any, target: Any) -> None:
    import socket  # noqa: PLC0415 -- only here

    try:
        while content := source.recv(65536):
            target.sendall(content)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@contextmanager
def tunnel(target: int, status: int = 200) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    seen: list[tuple[str, str]] = []
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Tunnel", (_Tunnel,), {"seen": seen, "target": target, "status": status})
    )
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1], seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_proxy_connects_us_and_learns_the_name_only(authority: Authority) -> None:
    with Registry().running(authority.context("registry.test")) as front, tunnel(front.port) as (port, seen):
        front.files["/x"] = b"content"
        internet = Internet(proxy=port)
        environ = {"HTTPS_PROXY": "http://me:pass@proxy.test:3128", "SSL_CERT_FILE": str(authority.path)}
        with exchange(internet, environ) as talk:
            answer = talk.ask("GET", Url.parse("https://registry.test/x"), Cancel())
            assert answer.read(100) == b"content"
        assert seen == [("registry.test:443", "Basic bWU6cGFzcw==")]
        assert internet.asked == ["proxy.test"]
        assert "proxy-authorization" not in front.seen[0].headers


def test_a_proxy_that_refuses_is_told(authority: Authority) -> None:
    with tunnel(1, 407) as (port, _):
        talk = exchange(Internet(proxy=port), {"HTTPS_PROXY": "proxy.test:1"})
        with pytest.raises(Unreachable, match="proxyconnect tcp: 407"):
            talk.ask("GET", Url.parse("https://registry.test/x"), Cancel())


def test_a_proxy_of_a_kind_that_we_do_not_speak_is_told() -> None:
    talk = exchange(Internet(), {"HTTPS_PROXY": "socks5://proxy.test:1"})
    with pytest.raises(BadConfig, match="HTTPS_PROXY: proxies of kind 'socks5' are not supported"):
        talk.ask("GET", Url.parse("https://registry.test/x"), Cancel())


def test_certificates_that_cannot_be_read_are_told() -> None:
    internet = Internet(registry=1)
    talk = exchange(internet, {"SSL_CERT_FILE": "/nowhere/ca.pem"})
    with pytest.raises(Unreachable, match="cannot be read: no such file"):
        talk.ask("GET", Url.parse("https://registry.test/x"), Cancel())
    assert internet.dialled == []


def test_connections_are_used_again(authority: Authority) -> None:
    with Registry().running(authority.context("registry.test")) as front:
        front.files["/x"] = b"content"
        internet = Internet(registry=front.port)
        with exchange(internet, {"SSL_CERT_FILE": str(authority.path)}) as talk:
            for _ in range(5):
                assert talk.ask("GET", Url.parse("https://registry.test/x"), Cancel()).read(100) == b"content"
            talk.ask("HEAD", Url.parse("https://registry.test/x"), Cancel()).close()
            talk.ask("GET", Url.parse("https://registry.test/nothing"), Cancel()).close()
        assert len(internet.dialled) == 1


def test_a_kept_connection_that_was_closed_meanwhile_is_no_failure() -> None:
    with Registry().running() as front:
        front.files["/x"] = b"content"
        internet = Internet()
        url = Url.parse(f"http://{front.host}/x")
        with exchange(internet) as talk:
            talk.add_home(url)
            for _ in range(4):
                assert talk.ask("GET", url, Cancel()).read(100) == b"content"
                for connection in talk._idle:
                    connection.abort()
        assert len(internet.dialled) == 4


def test_a_cancelled_question_ends_while_nobody_answers() -> None:
    with Registry().running() as front:
        asked = threading.Event()

        def silent(*_: object) -> Reply:
            asked.set()
            front.stopping.wait(20)
            return Reply(200)

        def give_up() -> None:
            asked.wait(10)
            cancel.ask()

        front.twist = silent
        url, cancel = Url.parse(f"http://{front.host}/x"), Cancel()
        with exchange(Internet()) as talk:
            talk.add_home(url)
            thread = threading.Thread(target=give_up)
            thread.start()
            with pytest.raises(Cancelled):
                talk.ask("GET", url, cancel)
            thread.join()
        front.stopping.set()


def test_a_question_that_is_cancelled_already_is_not_asked() -> None:
    cancel, internet = Cancel(), Internet()
    cancel.ask()
    with exchange(internet) as talk, pytest.raises(Cancelled):
        talk.ask("GET", Url.parse("https://registry.test/x"), cancel)
    assert internet.asked == []


def test_all_addresses_of_a_host_are_tried() -> None:
    with Registry().running() as front:
        front.files["/x"] = b"content"
        internet = Internet(registry=front.port)
        internet.addresses["registry.test"] = ["93.184.216.9", "93.184.216.1"]
        url = Url.parse("http://registry.test/x")
        with exchange(internet) as talk:
            talk.add_home(url)
            assert talk.ask("GET", url, Cancel()).read(100) == b"content"
        assert internet.dialled == ["93.184.216.9:80", "93.184.216.1:80"]


def test_a_host_that_moved_is_found_again_but_not_inside() -> None:
    with Registry().running() as front:
        front.files["/x"] = b"content"
        internet = Internet(registry=front.port)
        url = Url.parse("http://registry.test/x")
        with exchange(internet) as talk:
            talk.add_home(url)
            assert talk.ask("GET", url, Cancel()).read(100) == b"content"
            talk._idle.pop().close()
            internet.put("moved.test", "93.184.216.77", front.port)
            internet._ports.pop("93.184.216.1")
            internet.addresses["registry.test"] = ["93.184.216.77"]
            with pytest.raises(Unreachable):
                talk.ask("GET", url, Cancel())
            assert talk.ask("GET", url, Cancel()).read(100) == b"content"


def test_a_gate_lets_so_much_through_in_a_second() -> None:
    gate, cancel = Gate(1_000_000), Cancel()
    assert gate.step == 50_000
    assert Gate().step == 0
    cancel.ask()
    Gate().take(10**12, cancel)
    with pytest.raises(Cancelled):
        gate.take(10**12, cancel)
