"""The project's own promises: the lock, the commands of the README, and docs that are true."""

import ast
import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import a3s_power
from tests.shared import REPOSITORY
from tools.tree import PAGE, page_with_tree

INSTALL_AND_ANSWER = 'scripts/install && .venv/bin/a3s-power run power-tiny "What is 3 + 4?"'
INSTALL_AND_TEST = "scripts/install && scripts/test"


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def project() -> dict[str, object]:
    return tomllib.loads(read("pyproject.toml"))["project"]  # type: ignore[no-any-return] # TOML holds anything


def named(requirement: object) -> str:
    """The name a requirement starts with, as the lock writes it."""
    found = re.match(r"[A-Za-z0-9._-]+", str(requirement))
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def dependencies() -> list[str]:
    described = project()
    base, extras = described["dependencies"], described["optional-dependencies"]
    assert isinstance(base, list)
    assert isinstance(extras, dict)
    return sorted(named(requirement) for requirement in [*base, *extras["test"]])


def locked() -> dict[str, str]:
    """Each locked package's block of the lock, by name."""
    blocks = re.split(r"\n(?=\S)", read("requirements.lock"))
    return {named(block): block for block in blocks if not block.startswith("#")}


def test_the_lock_names_no_host() -> None:
    assert "://" not in read("requirements.lock")


def test_everything_in_the_lock_has_its_version_and_its_hashes() -> None:
    without = [name for name, block in locked().items() if "==" not in block or "--hash=sha256:" not in block]
    assert without == []


@pytest.mark.parametrize("dependency", dependencies())
def test_every_dependency_is_locked_and_has_its_reason(dependency: str) -> None:
    assert dependency in locked()
    assert re.search(rf"^\| `{re.escape(dependency)}` \|", read("docs/architecture.md"), re.MULTILINE)


def test_the_docs_give_reasons_for_what_is_used_only() -> None:
    section = read("docs/architecture.md").partition("## 5 Dependencies")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)) == dependencies()


def test_the_readme_shows_both_commands() -> None:
    shown = re.findall(r"^```sh\n(.*?)^```", read("README.md"), re.MULTILINE | re.DOTALL)
    assert INSTALL_AND_ANSWER + "\n" in shown
    assert INSTALL_AND_TEST + "\n" in shown


def test_ci_runs_what_the_readme_says() -> None:
    assert INSTALL_AND_TEST in read(".ci/run")


@pytest.mark.parametrize("script", sorted(path.name for path in (REPOSITORY / "scripts").iterdir()))
def test_every_script_can_be_run_and_is_explained(script: str) -> None:
    path = REPOSITORY / "scripts" / script
    assert path.stat().st_mode & stat.S_IXUSR
    assert path.read_text(encoding="utf-8").startswith("#!/bin/sh\n# ")
    assert f"`scripts/{script}" in read("CONTRIBUTING.md")
    subprocess.run(["/bin/sh", "-n", path], check=True)


def test_install_refuses_an_old_python_with_a_sentence(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.9.1"\n[ "$1" = -V ]\n', encoding="utf-8")
    old.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "PYTHON": str(old)}
    done = subprocess.run(
        [REPOSITORY / "scripts/install"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"needs Python 3.11 or newer; '{old}' is Python 3.9.1." in done.stderr


def test_the_version_is_a_literal() -> None:
    statements = ast.parse(read("src/a3s_power/__init__.py")).body
    assigned = [one.value for one in statements if isinstance(one, ast.Assign)]
    assert [ast.literal_eval(value) for value in assigned] == [a3s_power.__version__]


def test_what_is_new_stands_at_the_top_of_the_changelog() -> None:
    assert re.findall(r"^## \[(.+?)\]", read("CHANGELOG.md"), re.MULTILINE)[0] == "Unreleased"


def test_the_package_tree_in_the_docs_is_the_real_one() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == page_with_tree(page), "run scripts/docs"


def test_every_module_says_in_a_sentence_what_it_is() -> None:
    modules = [path for folder in ("src", "tools", "bench") for path in (REPOSITORY / folder).rglob("*.py")]
    silent = [
        str(path.relative_to(REPOSITORY))
        for path in modules
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_every_link_within_the_docs_leads_somewhere(page: str) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)", read(page))
    missing = [target for target, _ in targets if not ((REPOSITORY / page).parent / target).exists()]
    assert targets
    assert missing == []


def test_the_dialogues_of_the_built_in_model_can_be_made_again() -> None:
    maker = REPOSITORY / "tools/power-tiny/dialogues.py"
    first, again, other = (
        subprocess.run([sys.executable, "-B", maker, "20", seed], capture_output=True, check=True).stdout
        for seed in ("1", "1", "2")
    )
    assert len(first.splitlines()) == 20
    assert first == again
    assert first != other


def test_the_docs_tell_planned_packages_from_built_ones() -> None:
    section = read("docs/architecture.md").partition("## 6 ")[2]
    planned = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    optional = re.findall(r"\((\w+)\)", " ".join(contracts[0]["layers"]))
    assert sorted(planned) == sorted(optional)
    assert [name for name in planned if (REPOSITORY / "src/a3s_power" / name).exists()] == []
