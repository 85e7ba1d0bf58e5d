"""The way out: proxies, certificates, connections that are kept, and what breaks them."""

import gc
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from a3s_power.core.errors import BadConfig, Cancelled, Unreachable
from a3s_power.registry.cancel import Cancel
from a3s_power.registry.exchange import Exchange
from a3s_power.registry.outbound import Outbound
from a3s_power.registry.throttle import Throttle
from a3s_power.registry.urls import Url
from tests.internet import Authority, Internet
from tests.pulling import HURRY
from tests.registries import Asked, Registry, Reply


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


def test_a_kept_connection_has_patience_again() -> None:
    """A stall among the bytes of a part is noticed sooner than the silence before an answer."""
    patience = 0.05
    with Registry().running() as front:

        def late(_: Asked, reply: Reply) -> Reply:
            front.stopping.wait(4 * patience)
            return reply

        front.files["/x"] = b"content"
        internet, url = Internet(), Url.parse(f"http://{front.host}/x")
        with exchange(internet) as talk:
            talk.add_home(url)
            answer = talk.ask("GET", url, Cancel())
            answer.start_bulk(patience)
            while answer.readinto(memoryview(bytearray(100))):
                pass
            front.twist = late
            assert talk.ask("GET", url, Cancel()).read(100) == b"content"
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


@contextmanager
def resetting() -> Iterator[Callable[[socket.socket, str, int], None]]:
    """A way to dial whoever hangs up at once, and hard; it ends when that was heard."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def dial(bare: socket.socket, _: str, __: int) -> None:
            bare.connect(server.getsockname())
            accepted, _address = server.accept()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            accepted.close()
            assert select.select([bare], [], [], 20)[0]

        yield dial


@pytest.mark.parametrize("proxy", ["", "proxy.test:1"], ids=["directly", "through a proxy"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_is_reset_before_it_is_used_leaves_no_socket(scheme: str, proxy: str) -> None:
    internet, environ = Internet(registry=1, proxy=1), {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy}
    url = Url.parse(f"{scheme}://registry.test/x")
    with resetting() as dial:
        outbound = Outbound(environ, patience=HURRY, resolve=internet.resolve, dial=dial)
        with Exchange(outbound, "test") as talk:
            talk.add_home(url)
            before = open_sockets()
            with pytest.raises(Unreachable, match=r"reset by peer|EOF|broken pipe"):
                talk.ask("GET", url, Cancel())
            assert open_sockets() <= before


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 407 No\r\n\r\n", b"what?\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nno TLS"]
)
def test_a_proxy_that_makes_no_tunnel_leaves_no_socket(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            accepted, _ = server.accept()
            with accepted:
                accepted.recv(1000)
                accepted.sendall(answer)
                accepted.shutdown(socket.SHUT_WR)
                accepted.recv(1000)

        internet = Internet(proxy=server.getsockname()[1])
        with exchange(internet, {"HTTPS_PROXY": "proxy.test:1"}) as talk:
            thread = threading.Thread(target=serve)
            before = open_sockets()
            thread.start()
            with pytest.raises(Unreachable, match=r"proxyconnect tcp|tls"):
                talk.ask("GET", Url.parse("https://registry.test/x"), Cancel())
            thread.join()
            assert open_sockets() <= before


@pytest.mark.parametrize("proxy", ["", "proxy.test:1"], ids=["in the handshake", "in the tunnel"])
def test_a_question_given_up_before_the_connection_stands_leaves_no_socket(proxy: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        cancel, port = Cancel(), server.getsockname()[1]

        def give_up() -> None:
            accepted, _ = server.accept()
            with accepted:
                # Something was said: whoever asks waits for the answer now.
                assert accepted.recv(1000)
                cancel.ask()
                while accepted.recv(1000):
                    pass

        with exchange(Internet(registry=port, proxy=port), {"HTTPS_PROXY": proxy}) as talk:
            thread = threading.Thread(target=give_up)
            before = open_sockets()
            thread.start()
            with pytest.raises(Cancelled):
                talk.ask("GET", Url.parse("https://registry.test/x"), cancel)
            thread.join()
            assert open_sockets() <= before


def test_a_question_given_up_while_its_host_is_looked_up_dials_nobody() -> None:
    cancel, internet = Cancel(), Internet(registry=1)

    def resolve(host: str, port: int) -> list[str]:
        cancel.ask()
        return internet.resolve(host, port)

    outbound = Outbound({}, patience=HURRY, resolve=resolve, dial=internet.dial)
    with Exchange(outbound, "test") as talk, pytest.raises(Cancelled):
        talk.ask("GET", Url.parse("https://registry.test/x"), cancel)
    assert internet.dialled == []


def open_sockets() -> int:
    """Sockets of this process that nobody has closed."""
    every = [each for each in gc.get_objects() if isinstance(each, socket.socket)]
    return sum(each.fileno() >= 0 for each in every)


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


def test_a_throttle_lets_so_much_through_in_a_second() -> None:
    throttle, cancel = Throttle(1_000_000), Cancel()
    assert throttle.step == 50_000
    assert Throttle().step == 0
    cancel.ask()
    Throttle().take(10**12, cancel)
    with pytest.raises(Cancelled):
        throttle.take(10**12, cancel)


def test_transfers_step_back_while_somebody_is_answered() -> None:
    answering, cancel = threading.Event(), Cancel()
    throttle = Throttle(courtesy=1, busy=answering.is_set)
    throttle.take(10**12, cancel)
    answering.set()
    cancel.ask()
    with pytest.raises(Cancelled):
        throttle.take(10**12, cancel)


def test_courtesy_does_not_widen_a_limit() -> None:
    throttle, cancel = Throttle(1, courtesy=10**12, busy=lambda: True), Cancel()
    cancel.ask()
    with pytest.raises(Cancelled):
        throttle.take(10**6, cancel)
