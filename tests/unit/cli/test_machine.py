"""Commands about this machine and this installation: service, logs, update, accounts, tokens and prompts."""

import json
import os
import sys
from pathlib import Path

import pytest

from a3s_power import __version__
from a3s_power.cli.update import how_installed
from tests.scripted import Answer, Ran, Shell, scripted

_SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$*" in
    *is-active*) echo active ;;
    *is-enabled*) echo enabled ;;
    *enable*--now*) [ -z "$REFUSES" ] || { echo "no bus" >&2; exit 1; } ;;
esac
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a `systemctl` of the test's own writes what it was called with."""
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(_SYSTEMCTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    return tmp_path / "calls"


@pytest.mark.skipif(sys.platform == "darwin", reason="launchd is there")
def test_a_service_is_installed_told_of_and_removed(shell: Shell, calls: Path, tmp_path: Path) -> None:
    unit = tmp_path / ".config/systemd/user/a3s-power.service"
    assert shell("service", "status") == Ran(0, "not installed\n", "")
    assert shell("service", "install") == Ran(0, f"installed {unit}\n", "")
    text = unit.read_text()
    assert f"ExecStart={sys.executable} -m a3s_power serve\n" in text
    assert "NoNewPrivileges=yes\n" in text
    assert text.count(str(tmp_path / "home")) >= 2
    assert shell("service", "install", "--print").out == text
    assert shell("service", "status").out == f"active, enabled ({unit})\n"
    ran = shell("service", "uninstall")
    assert (ran.status, ran.out.startswith(f"removed {unit};"), unit.exists()) == (0, True, False)
    said = calls.read_text().splitlines()
    assert said[:2] == ["--user daemon-reload", "--user enable --now a3s-power"]
    assert said[-1] == "--user disable --now a3s-power"
    assert shell("service", "uninstall").err == f"Error: {unit} is not there: nothing to uninstall\n"


@pytest.mark.skipif(sys.platform == "darwin", reason="launchd is there")
def test_a_manager_that_refuses_is_quoted(shell: Shell, calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUSES", "1")
    assert shell("service", "install") == Ran(1, "", "Error: systemctl --user enable --now a3s-power: no bus\n")
    assert calls.exists()


def test_a_service_needs_a_word_it_knows(shell: Shell) -> None:
    assert shell("service", "reinstall").err.startswith('Error: unknown word "reinstall"')
    assert shell("service").err == "Error: accepts 1 arg(s), received 0\n"


@pytest.mark.skipif(sys.platform == "darwin", reason="launchd is there")
def test_without_a_manager_it_is_said_that_there_is_none(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert shell("service", "install").err.startswith("Error: there is neither systemd nor launchd here")


def test_logs_prints_the_last_lines_of_the_newest_file(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "logs"
    assert shell("logs").err.startswith(f"Error: no log in {folder}")
    folder.mkdir(parents=True)
    for number, name in enumerate(("old.log", "run.log")):
        (folder / name).write_text("".join(f"{name} {line}\n" for line in range(300)))
        os.utime(folder / name, (number + 1, number + 1))
    assert shell("logs") == Ran(0, "".join(f"run.log {line}\n" for line in range(200, 300)), f"{folder / 'run.log'}:\n")
    assert shell("logs", "-n", "1").out == "run.log 299\n"


@pytest.mark.parametrize(
    ("prefix", "command"),
    [
        ("/h/.local/share/pipx/venvs/a3s-power", "pipx upgrade a3s-power"),
        ("/h/.local/share/uv/tools/a3s-power", "uv tool upgrade a3s-power"),
        ("/usr", f"{sys.executable} -m pip install --upgrade a3s-power"),
    ],
)
def test_update_knows_the_tool_by_the_place(prefix: str, command: str) -> None:
    assert how_installed(prefix, None).update == command


def test_sources_are_updated_where_they_are() -> None:
    installed = how_installed("/usr", Path("/a b"))
    assert installed.update == "git -C '/a b' pull && '/a b'/scripts/install"


def test_update_changes_nothing_and_says_so(shell: Shell) -> None:
    lines = shell("update").out.splitlines()
    assert lines[0].startswith(f"a3s-power {__version__}, ")
    assert lines[-1].startswith("Nothing was changed")


@pytest.mark.parametrize("word", ["signin", "login", "signout", "logout"])
def test_no_account_is_pretended(shell: Shell, word: str) -> None:
    assert shell(word).out.startswith("A3S Power has no accounts")


def test_whoami_prints_the_public_key(shell: Shell, tmp_path: Path) -> None:
    assert shell("whoami").out.startswith("No key yet")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "id_ed25519.pub").write_text("ssh-ed25519 AAAA\n")
    assert shell("whoami").out == "ssh-ed25519 AAAA\n"


def test_tokens_are_printed_counted_or_given_as_json(shell: Shell) -> None:
    with scripted({"POST /api/tokenize": Answer({"tokens": [1, 2, 3]})}) as server:
        assert shell("tokenize", "m", "a", "b", server=server).out == "1 2 3\n"
        assert shell("tokenize", "m", "--count", server=server, piped="x\n").out == "3\n"
        found = json.loads(shell("tokenize", "m", "x", "--json", server=server).out)
        assert found == {"model": "m", "count": 3, "tokens": [1, 2, 3]}
        assert [body["text"] for body in server.bodies("/api/tokenize")] == ["a b", "x\n", "x"]


def test_a_prompt_is_rendered_as_the_flags_say(shell: Shell) -> None:
    with scripted({"POST /api/chat": Answer({"_debug_info": {"rendered_template": "<a>"}})}) as server:
        assert shell("render", "m", "hi", "--system", "Be brief.", "--think=false", server=server).out == "<a>"
        said = '[{"role": "user", "content": "x"}]'
        assert shell("render", "m", "--messages", server=server, piped=said).out == "<a>"
        first, second = server.bodies("/api/chat")
    assert first["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    assert (first["think"], first["_debug_render_only"], second["messages"]) == (False, True, json.loads(said))


@pytest.mark.parametrize(
    ("text", "error"), [("{", "standard input is not JSON"), ("{}", "standard input is neither a list of messages")]
)
def test_messages_that_are_none_are_refused(shell: Shell, text: str, error: str) -> None:
    with scripted({}) as server:
        assert shell("render", "m", "--messages", server=server, piped=text).err.startswith(f"Error: {error}")
        assert server.asked == []
