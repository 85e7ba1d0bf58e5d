"""Sections 3 and 4 of the sheet: what list, ps and show print, to the last blank."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.scripted import Answer, Ran, Shell, scripted


def _ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


_MODEL = {
    "name": "gemma3:latest",
    "model": "gemma3:latest",
    "size": 3338801804,
    "digest": "a2af6cc3eb7fa8be8504abaf9b04e88f17a119ec3f04a3addf55f92841195f5a",
}
_REMOTE = {**_MODEL, "name": "gpt-oss:120b-cloud", "size": 384, "remote_model": "gpt-oss:120b", "remote_host": "x"}
_GONE = "0001-01-01T00:00:00Z"


def test_list_prints_the_table_of_the_sheet(shell: Shell) -> None:
    models = [{**_MODEL, "modified_at": _ago(minutes=3, seconds=5)}]
    with scripted({"GET /api/tags": Answer({"models": models})}) as server:
        assert shell("list", server=server) == Ran(
            0,
            "NAME             ID              SIZE      MODIFIED      \n"
            "gemma3:latest    a2af6cc3eb7f    3.3 GB    3 minutes ago    \n",
            "",
        )
        assert shell("ls", server=server) == shell("list", server=server)


def test_list_shows_remote_models_without_a_size_and_no_time_as_never(shell: Shell) -> None:
    models = [{**_REMOTE, "modified_at": _GONE}]
    with scripted({"GET /api/tags": Answer({"models": models})}) as server:
        (_, line) = shell("list", server=server).out.splitlines()
    assert line == "gpt-oss:120b-cloud    a2af6cc3eb7f    -       Never       "


def test_an_empty_store_is_a_header(shell: Shell) -> None:
    with scripted({"GET /api/tags": Answer({"models": []})}) as server:
        assert shell("list", server=server).out == "NAME    ID    SIZE    MODIFIED \n"


@pytest.mark.parametrize(("prefix", "count"), [("GEM", 1), ("gemma3:latest", 1), ("x", 0), ("", 2)])
def test_list_takes_a_prefix_in_any_case(shell: Shell, prefix: str, count: int) -> None:
    models = [{**_MODEL, "modified_at": _GONE}, {**_REMOTE, "modified_at": _GONE}]
    with scripted({"GET /api/tags": Answer({"models": models})}) as server:
        assert len(shell("list", prefix, server=server).out.splitlines()) == 1 + count


def test_ps_prints_the_table_of_the_sheet(shell: Shell) -> None:
    model = {
        **_MODEL,
        "name": "gemma4:latest",
        "digest": "c6eb396dbd59" + "0" * 52,
        "size": 9608338848,
        "size_vram": 9608338848,
        "context_length": 131072,
        "expires_at": _ago(seconds=-150),
    }
    with scripted({"GET /api/ps": Answer({"models": [model]})}) as server:
        assert shell("ps", server=server).out == (
            "NAME             ID              SIZE      PROCESSOR    CONTEXT    UNTIL              \n"
            "gemma4:latest    c6eb396dbd59    9.6 GB    100% GPU     131072     2 minutes from now    \n"
        )


@pytest.mark.parametrize(
    ("size", "on_gpu", "text"),
    [
        (100, 0, "100% CPU"),
        (0, 0, "100% CPU"),
        (100, 100, "100% GPU"),
        (100, 101, "Unknown"),
        (100, 52, "48%/52% CPU/GPU"),
        (1000, 995, "1%/99% CPU/GPU"),
    ],
)
def test_ps_tells_where_the_weights_are(shell: Shell, size: int, on_gpu: int, text: str) -> None:
    model = {**_MODEL, "size": size, "size_vram": on_gpu, "context_length": 1, "expires_at": _GONE}
    with scripted({"GET /api/ps": Answer({"models": [model]})}) as server:
        assert f"    {text}    " in shell("ps", server=server).out


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "Stopping..."), (275, "4 minutes from now"), (292 * 365 * 86400, "Forever")]
)
def test_ps_tells_how_long_a_model_stays(shell: Shell, seconds: float, text: str) -> None:
    model = {**_MODEL, "size_vram": 0, "context_length": 4096, "expires_at": _ago(seconds=-seconds)}
    with scripted({"GET /api/ps": Answer({"models": [model]})}) as server:
        assert shell("ps", server=server).out.splitlines()[1].endswith(f"4096       {text}    ")


def test_ps_says_beside_the_table_what_was_not_loaded_as_asked_for(shell: Shell) -> None:
    model = {"name": "a:latest", "size": 1, "reason": "num_ctx 8192 -> 4096", "placement": "CPU, 1 slot of 4096 tokens"}
    with scripted({"GET /api/ps": Answer({"models": [model, {"name": "b:latest"}]})}) as server:
        ran = shell("ps", server=server)
    assert ran.err == "a:latest: num_ctx 8192 -> 4096 (CPU, 1 slot of 4096 tokens)\n"
    assert len(ran.out.splitlines()) == 3


@pytest.mark.parametrize(("prefix", "count"), [("gem", 1), ("GEM", 0)])
def test_ps_takes_a_prefix_in_its_own_case(shell: Shell, prefix: str, count: int) -> None:
    model = {**_MODEL, "size_vram": 0, "context_length": 4096, "expires_at": _GONE}
    with scripted({"GET /api/ps": Answer({"models": [model]})}) as server:
        assert len(shell("ps", prefix, server=server).out.splitlines()) == 1 + count


_LICENSE = "LLAMA 3.2 COMMUNITY LICENSE AGREEMENT\n\n  Llama 3.2 Version Release Date: September 25, 2024\nmore\n"
_PARAMETERS = "\n".join(f'{"stop":30} "<|{name}_header_id|>"' for name in ("start", "end"))
_SHOWN: dict[str, Any] = {
    "license": _LICENSE,
    "modelfile": "FROM x\n",
    "parameters": _PARAMETERS,
    "template": "{{ .Prompt }}",
    "system": "Be\nbrief.",
    "details": {"family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"},
    "model_info": {
        "general.architecture": "llama",
        "general.parameter_count": 3212749888,
        "llama.context_length": 131072,
        "llama.embedding_length": 3072,
        "llama.rope.freq_base": 500000,
        "llama.eps": 1e-05,
        "x.bool": True,
        "x.none": None,
        "x.tokens": ["!", '"', "#"] + ["x"] * 128253,
        "x.short": [1, 2],
    },
    "tensors": [{"name": "token_embd.weight", "type": "Q6_K", "shape": [3072, 128256]}],
    "capabilities": ["completion", "tools"],
}
_PAGE = (
    "  Model\n"
    "    architecture        llama     \n"
    "    parameters          3.2B      \n"
    "    context length      131072    \n"
    "    embedding length    3072      \n"
    "    quantization        Q4_K_M    \n"
    "\n"
    "  Capabilities\n"
    "    completion    \n"
    "    tools         \n"
    "\n"
    "  Parameters\n"
    '    stop    "<|start_header_id|>"    \n'
    '    stop    "<|end_header_id|>"      \n'
    "\n"
)
_TEXTS = (
    "  System\n"
    "    Be        \n"
    "    brief.    \n"
    "\n"
    "  License\n"
    "    LLAMA 3.2 COMMUNITY LICENSE AGREEMENT                 \n"
    "    Llama 3.2 Version Release Date: September 25, 2024    \n"
    "    ...                                                   \n"
    "\n"
)
_VERBOSE = (
    "  Metadata\n"
    "    general.architecture       llama                      \n"
    "    general.parameter_count    3.212749888e+09            \n"
    "    llama.context_length       131072                     \n"
    "    llama.embedding_length     3072                       \n"
    "    llama.eps                  1e-05                      \n"
    "    llama.rope.freq_base       500000                     \n"
    "    x.bool                     true                       \n"
    "    x.none                     <nil>                      \n"
    "    x.short                    [1 2]                      \n"
    '    x.tokens                   [! " # ...+128253 more]    \n'
    "\n"
    "  Tensors\n"
    "    token_embd.weight    Q6_K    [3072 128256]    \n"
    "\n"
)


def test_show_prints_the_page_of_the_sheet(shell: Shell) -> None:
    with scripted({"POST /api/show": Answer(_SHOWN)}) as server:
        assert shell("show", "llama3.2", server=server) == Ran(0, _PAGE + _TEXTS, "")
    assert server.bodies("/api/show") == [{"model": "llama3.2", "verbose": False}]


def test_show_verbose_adds_metadata_and_tensors(shell: Shell) -> None:
    with scripted({"POST /api/show": Answer(_SHOWN)}) as server:
        assert shell("show", "m", "-v", server=server).out == _PAGE + _VERBOSE + _TEXTS
    assert server.bodies("/api/show") == [{"model": "m", "verbose": True}]


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("license", _LICENSE + "\n"),
        ("modelfile", "FROM x\n\n"),
        ("parameters", _PARAMETERS + "\n"),
        ("system", "Be\nbrief."),
        ("template", "{{ .Prompt }}"),
    ],
)
def test_show_prints_one_part(shell: Shell, part: str, text: str) -> None:
    with scripted({"POST /api/show": Answer(_SHOWN)}) as server:
        assert shell("show", "m", f"--{part}", server=server) == Ran(0, text, "")


def test_show_of_a_remote_model_names_it_and_where_it_is(shell: Shell) -> None:
    answer = {"remote_model": "gpt-oss:120b", "remote_host": "https://x.example", "details": {"family": "gptoss"}}
    with scripted({"POST /api/show": Answer(answer)}) as server:
        assert shell("show", "m", server=server).out == (
            "  Model\n"
            "    Remote model    gpt-oss:120b         \n"
            "    Remote URL      https://x.example    \n"
            "    architecture    gptoss               \n"
            "    parameters                           \n"
            "    quantization                         \n"
            "\n"
        )


def test_show_of_a_projector(shell: Shell) -> None:
    info = {"general.architecture": "clip", "general.parameter_count": 415000000}
    info |= {"clip.vision.embedding_length": 1152, "clip.vision.projection_dim": 2560}
    answer = {"details": {}, "model_info": {"general.architecture": "g"}, "projector_info": info, "requires": "0.14.0"}
    with scripted({"POST /api/show": Answer(answer)}) as server:
        assert shell("show", "m", server=server).out == (
            "  Model\n"
            "    architecture    g         \n"
            "    quantization              \n"
            "    requires        0.14.0    \n"
            "\n"
            "  Projector\n"
            "    architecture        clip    \n"
            "    parameters          415M    \n"
            "    embedding length    1152    \n"
            "    dimensions          2560    \n"
            "\n"
        )


def test_show_of_an_unknown_model_says_what_the_server_says(shell: Shell) -> None:
    with scripted({"POST /api/show": Answer({"error": "model 'x:latest' not found"}, 404)}) as server:
        assert shell("show", "x", server=server) == Ran(1, "", "Error: model 'x:latest' not found\n")


def test_hostile_names_and_texts_are_harmless(shell: Shell) -> None:
    models = [{**_MODEL, "name": "a\x1b]0;t\x07\nb\u202e", "modified_at": _GONE}]
    answer = {**_SHOWN, "license": "\x1b[2Jbad\x9b31m\rx", "system": ""}
    with scripted({"GET /api/tags": Answer({"models": models}), "POST /api/show": Answer(answer)}) as server:
        assert "\na\\x1b]0;t\\x07 b\\u202e    a2af6cc3eb7f" in shell("list", server=server).out
        out = shell("show", "m", server=server).out
    assert "    \\x1b[2Jbad\\x9b31m" in out
    assert "\x1b" not in out
