"""The server as a process: how it starts, what it refuses to start with, and how it ends."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.served import DEADLINE, environment, free_port, served, until
from tests.turns import turn


def _serve(home: Path, *args: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A server that is expected not to start."""
    return subprocess.run(
        [sys.executable, "-m", "a3s_power", "serve", *args],
        env=environment(home, {"OLLAMA_HOST": f"127.0.0.1:{free_port()}"} | settings),
        cwd=home,
        capture_output=True,
        check=False,
        text=True,
        timeout=DEADLINE,
    )


def test_a_port_that_is_taken_is_told_in_gos_words(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        ran = _serve(tmp_path, OLLAMA_HOST=address)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.endswith(f"Error: listen tcp {address}: bind: address already in use\n")


@pytest.mark.parametrize(
    ("host", "complaint"),
    [
        ("192.0.2.1:1234", "listen tcp 192.0.2.1:1234: bind: cannot assign requested address"),
        ("no.such.host.invalid", "listen tcp: lookup no.such.host.invalid: no such host"),
    ],
)
def test_an_address_of_others_is_told(tmp_path: Path, host: str, complaint: str) -> None:
    assert _serve(tmp_path, OLLAMA_HOST=host).stderr.endswith(f"Error: {complaint}\n")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("max_queue = 'x'", ":1: Expected `int`, got `str` - at `max_queue`"),
        ("\nmax_que = 1", ":2: unknown setting `max_que`, did you mean `max_queue`?"),
    ],
)
def test_a_mistake_in_the_settings_keeps_it_from_starting(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "power").mkdir()
    (tmp_path / "power/config.toml").write_text(content)
    ran = _serve(tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == f"Error: {tmp_path}/power/config.toml{complaint}\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_its_models_and_itself_when_told(tmp_path: Path, number: signal.Signals) -> None:
    with served(tmp_path, OLLAMA_CONTEXT_LENGTH="512") as server:
        server.post("/api/generate", {"model": "power-tiny"})
        children = server.children()
        assert len(children) == 1
        server.process.send_signal(number)
        assert server.process.wait(DEADLINE) == 0
        until(lambda: not Path(f"/proc/{children[0]}").exists())
        assert server.log().splitlines()[-1].endswith('msg="server ended"')


def test_an_answer_that_never_ends_does_not_keep_it(tmp_path: Path) -> None:
    with served(tmp_path, OLLAMA_CONTEXT_LENGTH="512") as server:
        body = json.dumps({"model": "power-tiny", "prompt": "Repeat blue forever.", "options": {"temperature": 0}})
        request = urllib.request.Request(f"{server.url}/api/generate", body.encode())
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            assert answer.readline()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(DEADLINE) == 0


def test_it_logs_where_it_listens_and_which_settings_are_not_the_default(tmp_path: Path) -> None:
    settings = {"OLLAMA_MAX_QUEUE": "7", "OLLAMA_CONTEXT_LENGTH": "x"}
    secrets = {"OLLAMA_API_KEY": "hidden", "A3S_POWER_LOGINS": "r.example=me:hidden"}
    with served(tmp_path, **settings, **secrets) as server:
        log = server.log()
        assert f'msg="Listening on 127.0.0.1:{server.port} (version ' in log
    assert 'max_queue="7 (OLLAMA_MAX_QUEUE)"' in log
    assert "level=WARN source=serve.py:" in log
    assert 'msg="setting ignored" name=OLLAMA_CONTEXT_LENGTH' in log
    assert "hidden" not in log
    assert "anybody who reaches" not in log


def test_an_open_address_is_warned_of(tmp_path: Path) -> None:
    with served(tmp_path, "--host", "0.0.0.0") as server:
        assert "level=WARN source=serve.py:" in server.log()
        assert f'can use, change and delete models" address=http://0.0.0.0:{server.port}' in server.log()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has such turns")
def test_it_runs_in_shorter_turns_than_others(tmp_path: Path) -> None:
    if not turn().nanoseconds:
        pytest.skip("this system tells no turns")
    with served(tmp_path) as server:
        assert turn(server.process.pid).nanoseconds < turn().nanoseconds


def test_its_answers_carry_a_date_and_no_name(tmp_path: Path) -> None:
    with served(tmp_path) as server, socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET /api/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = connection.makefile("rb").read().lower()
    assert b"\r\ndate: " in answer
    assert b"\r\nserver: " not in answer


def test_it_reads_its_settings_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "power").mkdir()
    (tmp_path / "power/config.toml").write_text("log_format = 'json'\nmodels = 'mine'\n")
    with served(tmp_path) as server:
        server.post("/api/show", {"model": "power-tiny"})
        lines = [json.loads(line) for line in server.log().splitlines()]
    assert {line["level"] for line in lines} == {"INFO"}
    assert (tmp_path / "mine/manifests").is_dir()
