"""Flags and commands beyond Ollama's: load, stop --all, sorted and JSON lists, config, doctor, completion."""

import json
from pathlib import Path
from typing import Any

import pytest

from a3s_power.core.digests import Digest
from tests.registries import Registry, Reply
from tests.scripted import Answer, Asked, Ran, Shell, scripted

_TIMES = ("2026-01-01T00:00:00Z", "2026-03-01T00:00:00+02:00", "2026-02-01T00:00:00Z")
_MODELS = [
    {"name": name, "digest": "0" * 64, "size": size, "modified_at": time}
    for name, size, time in zip(("b:latest", "A:latest", "c:latest"), (10, 30, 20), _TIMES, strict=True)
]
_LOADED = {
    "name": "a:latest",
    "digest": "1" * 64,
    "size": 100,
    "size_vram": 0,
    "context_length": 512,
    "expires_at": "0001-01-01T00:00:00Z",
}


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("name", ["A:latest", "b:latest", "c:latest"]),
        ("size", ["A:latest", "c:latest", "b:latest"]),
        ("modified", ["A:latest", "c:latest", "b:latest"]),
    ],
)
def test_a_list_is_sorted_as_asked(shell: Shell, order: str, names: list[str]) -> None:
    with scripted({"GET /api/tags": Answer({"models": _MODELS})}) as server:
        lines = shell("list", "--sort", order, server=server).out.splitlines()[1:]
        found = json.loads(shell("ls", f"--sort={order}", "--json", server=server).out)["models"]
    assert [line.split()[0] for line in lines] == [model["name"] for model in found] == names


def test_an_order_nobody_knows_is_refused(shell: Shell) -> None:
    error = 'Error: invalid value for --sort: "age" (must be name, size, modified)\n'
    assert shell("list", "--sort", "age") == (1, "", error)


def test_ps_and_show_print_what_the_server_says_as_json(shell: Shell) -> None:
    shown = {"system": "Ünï\x1b[2J", "details": {"family": "llama"}}
    answers = {"GET /api/ps": Answer({"models": [_LOADED]}), "POST /api/show": Answer(shown)}
    with scripted(answers) as server:
        assert json.loads(shell("ps", "--json", server=server).out) == {"models": [_LOADED]}
        assert json.loads(shell("ps", "x", "--json", server=server).out) == {"models": []}
        out = shell("show", "a", "--json", server=server).out
        assert json.loads(out) == shown
        assert "Ünï" in out
        assert json.loads(shell("show", "a", "--json", "--system", server=server).out) == {"system": shown["system"]}


def test_load_asks_for_the_model_and_answers_nothing(shell: Shell) -> None:
    answers = {
        "POST /api/show": Answer({"capabilities": ["completion"]}),
        "POST /api/generate": Answer({"done": True, "done_reason": "load"}),
    }
    with scripted(answers) as server:
        assert shell("load", "a", "--keepalive", "90s", server=server) == Ran(0, "", "loading a\n")
        assert server.bodies("/api/generate") == [{"model": "a", "keep_alive": "1m30s", "stream": False}]


def test_load_of_an_embedding_model_embeds_nothing(shell: Shell) -> None:
    answers = {"POST /api/show": Answer({"capabilities": ["embedding"]}), "POST /api/embed": Answer({"embeddings": []})}
    with scripted(answers) as server:
        assert shell("load", "a", server=server).status == 0
        assert server.bodies("/api/embed") == [{"model": "a", "input": []}]


@pytest.mark.parametrize("args", [("load", "a"), ("stop", "--all"), ("ps",), ("list",)])
def test_without_a_server_it_is_said_how_to_start_one(shell: Shell, args: tuple[str, ...]) -> None:
    error = "Error: could not connect to a3s-power, run 'a3s-power serve' to start it\n"
    assert shell(*args) == Ran(1, "", error)


def test_stop_all_unloads_every_model(shell: Shell) -> None:
    answers = {
        "GET /api/ps": Answer({"models": [_LOADED, {**_LOADED, "name": "b:latest"}]}),
        "POST /api/show": Answer({}),
        "POST /api/generate": Answer(lines=({"done": True},)),
    }
    with scripted(answers) as server:
        assert shell("stop", "--all", server=server) == Ran(0, "", "")
        assert [body["model"] for body in server.bodies("/api/generate")] == ["a:latest", "b:latest"]


@pytest.mark.parametrize(
    ("args", "error"), [((), "accepts 1 arg(s), received 0"), (("a", "--all"), "accepts a model or --all")]
)
def test_stop_takes_a_model_or_all(shell: Shell, args: tuple[str, ...], error: str) -> None:
    assert shell("stop", *args) == Ran(1, "", f"Error: {error}\n")


def _home(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "home" / "config.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


def test_config_shows_each_value_and_where_it_comes_from(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _home(tmp_path, 'max_queue = 7\napi_key = "secret"\nlogins = ["r.example=me:secret"]\n')
    monkeypatch.setenv("OLLAMA_NUM_PARALLEL", "3")
    found = json.loads(shell("config", "--json").out)
    assert found["max_queue"] == {"value": 7, "origin": f"{file}:1"}
    assert found["num_parallel"] == {"value": 3, "origin": "OLLAMA_NUM_PARALLEL"}
    assert (found["api_key"]["value"], found["logins"]["value"]) == ("(set)", "(set)")
    assert found["noprune"] == {"value": False, "origin": "default"}
    lines = [line.split() for line in shell("config", "show", "--origin").out.splitlines()]
    assert ["max_queue", "7", f"{file}:1"] in lines
    assert "secret" not in shell("config").out


def test_config_knows_its_file_and_checks_it(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "home" / "config.toml"
    assert shell("config", "path").out == f"{file}\n"
    assert shell("config", "check").out == f"{file}: not there, so the defaults hold\n"
    _home(tmp_path, "max_queue = 7\n")
    assert shell("config", "check").out == f"{file}: ok\n"
    monkeypatch.setenv("OLLAMA_MAX_QUEUE", "many")
    assert shell("config", "check").out.startswith("OLLAMA_MAX_QUEUE: ignored")
    _home(tmp_path, "max_queues = 7\n")
    error = f"Error: {file}:1: unknown setting `max_queues`, did you mean `max_queue`?\n"
    assert shell("config", "check") == Ran(1, "", error)
    assert shell("config", "edit").err.startswith('Error: unknown word "edit"')


def _found(ran: Ran) -> dict[str, dict[str, Any]]:
    return {finding["name"]: finding for finding in json.loads(ran.out)}


def test_doctor_finds_our_server(shell: Shell) -> None:
    with scripted({"GET /health": Answer({"version": "9.9"})}) as server:
        found = _found(shell("doctor", "--json", server=server))
        assert found["server"] == {
            "name": "server",
            "ok": True,
            "advice": "",
            "seen": f"http://{server.address} answers, version 9.9",
        }
        assert found["engine"]["ok"]
        assert found["settings"]["ok"]


def test_doctor_fails_and_names_what_is_wrong(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted({"GET /health": Answer(b"hello")}) as server:
        ran = shell("doctor", server=server)
        assert (ran.status, ran.err) == (1, "Error: not well: server\n")
        assert "!!    server" in ran.out
        assert "something else answers" in ran.out
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:0")
    assert _found(shell("doctor", "--json"))["server"]["ok"]
    _home(tmp_path, "nonsense = 1\n")
    assert shell("doctor").err == "Error: not well: settings\n"


def _completed(shell: Shell, monkeypatch: pytest.MonkeyPatch, line: str, **given: Any) -> list[str]:
    words = line.split(" ")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    monkeypatch.setenv("_A3S_POWER_COMPLETE", "bash_complete")
    with pytest.raises(SystemExit) as end:
        shell(**given)
    assert end.value.code == 0
    return [item.partition(",")[2] for item in shell.said().splitlines()]


def test_a_shell_completes_commands_flags_and_models(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def tags(_: Asked) -> Answer:
        return Answer({"models": _MODELS})

    assert _completed(shell, monkeypatch, "a3s-power pu") == ["pull", "push"]
    assert "--temperature" in _completed(shell, monkeypatch, "a3s-power run --te")
    assert _completed(shell, monkeypatch, "a3s-power config ") == ["show", "check", "path"]
    assert _completed(shell, monkeypatch, "a3s-power run ") == [""]
    with scripted({"GET /api/tags": tags}) as server:
        assert _completed(shell, monkeypatch, "a3s-power run b", server=server) == ["b:latest"]
        assert _completed(shell, monkeypatch, "a3s-power rm --bogus ", server=server) == [
            *("b:latest", "A:latest", "c:latest")
        ]


@pytest.mark.parametrize(("shell_name", "word"), [("bash", "complete "), ("zsh", "#compdef"), ("fish", "complete ")])
def test_completion_prints_a_script(shell: Shell, shell_name: str, word: str) -> None:
    ran = shell("completion", shell_name)
    assert ran.status == 0
    assert word in ran.out
    assert "_A3S_POWER_COMPLETE" in ran.out


def test_completion_of_another_shell_is_refused(shell: Shell) -> None:
    assert shell("completion", "tcsh").err == 'Error: no completion for "tcsh" (must be bash, zsh or fish)\n'


def test_a_model_that_is_outdated_is_listed(shell: Shell) -> None:
    with Registry().running() as registry:
        content = registry.add("ns/m", weights=b"w")
        name = f"{registry.host}/ns/m:latest"
        models = [
            {"name": name, "digest": Digest.of(content).hex},
            {"name": f"{registry.host}/ns/mine:latest", "digest": "0" * 64},
        ]
        with scripted({"GET /api/tags": Answer({"models": models})}) as server:
            asked = ("outdated", "--insecure", "--json")
            states = [model["state"] for model in json.loads(shell(*asked, "--all", server=server).out)["models"]]
            assert states == ["current", "gone"]
            assert shell(*asked, name, server=server).out == '{\n  "models": []\n}\n'
            registry.add("ns/m", weights=b"newer")
            lines = shell("outdated", "--insecure", name, server=server).out.splitlines()
    assert [line.split("    ")[0].strip() for line in lines] == ["NAME", name.removesuffix(":latest") + ":latest"]
    assert lines[1].rstrip().endswith("pull it again")


def test_tags_are_listed_by_the_names_to_pull(shell: Shell) -> None:
    with Registry().running() as registry:
        registry.twist = lambda _asked, _reply: Reply(200, {}, b'{"tags":["1b","7b"]}')
        lines = shell("tags", f"{registry.host}/ns/m", "--insecure").out.splitlines()
        assert [line.split()[0] for line in lines] == ["NAME", f"{registry.host}/ns/m:1b", f"{registry.host}/ns/m:7b"]


def test_a_search_says_why_it_found_nothing(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A3S_POWER_OFFLINE", "1")
    assert shell("search", "tiny").err == "Error: offline: huggingface.co was not asked\n"
    assert shell("search", "tiny", "--limit", "0").err.startswith('Error: invalid value for --limit: "0"')
