"""The table of commands: what each imports, what is said of one that does not exist, and how a run ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from a3s_power import __version__
from a3s_power.cli.main import COMMANDS, _edits
from tests.scripted import Answer, Shell, scripted

_HEAVY = {
    "prompt_toolkit",
    "anyio",
    "asyncio",
    "httptools",
    "httpx2",
    "jinja2",
    "starlette",
    "uvicorn",
    "uvloop",
    "xllamacpp",
}
_LEAN = {"concurrent.futures", "logging", "subprocess", "tarfile", "tomllib"}
_CALLS = {
    "--version": {"click", "msgspec", "http.client", "json", "logging", "tomllib"},
    "--help": {"msgspec", "http.client", "json", "logging", "tomllib", "subprocess"},
    "list": {"logging", "tomllib", "subprocess"},
    "ps": {"logging", "tomllib", "subprocess"},
    "show power-tiny": {"logging", "tomllib", "subprocess"},
    "run power-tiny hi": {"logging", "tomllib"},
    "cp a b": {"logging", "tomllib", "subprocess"},
    "pull m": _LEAN,
    "push m": _LEAN,
    "create m": _LEAN,
    "export m f": _LEAN,
    "import f": _LEAN,
    "load m": {"tomllib", "logging"},
    "tokenize m a": {"tomllib", "logging"},
    "render m a": {"tomllib", "logging"},
    "bench m --no-bare --prompt 2 --clients 1 --rounds 1": {"asyncio", "tomllib", "logging"},
    "config": {"http.client", "subprocess"},
    "df": {"http.client", "subprocess", "tarfile"},
    "prune --dry-run": {"http.client", "subprocess", "tarfile"},
    "update": {"http.client", "msgspec", "subprocess", "logging"},
    "whoami": {"http.client", "subprocess", "logging"},
    "completion fish": {"http.client", "logging"},
    "version": {"subprocess", "tomllib"},
    "stop m": {"logging", "tomllib", "subprocess"},
    "rm m": {"logging", "tomllib", "subprocess"},
    "help": {"http.client", "subprocess", "logging"},
    "doctor": {"tarfile"},
    "service install --print": {"http.client", "logging"},
    "logs": {"logging"},
    "engine list": {"http.client", "subprocess", "tarfile"},
    "signin": {"http.client", "subprocess", "logging"},
    "signout": {"http.client", "subprocess", "logging"},
    "outdated m": {"subprocess", "tarfile"},
    "search m": {"subprocess", "tarfile"},
    "tags m": {"subprocess", "tarfile"},
}


@pytest.mark.parametrize("line", _CALLS)
def test_a_command_imports_only_what_it_needs(line: str, tmp_path: Path) -> None:
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: sys.stderr.write('MODULES ' + ' '.join(sys.modules)))\n"
        f"sys.argv = ['a3s-power', *{line.split()!r}]\n"
        "from a3s_power.__main__ import main\n"
        "main()\n"
    )
    answers = {"GET /api/tags": Answer({"models": []}), "GET /api/ps": Answer({"models": []})}
    answers |= {"POST /api/show": Answer({}), "POST /api/copy": Answer()}
    answers |= {"POST /api/generate": Answer(lines=({"response": "x", "done": True},))}
    answers |= {f"POST /api/{word}": Answer(lines=({"status": "success"},)) for word in ("pull", "push", "create")}
    answers |= {"DELETE /api/delete": Answer(), "GET /health": Answer({"version": "1"})}
    answers |= {"POST /api/tokenize": Answer({"tokens": [1]})}
    answers |= {"POST /api/chat": Answer({"_debug_info": {"rendered_template": "x"}})}
    answers |= {"GET /api/export?model=m": Answer(b"x"), "POST /api/import": Answer({"model": "m"})}
    (tmp_path / "Modelfile").write_text("FROM m")
    (tmp_path / "f").write_bytes(bytes(257) + b"ustar")
    with scripted(answers) as server:
        host = "127.0.0.1:1" if line == "--version" else server.address
        world = {"A3S_POWER_HOME": str(tmp_path), "OLLAMA_HOST": host}
        command = [sys.executable, "-c", code]
        # Offline, so that what would ask elsewhere fails: what it imported until then is what counts.
        world["A3S_POWER_OFFLINE"] = "1"
        run = subprocess.run(command, env=world, cwd=tmp_path, capture_output=True, check=False, input=b"")
        assert b"Traceback" not in run.stderr
    imported = set(run.stderr.decode().partition("MODULES ")[2].split())
    assert imported & (_HEAVY | _CALLS[line]) == set()


def test_no_command_is_left_out_of_that() -> None:
    assert {line.split()[0] for line in _CALLS} - {"--version", "--help"} == {entry.name for entry in COMMANDS} - {
        "serve"
    }


def test_every_command_has_a_page(shell: Shell) -> None:
    for entry in COMMANDS:
        ran = shell("help", entry.name)
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.startswith(f"{entry.short}\n\nUsage:\n  a3s-power {entry.name}")
        assert shell(entry.name, "--help") == ran
        if entry.alias:
            assert shell(entry.alias, "-h") == ran


@pytest.mark.parametrize(("hidden", "shown"), [("login", "signin"), ("logout", "signout")])
def test_a_name_that_no_page_shows_means_the_command(shell: Shell, hidden: str, shown: str) -> None:
    assert shell(hidden, "--help") == shell(shown, "--help")
    assert shell(hidden) == shell(shown)
    assert hidden not in shell("--help").out


@pytest.mark.parametrize(
    ("one", "other", "edits"), [("run", "run", 0), ("rn", "run", 1), ("", "run", 3), ("nur", "run", 2), ("cp", "ps", 2)]
)
def test_edits_are_counted(one: str, other: str, edits: int) -> None:
    assert _edits(one, other) == edits


def test_the_version_is_told_with_the_servers(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    with scripted({"GET /health": Answer({"version": __version__})}) as server:
        assert shell("--version", "--verbose", server=server).out == f"a3s-power version is {__version__}\n"
    with scripted({"GET /api/version": Answer({"version": "0.9"})}) as server:
        ran = shell("--version", "--verbose", server=server)
    assert ran.out == f"a3s-power version is 0.9\nWarning: client version is {__version__}\n"


def test_without_a_server_the_version_is_a_warning(tmp_path: Path) -> None:
    world = {"A3S_POWER_HOME": str(tmp_path), "OLLAMA_HOST": "127.0.0.1:1"}
    command = [sys.executable, "-m", "a3s_power", "-v"]
    run = subprocess.run(command, env=world, capture_output=True, check=True, text=True)
    assert run.stderr == ""
    assert run.stdout == (
        f"Warning: could not connect to a running A3S Power instance\nWarning: client version is {__version__}\n"
    )


@pytest.mark.parametrize("flag", ["-v", "--version"])
def test_a_bad_file_of_settings_stops_even_the_version(tmp_path: Path, flag: str) -> None:
    (tmp_path / "config.toml").write_text("bogus = 1")
    command = [sys.executable, "-m", "a3s_power", flag]
    run = subprocess.run(command, env={"A3S_POWER_HOME": str(tmp_path)}, capture_output=True, check=False, text=True)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith(f"Error: {tmp_path}/config.toml:1: unknown setting `bogus`")


def test_the_address_in_the_file_counts_for_commands(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OLLAMA_HOST")
    (tmp_path / "home").mkdir()
    with scripted({"GET /api/tags": Answer({"models": []})}) as server:
        host, _, port = server.address.partition(":")
        (tmp_path / "home/config.toml").write_text(f"host = '{host}'\nport = {port}\napi_key = 'k'")
        assert shell("list").status == 0
    assert server.asked[0].headers["Authorization"] == "Bearer k"


@pytest.mark.parametrize("count", [1, 5000])
def test_a_reader_that_leaves_ends_the_command_quietly(tmp_path: Path, count: int) -> None:
    model = {"name": "m", "digest": "d" * 64, "size": 1, "modified_at": "2026-01-01T00:00:00Z"}
    command = f"{sys.executable} -m a3s_power list | true; echo ${{PIPESTATUS[0]}}"
    with scripted({"GET /api/tags": Answer({"models": [model] * count})}) as server:
        world = {"A3S_POWER_HOME": str(tmp_path), "OLLAMA_HOST": server.address, "PATH": "/usr/bin:/bin"}
        run = subprocess.run(["bash", "-c", command], env=world, capture_output=True, check=True, text=True)
    assert (run.stdout, run.stderr) == ("1\n", "")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_text_that_cannot_be_encoded_is_no_failure(tmp_path: Path, encoding: str) -> None:
    lines = Answer(b'{"response":"a\\ud800\\u4f60b","done":true}\n')
    with scripted({"POST /api/show": Answer({}), "POST /api/generate": lines}) as server:
        world = {"A3S_POWER_HOME": str(tmp_path), "OLLAMA_HOST": server.address, "PYTHONIOENCODING": encoding}
        command = [sys.executable, "-m", "a3s_power", "run", "m", "hi"]
        run = subprocess.run(command, env=world, capture_output=True, check=True, input=b"")
    assert run.stdout.decode(encoding) == {"utf-8": "a?\u4f60b\n\n", "ascii": "a??b\n\n"}[encoding]


def test_closed_streams_are_no_failure(tmp_path: Path) -> None:
    answers = {"POST /api/show": Answer({}), "POST /api/generate": Answer(lines=({"response": "x", "done": True},))}
    with scripted(answers) as server:
        world = {"A3S_POWER_HOME": str(tmp_path), "OLLAMA_HOST": server.address}
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            command = f"{sys.executable} -m a3s_power run m hi {closed}"
            assert subprocess.run(["bash", "-c", command], env=world, capture_output=True, check=False).returncode == 0
    assert len(server.bodies("/api/generate")) == 4
