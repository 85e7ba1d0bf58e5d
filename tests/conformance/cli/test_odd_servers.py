"""Servers that speak the API in their own way: what they leave out is left out, and what cannot be is one error."""

import pytest

from tests.scripted import Answer, Shell, scripted

_GET = ("list", "list --sort size", "list --sort modified", "ps", "stop --all")
_POST = ("show m", "show -v m", "run m hi --verbose", "rm m", "pull m", "push m", "create m", "load m", "tokenize m a")
_LINES = (*_GET, *_POST, "stop m", "cp a b", "render m a", "-v")
_ANSWERS = {
    "nothing": Answer(),
    "null": Answer(b"null"),
    "list": Answer([]),
    "empty": Answer({}),
    "no models": Answer({"models": None}),
    "nameless": Answer({"models": [{}]}),
    "wrong times": Answer({"models": [{"name": "x", "modified_at": "bad", "expires_at": "bad", "size": "1"}]}),
    "no JSON": Answer(b"<html>"),
    "null text": Answer(lines=({"response": None, "done": True},)),
    "null status": Answer(lines=({"status": None, "digest": None},)),
    "no total": Answer(lines=({"digest": "x", "completed": 5, "total": None},)),
    "null parts": Answer({"model_info": None, "details": None, "capabilities": None, "parameters": None}),
    "nameless tensor": Answer({"tensors": [{}], "model_info": {"general.architecture": None}}),
    "null error": Answer({"error": None}, 500),
    "error object": Answer({"error": {"message": "x"}}, 500),
    "error line": Answer(lines=({"error": {"message": "x"}},)),
    "odd version": Answer({"version": 3}),
    "no vector": Answer({"embeddings": None, "capabilities": ["embedding"]}),
    "nameless call": Answer(lines=({"response": "x", "tool_calls": [{}]},)),
    "null figures": Answer(lines=({"total_duration": None, "eval_count": None, "done": True},)),
}


_PATHS = (
    "tags",
    "ps",
    "version",
    "show",
    "generate",
    "chat",
    "delete",
    "copy",
    "pull",
    "push",
    "create",
    "tokenize",
    "embed",
)
_ROUTES = ("GET /health", *(f"{method} /api/{path}" for method in ("GET", "POST", "DELETE") for path in _PATHS))


@pytest.mark.parametrize("answer", _ANSWERS.values(), ids=_ANSWERS)
def test_an_odd_answer_is_no_failure_of_ours(shell: Shell, answer: Answer) -> None:
    with scripted(dict.fromkeys(_ROUTES, answer)) as server:
        for line in _LINES:
            ran = shell(*line.split(), server=server)
            assert ran.status in (0, 1)
            assert (ran.status == 1) == ("Error: " in ran.err)


def test_what_a_server_leaves_out_is_left_out_of_the_tables(shell: Shell) -> None:
    few = Answer({"models": [{"name": "x"}]})
    with scripted({"GET /api/tags": few, "GET /api/ps": few}) as server:
        assert shell("list", server=server).out.splitlines()[1] == "x             0 B     Never       "
        assert (
            shell("ps", server=server).out.splitlines()[1] == "x             0 B     100% CPU     0          Never    "
        )
        assert (
            shell("list", "--json", server=server).out == '{\n  "models": [\n    {\n      "name": "x"\n    }\n  ]\n}\n'
        )
