"""The command's side of the talk: what it sends, what becomes of each answer, and of none."""

import io
import socket
import threading

import pytest

from a3s_power.cli.client import LINE_BYTES, Client, Refused, Unreachable, connect, pieces_of
from a3s_power.core.addresses import Address, read_address
from a3s_power.core.errors import BadConfig
from tests.scripted import Answer, Scripted, scripted


def _client(server: Scripted, prefix: str = "", key: str = "") -> Client:
    return Client(read_address(f"http://{server.address}{prefix}").over(Address()), key)


def test_a_question_is_json_and_so_is_the_answer() -> None:
    with scripted({"POST /api/show": Answer({"a": 1.5})}) as server:
        assert _client(server).ask("POST", "/api/show", {"model": "é"}) == {"a": 1.5}
    (asked,) = server.asked
    assert asked.body == {"model": "é"}
    assert asked.headers["Content-Type"] == asked.headers["Accept"] == "application/json"
    assert asked.headers["User-Agent"].startswith("a3s-power/")
    assert "Authorization" not in asked.headers


@pytest.mark.parametrize("answer", [Answer(), Answer(b"null"), Answer({})])
def test_an_answer_of_nothing_is_an_empty_one(answer: Answer) -> None:
    with scripted({"POST /api/copy": answer}) as server:
        assert _client(server).ask("POST", "/api/copy", {}) == {}


def test_an_answer_that_is_no_object_is_refused() -> None:
    with scripted({"GET /api/ps": Answer([1])}) as server, pytest.raises(Refused, match="is not a JSON object"):
        _client(server).models("/api/ps")


def test_a_key_is_sent_and_a_prefix_stands_before_each_path() -> None:
    with scripted({"GET /ollama/api/tags": Answer({})}) as server:
        _client(server, "/ollama", "secret").ask("GET", "/api/tags")
    assert server.asked[0].headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer({"error": "model 'x' not found"}, 404), "model 'x' not found"),
        (Answer(b"502 from a proxy\n", 502), "502 from a proxy"),
        (Answer({"error": "no key"}, 401), "no key"),
        (Answer({}, 500), "something went wrong, please see the a3s-power server logs for details"),
        (Answer(None, 500), "something went wrong, please see the a3s-power server logs for details"),
        (Answer(b"<html>", 200), "the server gave an answer that is not JSON: "),
    ],
)
def test_a_refused_question_says_what_the_server_says(answer: Answer, text: str) -> None:
    with scripted({"GET /x": answer}) as server, pytest.raises(Refused) as failed:
        _client(server).ask("GET", "/x")
    assert str(failed.value).startswith(text)
    assert failed.value.code == answer.status


def test_lines_come_one_by_one() -> None:
    with scripted({"POST /s": Answer(lines=({"a": 1}, {"b": "ü"}))}) as server:
        assert list(_client(server).stream("/s", {})) == [{"a": 1}, {"b": "ü"}]
    assert server.asked[0].headers["Accept"] == "application/x-ndjson"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer({"error": "model 'x' not found"}, 404), "404 Not Found: model 'x' not found"),
        (Answer({}, 503), "503 Service Unavailable"),
        (Answer(lines=({"a": 1}, {"error": "boom"})), "boom"),
        (Answer(b"nonsense\n"), "the server sent a line that is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (Answer(b"[1]\n"), "the server sent a line that is not a JSON object"),
        (Answer(b'"' + b"x" * LINE_BYTES + b'"\n'), "the server sent a line that is too long"),
    ],
)
def test_a_refused_stream_says_where_it_was_refused(answer: Answer, text: str) -> None:
    with scripted({"POST /s": answer}) as server, pytest.raises(Refused) as failed:
        list(_client(server).stream("/s", {}))
    assert str(failed.value) == text


def test_a_line_may_be_of_eight_million_bytes() -> None:
    line = b'{"a":"' + b"x" * (LINE_BYTES - 9) + b'"}\n'
    assert len(line) == LINE_BYTES
    with scripted({"POST /s": Answer(line)}) as server:
        (event,) = _client(server).stream("/s", {})
    assert len(event["a"]) == LINE_BYTES - 9


def test_a_blob_is_sent_as_it_is() -> None:
    content = bytes(range(256)) * 9000
    with scripted({"POST /api/blobs/sha256:x": Answer(status=201)}) as server:
        upload = _client(server, key="k").upload("/api/blobs/sha256:x", pieces_of(io.BytesIO(content)), len(content))
        assert list(upload)[-1] == len(content)
    assert server.asked[0].body == content
    assert server.asked[0].headers["Authorization"] == "Bearer k"


def test_a_refused_blob_says_why() -> None:
    with (
        scripted({"POST /api/blobs/sha256:x": Answer({"error": "digest mismatch"}, 400)}) as server,
        pytest.raises(Refused, match="digest mismatch"),
    ):
        list(_client(server).upload("/api/blobs/sha256:x", [b"x"], 1))


def test_what_the_server_says_beside_an_error_is_kept() -> None:
    answers = {
        "GET /x": Answer({"error": "no", "a": 1}, 401),
        "POST /s": Answer(lines=({"status": "x"}, {"error": "no", "a": 1})),
        "POST /t": Answer({"error": "no", "a": 1}, 500),
    }
    with scripted(answers) as server:
        client = _client(server)
        for ask in (
            lambda: client.ask("GET", "/x"),
            lambda: list(client.stream("/s", {})),
            lambda: list(client.stream("/t", {})),
        ):
            with pytest.raises(Refused) as failed:
                ask()
            assert failed.value.fields == {"error": "no", "a": 1}


def test_a_file_comes_in_pieces() -> None:
    content = bytes(range(256)) * 9000
    with scripted({"GET /f": Answer(content)}) as server, _client(server).download("/f") as (size, pieces):
        assert (size, b"".join(pieces)) == (len(content), content)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer({"error": "model 'x' not found"}, 404), "model 'x' not found"),
        (Answer(b"404 page not found", 404), "404 page not found"),
        (Answer(None, 204), "the server gave an answer that is no file: 204"),
    ],
)
def test_a_file_that_is_not_given_is_told(answer: Answer, text: str) -> None:
    with (
        scripted({"GET /f": answer}) as server,
        pytest.raises(Refused, match=text),
        _client(server).download("/f"),
    ):
        pass


def test_a_file_that_breaks_off_is_told() -> None:
    def talk() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        other = threading.Thread(target=talk)
        other.start()
        client = Client(Address(port=listener.getsockname()[1]))
        with pytest.raises(Unreachable, match="ended the connection"), client.download("/f") as (_, pieces):
            list(pieces)
        other.join()


@pytest.mark.parametrize(("status", "there"), [(200, True), (404, False)])
def test_a_blob_is_asked_for(status: int, *, there: bool) -> None:
    with scripted({"HEAD /api/blobs/sha256:x": Answer(status=status)}) as server:
        assert _client(server).has_blob("sha256:x") is there


def test_where_nobody_listens_the_way_out_is_told() -> None:
    client = Client(Address(port=1))
    assert not client.reachable()
    for ask in (client.require, lambda: client.ask("GET", "/"), lambda: list(client.stream("/", {}))):
        with pytest.raises(Unreachable, match="could not connect to a3s-power, run 'a3s-power serve' to start it"):
            ask()


def test_a_name_that_nobody_knows_is_told() -> None:
    with pytest.raises(Unreachable, match="no such host"):
        Client(Address(host="no.such.host.invalid", port=1)).reachable()


@pytest.mark.parametrize(
    ("said", "text"), [(b"", "ended the connection"), (b"SSH-2.0-x\r\n\r\n", "gave an answer that is not HTTP: Bad")]
)
def test_what_is_no_http_is_told(said: bytes, text: str) -> None:
    def talk() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        other = threading.Thread(target=talk)
        other.start()
        with pytest.raises(Unreachable, match=text):
            Client(Address(port=listener.getsockname()[1])).ask("GET", "/x")
        other.join()


@pytest.mark.parametrize(
    ("answers", "version"),
    [
        ({"GET /health": Answer({"version": "1.2.3"}), "GET /api/version": Answer({"version": "0.9"})}, "1.2.3"),
        ({"GET /api/version": Answer({"version": "0.9"})}, "0.9"),
        ({"GET /health": Answer(b"ok"), "GET /api/version": Answer([])}, ""),
    ],
)
def test_the_version_is_our_own_where_the_server_is_ours(answers: dict[str, Answer], version: str) -> None:
    with scripted(answers) as server:
        assert _client(server).version() == version


def test_the_server_is_the_one_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "0.0.0.0:99999")
    assert connect().address == Address()
    assert capsys.readouterr().err == "Warning: OLLAMA_HOST: invalid port '99999', using 11434\n"


def test_numbers_may_stay_as_they_were_written() -> None:
    with scripted({"GET /x": Answer(b'{"x":[1e-7,0.10]}')}) as server:
        assert _client(server).ask("GET", "/x", read_float=str) == {"x": ["1e-7", "0.10"]}


def test_a_server_elsewhere_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with scripted({"GET http://elsewhere.test:11434/p/api/tags": Answer({"models": []})}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:pass@{proxy.address}")
        client = Client(Address(host="elsewhere.test", prefix="/p"))
        assert client.ask("GET", "/api/tags") == {"models": []}
        assert proxy.asked[0].headers["Proxy-Authorization"] == "Basic bWU6cGFzcw=="
        monkeypatch.setenv("NO_PROXY", ".test")
        with pytest.raises(Unreachable):
            Client(Address(host="elsewhere.test")).ask("GET", "/api/tags", patience=1.0)
        assert len(proxy.asked) == 1


def test_this_machine_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with scripted({"GET /api/tags": Answer({"models": []})}) as server:
        host, _, port = server.address.partition(":")
        assert Client(Address(host=host, port=int(port))).ask("GET", "/api/tags") == {"models": []}


def test_a_proxy_that_cannot_be_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://h:1")
    with pytest.raises(BadConfig, match="HTTPS_PROXY: proxies of kind 'socks5' are not supported"):
        Client(Address(scheme="https", host="elsewhere.test", port=443))
