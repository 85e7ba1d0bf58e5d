"""The security sheet's rows on code from outside: none of it is run, whatever a request, a model or a path says."""

import ast
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from a3s_power.cli.main import COMMANDS
from a3s_power.core.names import ModelName
from a3s_power.core.requests import Chat, Generate
from a3s_power.service.transfers import LocalTransfers
from a3s_power.store import Store
from tests.fakes import FakeInference, client, service
from tests.shared import REPOSITORY
from tests.stores import add_model

_SOURCES = sorted((REPOSITORY / "src").rglob("*.py"))
_FORBIDDEN = {"eval", "exec", "compile", "__import__", "pickle", "marshal", "shelve", "dill", "joblib", "yaml", "torch"}
_LOADERS = {"import_module", "exec_module", "spec_from_file_location"}
_TABLES = {
    "runner/child.py": "the table of engines",
    "cli/main.py": "the table of commands",
    "prompt/families/__init__.py": "the table of families",
}
"""Who imports a module by a name that is no literal, and where the names come from."""


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            yield (function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")), node


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module)):
                yield module.partition(".")[0]


@pytest.mark.parametrize("path", _SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY / "src")))
def test_nothing_makes_code_of_data(path: Path) -> None:
    """TPL-08."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert _FORBIDDEN.isdisjoint(_imported(tree))
    own_regular_expressions = {"compile"}
    for name, call in _calls(tree):
        is_method = isinstance(call.func, ast.Attribute)
        assert name not in _FORBIDDEN - (own_regular_expressions if is_method else set()), call.lineno
        assert not any(word.arg == "shell" for word in call.keywords), call.lineno
        assert ast.unparse(call.func) not in ("os.system", "os.popen"), call.lineno
        if name in _LOADERS:
            assert str(path).replace("\\", "/").partition("/a3s_power/")[2] in _TABLES, call.lineno


_PICKLE = base64.b64encode(b"cos\nsystem\n(S'touch pwn-pickle'\ntR.").decode()


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt_embeds": _PICKLE, "image_embeds": _PICKLE},
        {"custom_logit_processor": _PICKLE, "logits_processors": [{"qualname": "os.system", "args": ["touch pwn"]}]},
        {"chat_template": "{{ cycler.__init__.__globals__.os.popen('touch pwn') }}"},
        {"chat_template_kwargs": {"chat_template": "x", "tools": [], "tokenize": True, "messages": []}},
    ],
)
@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_a_field_that_would_be_code_elsewhere_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, fields: dict[str, Any]
) -> None:
    """ST-06, TPL-04, TPL-09: in Ollama's dialect a field that it does not know is as if it were not there."""
    monkeypatch.chdir(tmp_path)
    plain = {"model": "m", "prompt": "x", "messages": [{"role": "user", "content": "x"}]}
    asked: list[Chat | Generate] = []
    for body in (plain, plain | fields):
        played = FakeInference()
        client(tmp_path, service(tmp_path, played)).post(path, json=body)
        asked += played.asked  # type: ignore[arg-type] # of these two kinds, by these two paths
    assert len(asked) == 2
    assert asked[0] == asked[1]
    assert not list(tmp_path.rglob("pwn*"))


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"renderer": "../../x"}, 'unknown renderer "../../x"'),
        ({"parser": "__import__('os')"}, "unknown parser \"__import__('os')\""),
        ({"renderer": "os.system"}, 'unknown renderer "os.system"'),
    ],
)
def test_a_renderer_or_parser_is_one_of_a_list(tmp_path: Path, fields: dict[str, str], error: str) -> None:
    """TPL-07."""
    store = Store(tmp_path / "models")
    add_model(store, "m")
    http = client(tmp_path, service(tmp_path / "models", transfers=LocalTransfers(store)))
    answer = http.post("/api/create", json={"model": "x", "from": "m", "stream": False} | fields)
    assert (answer.status_code, answer.json()) == (400, {"error": error})
    assert store.manifests.find(ModelName.parse("x")) is None


@pytest.mark.parametrize("host", ["http://169.254.169.254", "http://127.0.0.1:22", "https://evil.example", "x"])
def test_a_create_names_no_other_server(tmp_path: Path, host: str) -> None:
    """OUT-04."""
    http = client(tmp_path, service(tmp_path / "models", transfers=LocalTransfers(Store(tmp_path / "models"))))
    answer = http.post("/api/create", json={"model": "x", "from": "y", "remote_host": host})
    error = "models of other servers cannot be created by this version"
    assert (answer.status_code, answer.json()) == (400, {"error": error})


@pytest.mark.parametrize(
    "path",
    ["/ui/../../etc/passwd", "/ui/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/ui/..%5cetc", "//etc/passwd", "/ui/%00", "/etc"],
)
def test_no_path_is_a_file_of_this_machine(tmp_path: Path, path: str) -> None:
    """PATH-19."""
    answer = client(tmp_path).get(path)
    assert answer.status_code in (301, 404)
    assert b"root:" not in answer.content


def test_no_command_fetches_or_starts_a_newer_program() -> None:
    """OUT-18."""
    assert [entry.name for entry in COMMANDS if "update" in entry.name or "upgrade" in entry.name] == ["update"]
    tree = ast.parse((REPOSITORY / "src/a3s_power/cli/update.py").read_text(encoding="utf-8"))
    assert {"socket", "http", "urllib", "subprocess", "os"}.isdisjoint(_imported(tree))
