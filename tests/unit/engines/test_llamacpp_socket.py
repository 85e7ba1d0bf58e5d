"""Where the engine listens: in a folder that only its user may enter, or behind a key."""

import socket
import stat
import tempfile
from pathlib import Path

import pytest

from a3s_power.core.errors import EngineFailed
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
