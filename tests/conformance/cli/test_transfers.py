"""Sections 4 and 8 of the sheet, without a terminal: pull and push; and our own export and import."""

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from a3s_power.cli import carry
from tests.archives import CONFIG, SAID, WEIGHTS, archive, file, layer, manifest
from tests.scripted import Answer, Asked, Ran, Shell, scripted

_DIGEST = "sha256:" + "ab" * 32
_PULLED = (
    {"status": "pulling manifest"},
    {"status": "pulling abababababab", "digest": _DIGEST, "total": 10},
    {"status": "pulling abababababab", "digest": _DIGEST, "total": 10, "completed": 5},
    {"status": "pulling abababababab", "digest": _DIGEST, "total": 10, "completed": 10},
    {"status": "pulling other", "digest": "other", "total": 1, "completed": 1},
    {"status": "verifying sha256 digest"},
    {"status": "writing manifest"},
    {"status": "success"},
)
_SAID = "pulling manifest\npulling abababababab:\npulling other:\nverifying sha256 digest\nwriting manifest\nsuccess\n"


def test_a_pull_tells_on_standard_error_how_it_goes(shell: Shell) -> None:
    with scripted({"POST /api/pull": Answer(lines=_PULLED)}) as server:
        assert shell("pull", "m", server=server) == Ran(0, "", _SAID)
    assert server.bodies("/api/pull") == [{"model": "m"}]


def test_several_models_are_pulled_one_after_the_other(shell: Shell) -> None:
    def answer(asked: Asked) -> Answer:
        return Answer(lines=({"error": "no"} if asked.body["model"] == "b" else {"status": "success"},))

    with scripted({"POST /api/pull": answer}) as server:
        assert shell("pull", "a", "b", "c", server=server) == Ran(1, "", "success\nError: no\n")
    assert [body["model"] for body in server.bodies("/api/pull")] == ["a", "b"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [("--insecure", {"insecure": True}), ("--yes", {"consent": True}), ("-y", {"consent": True})],
)
def test_flags_of_a_pull_become_fields(shell: Shell, flags: str, said: dict[str, Any]) -> None:
    with scripted({"POST /api/pull": Answer(lines=({"status": "success"},))}) as server:
        assert shell("pull", "m", *flags.split(), server=server).status == 0
    assert server.bodies("/api/pull") == [{"model": "m", **said}]


def test_a_model_nobody_has_is_an_error(shell: Shell) -> None:
    lines = ({"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"})
    with scripted({"POST /api/pull": Answer(lines=lines)}) as server:
        ran = shell("pull", "m", server=server)
    assert ran == Ran(1, "", "pulling manifest\nError: pull model manifest: file does not exist\n")


def test_what_a_search_found_is_not_taken_unasked(shell: Shell) -> None:
    """OUT-13."""
    lines = ({"status": "pulling manifest"}, {"error": "A search found x", "found": "hf.co/u/r:Q4_K_M"})
    with scripted({"POST /api/pull": Answer(lines=lines)}) as server:
        ran = shell("pull", "lama", server=server, piped="y\n")
    assert ran.err == "pulling manifest\nError: A search found x, or: a3s-power pull --yes lama\n"
    assert server.bodies("/api/pull") == [{"model": "lama"}]


_PUSHED = Answer(
    lines=(
        {"status": "retrieving manifest"},
        {"status": "pushing abababababab", "digest": _DIGEST, "total": 10, "completed": 10},
        {"digest": "sha256:" + "cd" * 32, "total": 10, "completed": 10},
        {"status": "pushing manifest"},
        {"status": "success"},
    )
)
_PUSHING = "retrieving manifest\npushing abababababab\npushing cdcdcdcdcdcd...\npushing manifest\nsuccess\n"


@pytest.mark.parametrize(
    ("line", "body", "where"),
    [
        ("me/m", {}, "https://ollama.com/me/m"),
        ("m:1b", {}, "https://ollama.com/m:1b"),
        ("h:5000/a/m --insecure", {"insecure": True}, "h:5000/a/m:latest"),
        ("me/m --destination https://h:5000/", {"destination": "https://h:5000/"}, "h:5000/me/m:latest"),
        ("m --destination h/a/b:c", {"destination": "h/a/b:c"}, "h/a/b:c"),
    ],
)
def test_a_push_tells_where_the_model_is(shell: Shell, line: str, body: dict[str, Any], where: str) -> None:
    model = line.partition(" ")[0]
    answers = {"POST /api/push": _PUSHED, "POST /api/me": Answer({"error": "account unavailable"}, 503)}
    with scripted(answers) as server:
        ran = shell("push", *line.split(), server=server)
    assert ran == Ran(0, f"\nYou can find your model at:\n\n\t{where}\n", _PUSHING)
    assert server.bodies("/api/push") == [{"model": model, **body}]


@pytest.mark.parametrize(
    ("answer", "out"),
    [
        ({"error": "unauthorized"}, ""),
        (
            {"error": "unauthorized", "signin_url": "https://ollama.com/connect?a\x1b"},
            "If your browser did not open, navigate to:\n    https://ollama.com/connect?a\\x1b\n\n",
        ),
    ],
)
def test_who_is_not_signed_in_is_told(shell: Shell, answer: dict[str, str], out: str) -> None:
    with scripted({"POST /api/me": Answer(answer, 401)}) as server:
        ran = shell("push", "me/m", server=server)
        assert shell("push", "h/me/m", server=server).err.startswith("Error: 404 Not Found")
    assert ran == Ran(0, f"You need to be signed in to push models to ollama.com.\n\n{out}", "")


@pytest.mark.parametrize(
    ("error", "complaint"),
    [
        (
            "unauthorized: access denied",
            "you are not authorized to push to this namespace, create the model under a namespace you own",
        ),
        ("open manifests/x: no such file or directory", "open manifests/x: no such file or directory"),
    ],
)
def test_a_push_that_is_refused_is_an_error(shell: Shell, error: str, complaint: str) -> None:
    lines = ({"status": "retrieving manifest"}, {"error": error})
    with scripted({"POST /api/push": Answer(lines=lines)}) as server:
        assert shell("push", "h/a/m", server=server) == Ran(1, "", f"retrieving manifest\nError: {complaint}\n")
        assert shell("push", "a b", server=server).status == 1


def test_a_model_becomes_a_file(shell: Shell, tmp_path: Path) -> None:
    content = b"ustar or what the server says" * 99_999
    with scripted({"GET /api/export?model=a%2Fm%3A1": Answer(content)}) as server:
        ran = shell("export", "a/m:1", "m.tar", server=server)
    assert ran == Ran(0, "exported 'a/m:1' to 'm.tar'\n", "exporting a/m:1\n")
    assert (tmp_path / "m.tar").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["m.tar"]


@pytest.mark.parametrize(
    ("target", "answer", "complaint"),
    [
        ("m.tar", Answer({"error": "model 'm:latest' not found"}, 404), "model 'm:latest' not found"),
        ("no/where.tar", Answer(b"x"), "write no/where.tar: No such file or directory"),
        (".", Answer(b"x"), ". is a folder: say which file in it to write"),
    ],
)
def test_a_file_that_cannot_be_written_is_told(
    shell: Shell, tmp_path: Path, target: str, answer: Answer, complaint: str
) -> None:
    with scripted({"GET /api/export?model=m": answer}) as server:
        ran = shell("export", "m", target, server=server)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.endswith(f"Error: {complaint}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_file_becomes_a_model(shell: Shell, tmp_path: Path) -> None:
    content = archive(file("x", b"x" * 3_000_000))
    (tmp_path / "m.tar").write_bytes(content)
    with scripted({"POST /api/import": Answer({"status": "success", "model": "a/m:1\x1b"})}) as server:
        assert shell("import", "m.tar", server=server) == Ran(0, "imported 'a/m:1\\x1b'\n", "importing m.tar\n")
    assert server.bodies("/api/import") == [content]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nope.tar", "open nope.tar: No such file or directory"),
        ("/dev/zero", "/dev/zero is not a regular file"),
        (".", ". is not a regular file"),
        ("text", "text is no archive of a model"),
    ],
)
def test_what_is_no_archive_is_not_sent(shell: Shell, tmp_path: Path, name: str, complaint: str) -> None:
    (tmp_path / "text").write_text("hello" * 500)
    with scripted({}) as server:
        assert shell("import", name, server=server) == Ran(1, "", f"Error: {complaint}\n")
    assert server.asked == []


def test_an_archive_that_the_server_refuses_is_told(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "m.tar").write_bytes(archive(file("x", b"x")))
    with scripted({"POST /api/import": Answer({"error": "the archive is cut off"}, 400)}) as server:
        ran = shell("import", "m.tar", server=server)
    assert ran == Ran(1, "", "importing m.tar\nError: the archive is cut off\n")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _other(name: str = "library/m/latest", **changes: Any) -> dict[str, Any]:
    """Answers of another server of ours that has one model."""
    answers = {f"GET /api/blobs/{_digest(content)}": Answer(content) for content in (CONFIG, WEIGHTS, SAID)}
    archived = archive(file(f"manifests/registry.ollama.ai/{name}", manifest()))
    return answers | {"GET /api/export?model=m%3Alatest&blobs=false": Answer(archived)} | changes


def _ours() -> dict[str, Any]:
    """Answers of a server that has one of the blobs."""
    answers: dict[str, Any] = {f"POST /api/blobs/{_digest(content)}": Answer(status=201) for content in (CONFIG, SAID)}
    answers |= {f"HEAD /api/blobs/{_digest(content)}": Answer(status=404) for content in (CONFIG, SAID)}
    return answers | {
        f"HEAD /api/blobs/{_digest(WEIGHTS)}": Answer(),
        "POST /api/import": Answer({"status": "success", "model": "m:latest"}),
    }


def test_a_model_is_carried_from_another_server(shell: Shell) -> None:
    with scripted(_other()) as other, scripted(_ours()) as server:
        ran = shell("pull", "m", "--from", f"http://{other.address}", server=server)
    bars = "".join(f"pulling {_digest(content)[7:19]}:\n" for content in (WEIGHTS, SAID, CONFIG))
    assert ran == Ran(0, "", f"pulling manifest\n{bars}writing manifest\nsuccess\n")
    assert server.bodies(f"/api/blobs/{_digest(SAID)}") == [b"", SAID]
    (archived,) = server.bodies("/api/import")
    with tarfile.open(fileobj=io.BytesIO(archived)) as found:
        assert found.getnames() == ["manifests/registry.ollama.ai/library/m/latest"]
    assert f"GET /api/blobs/{_digest(WEIGHTS)}" not in {f"{asked.method} {asked.path}" for asked in other.asked}
    assert not any("Authorization" in asked.headers for asked in other.asked)


def test_a_transfer_that_breaks_is_gone_on_with_behind_what_came(shell: Shell) -> None:
    said = bytes(range(256)) * 8
    cuts = iter((0, 700, 1000, len(said)))

    def some(asked: Asked) -> Answer:
        first = int(asked.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        return Answer(said[first:], 206 if first else 200, most=next(cuts) - first)

    digest = _digest(said)
    archived = archive(file("manifests/registry.ollama.ai/library/m/latest", manifest(layer("x", said))))
    other = _other() | {
        "GET /api/export?model=m%3Alatest&blobs=false": Answer(archived),
        f"GET /api/blobs/{digest}": some,
    }
    ours = _ours() | {f"POST /api/blobs/{digest}": Answer(status=201), f"HEAD /api/blobs/{digest}": Answer(status=404)}
    with scripted(other) as there, scripted(ours) as server:
        assert shell("pull", "m", "--from", there.address, server=server).status == 0
    assert server.bodies(f"/api/blobs/{digest}") == [b"", said]


def test_a_transfer_that_brings_nothing_any_more_is_given_up(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry, "_PAUSES", (0, 0))
    with scripted(_other() | {f"GET /api/blobs/{_digest(SAID)}": Answer(SAID, most=0)}) as there:
        with scripted(_ours()) as server:
            ran = shell("pull", "m", "--from", there.address, server=server)
        assert (ran.status, ran.out) == (1, "")
        assert ran.err.endswith(f"Error: the server at http://{there.address} ended the connection\n")
        assert server.bodies("/api/import") == []


def test_our_key_is_not_for_the_other_server(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """OUT-07."""
    monkeypatch.setenv("OLLAMA_API_KEY", "secret")
    with scripted(_other()) as other, scripted(_ours()) as server:
        assert shell("pull", "m", "--from", other.address, server=server).status == 0
    assert not any("Authorization" in asked.headers for asked in other.asked)
    assert all(asked.headers["Authorization"] == "Bearer secret" for asked in server.asked)


_SHORT = archive(file("manifests/registry.ollama.ai/library/m/latest", manifest(layer("x", SAID, size=99))))


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        (_other("library/n/latest"), "the other server gave another model than m:latest"),
        ({"GET /api/export?model=m%3Alatest&blobs=false": Answer({"error": "model 'm' not found"}, 404)}, "model 'm'"),
        (
            {"GET /api/export?model=m%3Alatest&blobs=false": Answer(b"404 page not found", 404)},
            "cannot give models away: is it A3S Power?",
        ),
        ({"GET /api/export?model=m%3Alatest&blobs=false": Answer(b"x" * 600)}, "the archive cannot be read: "),
        ({"GET /api/export?model=m%3Alatest&blobs=false": Answer(bytes(1 << 22))}, "an archive that is too large"),
        (
            _other() | {"GET /api/export?model=m%3Alatest&blobs=false": Answer(_SHORT)},
            f"blob {_digest(SAID)} has {len(SAID)} bytes there and should have 99",
        ),
        (_other() | {f"GET /api/blobs/{_digest(SAID)}": Answer({"error": "gone"}, 404)}, "gone"),
    ],
)
def test_what_cannot_be_carried_is_told_and_not_put_in(shell: Shell, other: dict[str, Any], complaint: str) -> None:
    with scripted(other) as there, scripted(_ours()) as server:
        ran = shell("pull", "m", "--from", there.address, server=server)
    assert (ran.status, ran.out) == (1, "")
    assert complaint in ran.err.splitlines()[-1]
    assert server.bodies("/api/import") == []


def test_an_other_server_that_is_not_there_is_told(shell: Shell) -> None:
    with scripted(_ours()) as server:
        ran = shell("pull", "m", "--from", "127.0.0.1:1", server=server)
    assert ran.err.endswith("Error: could not connect to http://127.0.0.1:1: nobody listens there\n")
