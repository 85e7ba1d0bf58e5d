"""Where the native engine comes from: one source package, known by its hash, fetched as the user's pip is set up to."""

import hashlib
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from a3s_power.core.errors import NotAllowed, PowerError

_CHUNK: Final = 1 << 20


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A source package of an index: its project, its version, its file, and `tree`, the folder in it that is built."""

    project: str
    version: str
    file: str
    sha256: str
    tree: str


PINNED: Final = Source(
    project="xllamacpp",
    version="2026.10.11549",
    file="xllamacpp-2026.10.11549.tar.gz",
    sha256="c17ee1163006f70726abb9f72137830818f3d8cb60bfc34cb232d08428eaa22b",
    tree="thirdparty/llama.cpp",
)
"""The very package whose wheel is the default engine, so that both are the same llama.cpp."""

# pip asks a source package what it is before it hands it over, by code of the package's own, with all that needs. It is
# told by this, which stands where that code would be, and runs nothing of the package.
_STAND_IN: Final = """\
def get_requires_for_build_wheel(config_settings=None):
    return []


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    import pathlib

    folder = pathlib.Path(metadata_directory) / "{project}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\\nName: {project}\\nVersion: {version}\\n")
    return folder.name
"""


def fetch(source: Source, said: str, folder: Path, environ: Mapping[str, str], *, offline: bool) -> Path:
    """The package's file, with the hash it must have: from a path or URL, or from the index that pip is set up with.

    Raises:
        NotAllowed: it would have to be fetched, and this machine is set to be offline.
        PowerError: it cannot be had, or is another file.
    """
    if said and "://" not in said:
        path = Path(said).expanduser()
        if not path.is_file():
            raise PowerError(f"there is no file {said!r}")
    else:
        if offline:
            raise NotAllowed(f"offline: {source.file} was not fetched; give the file with --source")
        path = _by_pip(source, said, folder, environ)
    _check(path, source)
    return path


def _by_pip(source: Source, url: str, folder: Path, environ: Mapping[str, str]) -> Path:
    """What pip downloads. Its index, its proxies, its certificates and its passwords are pip's to know."""
    backend, wanted, into = folder / "stand-in", folder / "wanted.txt", folder / "downloaded"
    (backend / "setuptools").mkdir(parents=True)
    (backend / "setuptools" / "__init__.py").touch()
    text = _STAND_IN.format(project=source.project, version=source.version)
    (backend / "setuptools" / "build_meta.py").write_text(text, "utf-8")
    what = f"{source.project} @ {url}" if url else f"{source.project}=={source.version}"
    wanted.write_text(f"{what} --hash=sha256:{source.sha256}\n", "utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--no-binary", ":all:", "--dest", str(into), "--requirement", str(wanted)]
    ran = subprocess.run(  # noqa: S603 -- a list of ours
        command,
        env={**environ, "PYTHONPATH": str(backend), "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    found = next(into.glob("*"), None) if into.exists() else None
    if ran.returncode != 0 or found is None:
        raise PowerError(f"pip could not fetch {source.file}: {_why(ran.stderr)}; give the file with --source")
    shutil.rmtree(backend)
    return found


def _why(said: str) -> str:
    """The last error pip told, without its colours and advice."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.partition("ERROR: ")[2] for line in lines if "ERROR: " in line]
    return (errors or lines or ["it says nothing"])[-1]


def _check(path: Path, source: Source) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != source.sha256:
        raise PowerError(f"{path} is not the source this version builds: its sha256 is {digest.hexdigest()}")


def unpack(path: Path, source: Source, into: Path) -> Path:
    """Write the tree that is built to a folder, and return it. Raises PowerError for a package without it."""
    inside = f"{source.project}-{source.version}/{source.tree}/"
    with tarfile.open(path) as package:
        for member in package:
            name = member.name.removeprefix(inside)
            if name == member.name or not member.isreg() or ".." in Path(name).parts:
                continue
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            content = package.extractfile(member)
            assert content is not None  # noqa: S101 -- it is a regular file
            with target.open("wb") as file:
                shutil.copyfileobj(content, file)
            target.chmod(0o755 if member.mode & 0o100 else 0o644)
    if not (into / "CMakeLists.txt").is_file():
        raise PowerError(f"{path} holds no {source.tree}")
    return into
