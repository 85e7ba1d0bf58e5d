"""The last lines of a child, and what in them says why."""

import re

import pytest

from a3s_power.runner.tail import Tail, how_it_ended, is_error, likely_reason, plain

FAILED_LOAD = """\
0.00.006.200 I system_info: n_threads = 1
0.00.006.244 E llama_model_load: error loading model: unknown model architecture: 'xxxxx'
0.00.006.300 E llama_model_load_from_file_impl: failed to load model
0.00.006.400 E cmn  common_init_: failed to load model '/models/x'
"""


def _tail(text: str) -> Tail:
    tail = Tail()
    for line in text.splitlines():
        tail.add(line)
    return tail


def test_a_load_fails_for_the_first_reason() -> None:
    assert (
        _tail(FAILED_LOAD).load_reason == "llama_model_load: error loading model: unknown model architecture: 'xxxxx'"
    )


def test_a_death_has_the_last_reason() -> None:
    lines = FAILED_LOAD + "/src/ggml.c:12: GGML_ASSERT(n > 0) failed\n0.01.000.000 W and a warning\n"
    assert _tail(lines).death_reason == "/src/ggml.c:12: GGML_ASSERT(n > 0) failed"


def test_without_a_word_there_is_no_reason() -> None:
    tail = _tail("0.00.006.200 I all is well\njust talking\n\n")
    assert (tail.load_reason, tail.death_reason, tail.lines) == ("", "", ("0.00.006.200 I all is well", "just talking"))


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("0.00.006.244 E llama: bad", True),
        ("0.00.006.244 W llama: odd", False),
        ("0.00.006.244 D ZeroDivisionError", False),
        ("0.00.017.533 E srv    send_error: task id = 0, error: Prompt contains invalid tokens", False),
        ("terminate called after throwing an instance of 'std::system_error'", True),
        ("  what():  Resource temporarily unavailable", True),
        ("CUDA error: out of memory", True),
        ("ValueError: not one of ours", True),
        ("torch.cuda.OutOfMemoryError: CUDA out of memory", True),
        ("Traceback (most recent call last):", False),
        ("loading the Error model", False),
    ],
)
def test_errors_are_known_from_talk(line: str, error: bool) -> None:
    assert is_error(line) is error


@pytest.mark.parametrize(
    "line",
    [
        "0.00.006.244 E ggml_aligned_malloc: insufficient memory (attempted to allocate 61035.16 MB)",
        "0.00.006.244 E llama_init_from_model: failed to initialize the context: std::bad_alloc",
        "0.00.006.244 E ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory",
        "MemoryError",
    ],
)
def test_a_lack_of_memory_is_known(line: str) -> None:
    assert _tail(line).out_of_memory


def test_only_the_last_lines_are_kept_and_none_of_them_is_long() -> None:
    tail = _tail("\n".join(f"line {n}" for n in range(1000)) + "\n" + "x" * 100_000)
    assert tail.lines[0] == "line 971"
    assert (len(tail.lines), len(tail.lines[-1])) == (30, 2000)


def test_what_was_said_while_loading_is_no_reason_of_a_later_death() -> None:
    tail = _tail(FAILED_LOAD)
    tail.forget()
    assert (tail.load_reason, tail.death_reason) == ("", "")


def test_time_and_level_are_left_out() -> None:
    assert plain("0.00.006.244 E llama: bad") == "llama: bad"
    assert plain("anything else") == "anything else"


def test_an_assertion_about_the_model_is_told_in_words() -> None:
    line = "/src/llama-vocab.cpp:2665: GGML_ASSERT(id_to_token.size() == token_to_id.size()) failed"
    assert _tail(line).death_reason == "the vocabulary has a token twice: llama.cpp cannot load such a model"


@pytest.mark.parametrize(
    "line",
    [
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "  what():  Resource temporarily unavailable",
        "RuntimeError: can't start new thread",
        "/ggml/src/ggml.c:1644: GGML_ASSERT(ctx->mem_buffer != NULL) failed",
        "MemoryError",
        "0.00.102.701 E ggml_aligned_malloc: insufficient memory (attempted to allocate 554.91 MB)",
    ],
)
def test_all_the_ways_to_run_out_of_memory_are_known(line: str) -> None:
    tail = _tail(line)
    assert tail.out_of_memory
    assert re.search(r"memory|bad_alloc", tail.death_reason, re.IGNORECASE)


@pytest.mark.parametrize(
    ("code", "taken", "reason"),
    [
        (-9, 0, "most likely for lack of memory"),
        (-9, 10**9, "most likely for lack of memory (the model takes 1 GB)"),
        (-6, 10**9, ""),
        (1, 10**9, ""),
    ],
)
def test_who_is_killed_without_a_word_was_so_most_likely_for_lack_of_memory(code: int, taken: int, reason: str) -> None:
    assert likely_reason(code, taken) == reason


@pytest.mark.parametrize(
    ("code", "words"),
    [(-9, "killed by SIGKILL"), (-6, "killed by SIGABRT"), (-99, "killed by signal 99"), (1, "exit status 1")],
)
def test_an_exit_code_in_words(code: int, words: str) -> None:
    assert how_it_ended(code) == words
