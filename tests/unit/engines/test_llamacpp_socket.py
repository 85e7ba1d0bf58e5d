"""Where the engine listens: in a folder that only its user may enter, or behind a key."""

import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from a3s_power.core.errors import EngineFailed, EngineRefused
from a3s_power.engines.llamacpp_socket import EngineSocket, Listener, _request, listener


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_socket_lies_in_a_new_closed_folder_each_time(temporary: Path) -> None:
    first, second = Path(listener().path), Path(listener().path)
    assert first.parent != second.parent
    assert (first.parent.parent, first.suffix, first.exists()) == (temporary, ".sock", False)
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700


def test_a_path_too_long_for_a_socket_gives_a_key(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = temporary / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    where = listener()
    assert (where.path, len(where.key)) == ("", 64)
    assert where.key != listener().key
    assert list(deep.iterdir()) == []


def test_where_there_are_no_such_sockets_a_key_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    assert listener().key


def test_the_key_is_shown_with_every_question() -> None:
    assert b"\r\nAuthorization: Bearer secret\r\n" in _request("/props", b"", "secret")
    assert b"Authorization" not in _request("/props", b"", "")


def test_a_port_is_taken_from_the_address_the_engine_tells() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        asked = EngineSocket(Listener(key="k"), f"http://127.0.0.1:{port}")
        with asked._connected() as connection:
            assert connection.getpeername()[1] == port


def test_an_engine_that_does_not_listen_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"llama\.cpp cannot be asked"):
        EngineSocket(Listener(path=str(tmp_path / "e.sock")), "").ask("/props")


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_CHUNKS = (b'data: {"a":"\\r\\n"}\n\n', b"data: 2", b"\n\n", b": comment\n", b"data: 3\n\n", b"")
_STREAM = _HEAD + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in _CHUNKS)
_EVENTS = [b'{"a":"\\r\\n"}', b"2", b"3"]


@contextmanager
def _engine(folder: Path, *answer: bytes, stays: bool = False) -> Iterator[tuple[EngineSocket, threading.Event]]:
    """An engine that says this and hangs up; with `stays` it waits until the other side does, which is then told."""
    path, left = folder / "e.sock", threading.Event()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                # One that hangs up before it has read all that was said is a reset, not an end.
                with suppress(ConnectionError):
                    for piece in answer:
                        connection.sendall(piece)
                    while stays and connection.recv(1 << 16):
                        pass
                left.set()

        thread = threading.Thread(target=serve)
        thread.start()
        yield EngineSocket(Listener(path=str(path)), ""), left
        thread.join(30)


def _streamed(engine: EngineSocket, until: Callable[[bytes], bool] = lambda _: False) -> list[bytes]:
    taken: list[bytes] = []

    def take(event: bytes) -> bool:
        taken.append(event)
        return until(event)

    engine.stream("/completion", b"{}", take, lambda: False)
    return taken


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_stream_s_events_are_the_same_however_it_arrives(tmp_path: Path, size: int) -> None:
    pieces = [_STREAM[at : at + size] for at in range(0, len(_STREAM), size)]
    with _engine(tmp_path, *pieces) as (engine, _):
        assert _streamed(engine) == _EVENTS


def test_a_stream_that_nobody_wants_any_more_is_hung_up(tmp_path: Path) -> None:
    with _engine(tmp_path, _STREAM, stays=True) as (engine, left):
        assert _streamed(engine, lambda _: True) == _EVENTS[:1]
        assert left.wait(30)


@pytest.mark.parametrize("said", [b"", _HEAD, _HEAD + b"9\r\ndata: 1\n\n\r\n"])
def test_a_stream_is_left_while_the_engine_says_nothing(tmp_path: Path, said: bytes) -> None:
    cancelled = threading.Event()
    with _engine(tmp_path, said, stays=True) as (engine, left):
        asking = threading.Thread(target=engine.stream, args=("/", b"{}", lambda _: False, cancelled.is_set))
        asking.start()
        cancelled.set()
        asking.join(30)
        assert left.wait(30)


def test_an_engine_s_refusal_is_its_own_words(tmp_path: Path) -> None:
    body = b'{"error":{"code":400,"message":"no","type":"invalid_request_error"}}'
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(body)
    with _engine(tmp_path, head, body) as (engine, _), pytest.raises(EngineRefused, match='"message":"no"'):
        _streamed(engine)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 500 Oh\r\n\r\n", _HEAD, _HEAD + b"9\r\ndata", _STREAM[:-5]])
def test_an_engine_that_hangs_up_is_an_error(tmp_path: Path, said: bytes) -> None:
    with _engine(tmp_path, said) as (engine, _), pytest.raises(EngineFailed):
        _streamed(engine)


def test_the_end_of_a_stream_is_no_event(tmp_path: Path) -> None:
    done = b"data: [DONE]\n\n"
    said = _HEAD + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (b"data: 1\n\n", done, b""))
    with _engine(tmp_path, said) as (engine, _):
        assert _streamed(engine) == [b"1"]


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False)])
def test_an_engine_says_when_it_is_ready(tmp_path: Path, status: int, ready: bool) -> None:
    with _engine(tmp_path, b"HTTP/1.1 %d X\r\n\r\n{}" % status) as (engine, _):
        assert engine.ready() is ready
    assert not EngineSocket(Listener(path=str(tmp_path / "none.sock")), "").ready()


def test_a_whole_answer_is_handed_on_whatever_it_says(tmp_path: Path) -> None:
    with _engine(tmp_path, b'HTTP/1.1 500 X\r\n\r\n{"error":{}}') as (engine, _):
        assert engine.answer("/v1/embeddings", b"{}") == b'{"error":{}}'
