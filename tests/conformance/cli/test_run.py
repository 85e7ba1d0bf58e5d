"""Section 5 of the sheet, and section 7 as far as it goes without a terminal: run, stop, cp and rm."""

from typing import Any

import pytest

from tests.scripted import Answer, Ran, Scripted, Shell, scripted

_LINES = (
    {"response": "Se", "done": False},
    {"response": "ven", "done": False},
    {"response": "", "done": True, "total_duration": 4935886791, "eval_count": 237, "eval_duration": 4289432000},
)
_HELLO = {"GET /": Answer(), "POST /api/show": Answer({"capabilities": ["completion"]})}
_WORLD = {**_HELLO, "POST /api/generate": Answer(lines=_LINES)}


def _asked(
    shell: Shell, *args: str, piped: str = "", capabilities: tuple[str, ...] = ("completion",)
) -> dict[str, Any]:
    """The one request for text that a command makes."""
    with scripted({**_WORLD, "POST /api/show": Answer({"capabilities": capabilities})}) as server:
        ran = shell("run", *args, server=server, piped=piped)
        assert (ran.status, ran.err) == (0, "")
        (request,) = server.bodies("/api/generate")
    return dict(request)


def test_the_answer_is_printed_with_two_line_ends(shell: Shell) -> None:
    with scripted(_WORLD) as server:
        assert shell("run", "m", "hi", server=server) == Ran(0, "Seven\n\n", "")
    assert server.bodies("/api/show") == [{"model": "m"}]


@pytest.mark.parametrize(
    ("args", "piped", "prompt"),
    [
        (["translate"], "hello\n", "hello\n translate"),
        (["a", "b  c"], "", "a b  c"),
        ([], "hello\n", "hello\n"),
        (["--prompt", "p", "a"], "hello", "hello p a"),
        (["--", "--verbose"], "", "--verbose"),
        (["a", "--seed", "1", "b"], "", "a b"),
        ([""], "", ""),
        ([], "", ""),
    ],
)
def test_the_prompt_is_what_was_piped_and_the_words(shell: Shell, args: list[str], piped: str, prompt: str) -> None:
    assert _asked(shell, "m", *args, piped=piped)["prompt"] == prompt


def test_an_empty_prompt_loads_and_prints_nothing(shell: Shell) -> None:
    loaded = Answer(lines=({"response": "", "done": True, "done_reason": "load"},))
    with scripted({**_HELLO, "POST /api/generate": loaded}) as server:
        assert shell("run", "m", "", server=server) == Ran(0, "", "")


def test_bare_words_ask_for_nothing_more(shell: Shell) -> None:
    assert _asked(shell, "m", "hi") == {"model": "m", "prompt": "hi"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--format json", {"format": "json"}),
        ('--format {"type":"object"}', {"format": {"type": "object"}}),
        ("--keepalive 1h30m", {"keep_alive": "1h30m0s"}),
        ("--keepalive 0", {"keep_alive": "0s"}),
        ("--keep-alive -1s", {"keep_alive": -1}),
        ("--think", {"think": True}),
        ("--think=", {"think": True}),
        ("--think=false", {"think": False}),
        ("--think=high", {"think": "high"}),
        ("--system S --template T", {"system": "S", "template": "T"}),
        (
            "--temperature 0 --top-p 0.5 --top-k 1 --num-predict -1 --num-ctx 512 --repeat-penalty 1.1 --seed 0",
            {
                "options": {
                    "temperature": 0.0,
                    "top_p": 0.5,
                    "top_k": 1,
                    "num_predict": -1,
                    "num_ctx": 512,
                    "repeat_penalty": 1.1,
                    "seed": 0,
                }
            },
        ),
    ],
)
def test_flags_become_fields_of_the_request(shell: Shell, line: str, said: dict[str, Any]) -> None:
    assert _asked(shell, "m", "hi", *line.split()) == {"model": "m", "prompt": "hi", **said}


def test_a_model_that_can_think_is_asked_to(shell: Shell) -> None:
    can = ("completion", "thinking")
    assert _asked(shell, "m", "hi", capabilities=can)["think"] is True
    assert _asked(shell, "m", "hi", "--think=false", capabilities=can)["think"] is False


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--keepalive 10", 'time: missing unit in duration "10"'),
        ("--think=x", 'invalid value for --think: "x" (must be true, false, high, medium, low, or max)'),
        ("--format text", "invalid value for --format: neither json nor a JSON schema: "),
    ],
)
def test_a_value_that_cannot_be_is_refused(shell: Shell, line: str, complaint: str) -> None:
    with scripted(_WORLD) as server:
        ran = shell("run", "m", "hi", *line.split(), server=server)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith(f"Error: {complaint}")


def test_thinking_is_plain_text_in_a_pipe(shell: Shell) -> None:
    lines = ({"thinking": "3 and 4", "response": ""}, *_LINES)
    with scripted({**_HELLO, "POST /api/generate": Answer(lines=lines)}) as server:
        assert shell("run", "m", "hi", server=server).out == "Thinking...\n3 and 4\n...done thinking.\n\nSeven\n\n"
        assert shell("run", "m", "hi", "--hidethinking", server=server).out == "Seven\n\n"


def test_statistics_go_to_standard_error(shell: Shell) -> None:
    with scripted(_WORLD) as server:
        ran = shell("run", "m", "hi", "--verbose", server=server)
    assert ran.out == "Seven\n\n"
    assert ran.err == (
        "total duration:       4.935886791s\n"
        "eval count:           237 token(s)\n"
        "eval duration:        4.289432s\n"
        "eval rate:            55.25 tokens/s\n"
    )


def test_without_an_end_there_are_no_statistics(shell: Shell) -> None:
    with scripted({**_HELLO, "POST /api/generate": Answer(lines=_LINES[:2])}) as server:
        assert shell("run", "m", "hi", "--verbose", server=server) == Ran(0, "Seven\n\n", "")


def test_a_pipe_gets_the_bare_text(shell: Shell) -> None:
    text = "x\x1b[31m" + "word " * 60
    with scripted({**_HELLO, "POST /api/generate": Answer(lines=({"response": text, "done": True},))}) as server:
        assert shell("run", "m", "hi", server=server).out == f"{text}\n\n"


@pytest.mark.parametrize(
    ("answer", "out", "complaint"),
    [
        (Answer({"error": "bad"}, 400), "", "400 Bad Request: bad"),
        (Answer(lines=(_LINES[0], {"error": "boom"})), "Se", "boom"),
    ],
)
def test_an_error_of_the_server_is_told(shell: Shell, answer: Answer, out: str, complaint: str) -> None:
    with scripted({**_HELLO, "POST /api/generate": answer}) as server:
        assert shell("run", "m", "hi", server=server) == Ran(1, out, f"Error: {complaint}\n")


_ABSENT = Answer({"error": "model 'm' not found"}, 404)


@pytest.mark.parametrize(("flags", "more"), [([], {}), (["--insecure"], {"insecure": True})])
def test_a_model_that_is_not_there_is_pulled_first(shell: Shell, flags: list[str], more: dict[str, Any]) -> None:
    """Section 9."""
    shown = iter([_ABSENT, Answer({"capabilities": ["completion"]})])
    pulled = Answer(lines=({"status": "pulling manifest"}, {"status": "success"}))
    with scripted({**_WORLD, "POST /api/show": lambda _: next(shown), "POST /api/pull": pulled}) as server:
        assert shell("run", "m", "hi", *flags, server=server) == Ran(0, "Seven\n\n", "pulling manifest\nsuccess\n")
    assert server.bodies("/api/pull") == [{"model": "m", **more}]


def test_a_model_that_nobody_has_is_told(shell: Shell) -> None:
    lines = ({"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"})
    with scripted({"POST /api/show": _ABSENT, "POST /api/pull": Answer(lines=lines)}) as server:
        ran = shell("run", "m", "hi", server=server)
    assert ran == Ran(1, "", "pulling manifest\nError: pull model manifest: file does not exist\n")


def test_a_model_that_may_not_be_shown_is_not_pulled(shell: Shell) -> None:
    with scripted({"POST /api/show": Answer({"error": "ollama cloud is disabled"}, 403)}) as server:
        assert shell("run", "m:cloud", "hi", server=server) == Ran(1, "", "Error: ollama cloud is disabled\n")


def _embedding(vector: bytes) -> dict[str, Answer]:
    return {
        "POST /api/show": Answer({"capabilities": ["embedding"]}),
        "POST /api/embed": Answer(b'{"model":"m","embeddings":[' + vector + b"]}"),
    }


def test_an_embedding_model_prints_its_vector_as_it_came(shell: Shell) -> None:
    with scripted(_embedding(b"[0.1,-1e-7,0.0000123,1]")) as server:
        ran = shell("run", "m", "hi", "--truncate", "--dimensions", "4", "--keepalive", "1m", server=server)
    assert ran == Ran(0, "[0.1,-1e-7,0.0000123,1]\n", "")
    assert server.bodies("/api/embed") == [
        {"model": "m", "input": "hi", "truncate": True, "dimensions": 4, "keep_alive": "1m0s"}
    ]


def test_truncate_is_sent_only_when_it_was_given(shell: Shell) -> None:
    with scripted(_embedding(b"[1]")) as server:
        shell("run", "m", "hi", server=server)
        shell("run", "m", "hi", "--truncate=false", server=server)
    assert server.bodies("/api/embed") == [
        {"model": "m", "input": "hi"},
        {"model": "m", "input": "hi", "truncate": False},
    ]


def test_an_embedding_model_needs_a_text(shell: Shell) -> None:
    with scripted(_embedding(b"")) as server:
        assert shell("run", "m", server=server).err == (
            'Error: embedding models require input text. Usage: a3s-power run m "your text here"\n'
        )
        assert shell("run", "m", "hi", server=server).err == "Error: no embeddings returned\n"


def test_cp_tells_what_it_copied(shell: Shell) -> None:
    with scripted({"POST /api/copy": Answer()}) as server:
        assert shell("cp", "a", "b", server=server) == Ran(0, "copied 'a' to 'b'\n", "")
    assert server.bodies("/api/copy") == [{"source": "a", "destination": "b"}]


def _models(*names: str, unload: Answer | None = None) -> dict[str, Any]:
    """Answers of a server that has these models, and unloads them with this answer."""

    def known(asked: Any) -> Answer:
        model = asked.body["model"]
        return Answer() if model in names else Answer({"error": f"model '{model}' not found"}, 404)

    gone = unload or Answer(lines=({"done": True, "done_reason": "unload"},))
    return {"POST /api/show": known, "DELETE /api/delete": known, "POST /api/generate": gone}


def _calls(server: Scripted) -> list[str]:
    return [f"{asked.method} {asked.path} {asked.body['model']}" for asked in server.asked]


def test_stop_unloads_and_says_nothing(shell: Shell) -> None:
    with scripted(_models("m")) as server:
        assert shell("stop", "m", server=server) == Ran(0, "", "")
        assert server.bodies("/api/generate") == [{"model": "m", "keep_alive": "0s"}]
        assert shell("stop", "x", server=server) == Ran(1, "", 'Error: couldn\'t find model "x" to stop\n')


def test_rm_unloads_and_deletes_one_after_the_other(shell: Shell) -> None:
    with scripted(_models("a", "c")) as server:
        ran = shell("rm", "a", "b", "c", server=server)
    assert ran == Ran(1, "deleted 'a'\n", "Error: model 'b' not found\n")
    assert _calls(server) == [
        "POST /api/show a",
        "POST /api/generate a",
        "DELETE /api/delete a",
        "POST /api/show b",
        "DELETE /api/delete b",
    ]


def test_rm_goes_on_when_a_model_cannot_be_stopped(shell: Shell) -> None:
    with scripted(_models("a", unload=Answer({"error": "boom"}, 500))) as server:
        ran = shell("delete", "a", server=server)
    assert ran == Ran(0, "deleted 'a'\n", "Warning: unable to stop model 'a'\n")
