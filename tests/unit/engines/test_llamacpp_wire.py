"""What goes to llama.cpp and what comes back: only known fields, no trap value, every error as one of ours."""

import json
import math
from typing import Any

import pytest

from a3s_power.core.errors import EngineFailed, EngineRefused, PowerError, PromptTooLong
from a3s_power.core.events import Logprob, TokenLogprob
from a3s_power.core.options import DEFAULTS, KINDS, NAMES, Options
from a3s_power.engines import llamacpp_wire as wire
from a3s_power.engines.engine import Job, Outcome, Piece
from a3s_power.engines.llamacpp_stream import Stream

# Every field that build b11549 was seen to read; whatever else is sent would be ignored in silence.
KNOWN = {
    *("prompt", "stream", "return_progress", "n_predict", "stop", "preserved_tokens", "n_probs", "n_keep", "seed"),
    *("temperature", "top_k", "top_p", "min_p", "typical_p", "repeat_last_n", "repeat_penalty", "presence_penalty"),
    *("frequency_penalty", "mirostat", "mirostat_tau", "mirostat_eta", "dry_multiplier", "dry_base"),
    *("dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers", "xtc_probability", "xtc_threshold"),
    *("top_n_sigma", "dynatemp_range", "dynatemp_exponent", "adaptive_target", "adaptive_decay", "min_keep"),
    *("ignore_eos", "samplers", "logit_bias", "verbose", "grammar"),
}


def _body(options: Options = DEFAULTS, **job: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(wire.completion(Job("p", options, **job), "p", 1000))
    return body


def test_only_fields_that_the_engine_reads_are_sent() -> None:
    values: dict[str, Any] = {name: ("x",) if KINDS[name] == "array" else 1 for name in NAMES}
    body = _body(Options(**values), visible=["<t>"], top_logprobs=2, stop=["x"], logit_bias=((1, 2.0),), grammar="g")
    assert set(body) == KNOWN


def test_a_slot_is_named_only_where_one_was_chosen() -> None:
    job = Job("p", DEFAULTS)
    assert "id_slot" not in _body()
    assert json.loads(wire.completion(job, "p", 1000, 0))["id_slot"] == 0


def test_no_schema_is_ever_sent_since_it_would_not_be_enforced() -> None:
    assert {"json_schema", "response_format", "format"}.isdisjoint(KNOWN)


def test_a_request_can_always_be_cancelled() -> None:
    body = _body()
    assert (body["stream"], body["return_progress"]) == (True, True)


@pytest.mark.parametrize(
    ("asked", "sent"), [(-1, -1), (-2, -1), (-(2**31), -1), (0, 1), (1, 1), (2**31 - 1, 2**31 - 1)]
)
def test_limits_are_within_what_the_engine_takes(asked: int, sent: int) -> None:
    assert _body(max_tokens=asked)["n_predict"] == sent


@pytest.mark.parametrize(
    ("option", "sent"),
    [
        ({"repeat_last_n": -1}, {"repeat_last_n": 1000}),
        ({"repeat_last_n": 2**31 - 1}, {"repeat_last_n": 1000}),
        ({"repeat_last_n": 0}, {"repeat_last_n": 0}),
        ({"dry_penalty_last_n": -1}, {"dry_penalty_last_n": 1000}),
        ({"dry_allowed_length": -3, "min_keep": -1}, {"dry_allowed_length": 0, "min_keep": 0}),
        ({"samplers": ("top_k", "temperature")}, {"samplers": ["top_k", "temperature"]}),
        ({"num_keep": -5}, {"n_keep": -1}),
        ({"num_keep": 24}, {"n_keep": 24}),
        ({"seed": -1}, {"seed": 2**32 - 1}),
        ({"seed": 42}, {"seed": 42}),
        ({"seed": 2**32 + 7}, {"seed": 7}),
        ({"temperature": 0.0}, {"temperature": 0.0}),
    ],
    ids=str,
)
def test_options_are_translated(option: dict[str, Any], sent: dict[str, Any]) -> None:
    assert _body(Options(**option)).items() >= sent.items()


def test_what_nobody_said_is_not_sent() -> None:
    assert set(_body(Options())) == {"prompt", "stream", "return_progress", "n_predict", "stop"}


def test_a_forbidden_token_is_one_that_the_engine_bans() -> None:
    assert _body(logit_bias=((5, -math.inf), (7, 1.5)))["logit_bias"] == [[5, False], [7, 1.5]]


def test_more_is_asked_of_each_token_only_where_it_is_needed() -> None:
    assert "verbose" not in _body()
    assert _body(stop=["x"])["verbose"] is True
    assert _body(want_tokens=True)["verbose"] is True


def test_empty_stop_texts_are_left_out() -> None:
    assert _body(stop=["", "a", ""])["stop"] == ["a"]


def test_tokens_that_a_parser_needs_are_made_visible() -> None:
    assert _body(visible=("<tool_call>",))["preserved_tokens"] == ["<tool_call>"]


@pytest.mark.parametrize(("asked", "sent"), [(0, 1), (1, 1), (20, 20)])
def test_a_tokens_own_probability_needs_an_alternative(asked: int, sent: int) -> None:
    assert _body(top_logprobs=asked)["n_probs"] == sent


# The callback.

TEXT = b'{"choices":[{"text":" hi","index":0,"logprobs":null,"finish_reason":null}],"model":"m"}'
PROGRESS = b'{"choices":[{"text":"","logprobs":null,"finish_reason":null}],"prompt_progress":{"total":9,"processed":4}}'
LAST = (
    b'{"choices":[{"text":"","finish_reason":"length"}],"usage":{"prompt_tokens":10},"timings":'
    b'{"cache_n":9,"prompt_n":1,"prompt_ms":0.125,"predicted_n":2,"predicted_ms":0.13}}'
)


def _stream(emit: Any = lambda _: None, **job: Any) -> tuple[Stream, Job]:
    asked = Job("p", DEFAULTS, **job)
    return Stream(asked, emit), asked


def test_pieces_and_the_last_word() -> None:
    said = list[Piece]()
    stream, _ = _stream(said.append)
    assert [stream.take(chunk) for chunk in (PROGRESS, TEXT, LAST)] == [False, False, False]
    assert said == [Piece(" hi")]
    assert stream.outcome() == Outcome(
        reason="length", prompt_tokens=10, cached_tokens=9, output_tokens=2, prompt_ns=125_000, output_ns=130_000
    )


def _told(tokens: list[int], count: int, text: str = "") -> bytes:
    verbose = {"tokens": tokens, "tokens_predicted": count}
    return json.dumps({"choices": [{"text": text}], "__verbose": verbose}).encode()


def _end(count: int, **verbose: Any) -> bytes:
    choice = {"text": "", "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "__verbose": {"tokens_predicted": count} | verbose}).encode()


def test_a_stop_text_that_ended_it_is_told() -> None:
    stream, _ = _stream(stop=["x"])
    stream.take(_end(1, stop_type="word", stopping_word="x"))
    assert stream.outcome().stop_text == "x"


@pytest.mark.parametrize(
    ("chunks", "tokens"),
    [
        ([_told([0], 0), _told([5], 1, "a"), _told([7], 2, "b"), _end(2, stop_type="limit")], (5, 7)),
        ([_told([5], 1, "a"), _told([2], 2), _end(2, stop_type="eos")], (5,)),
        # Some of a character's bytes were a token that nobody was told of.
        ([_told([5], 1, "a"), _told([7], 3, "b"), _end(3, stop_type="limit")], None),
        ([_told([5], 1, "a"), _end(2, stop_type="limit")], None),
        # The tokens of the stop text are no part of the answer.
        ([_told([5], 1, "a"), _told([9], 2), _end(2, stop_type="word", stopping_word="x")], None),
    ],
    ids=["to the limit", "to its end", "hidden", "hidden at the end", "stopped"],
)
def test_an_answers_ids_are_told_where_the_engine_told_them_all(chunks: list[bytes], tokens: object) -> None:
    stream, _ = _stream(want_tokens=True)
    assert not any(stream.take(chunk) for chunk in chunks)
    assert stream.outcome().tokens == tokens


def test_whatever_the_listener_returns_the_stream_goes_on() -> None:
    stream, _ = _stream(lambda _: 5)  # as a socket's `send` would
    assert stream.take(TEXT) is False


def test_an_error_of_the_listener_ends_the_stream_and_is_not_swallowed() -> None:
    def emit(piece: Piece) -> None:
        raise BrokenPipeError("nobody listens")

    stream, _ = _stream(emit)
    assert stream.take(TEXT) is True
    with pytest.raises(BrokenPipeError, match="nobody listens"):
        stream.outcome()


def test_a_chunk_that_cannot_be_read_ends_the_stream_with_an_error() -> None:
    stream, _ = _stream()
    assert stream.take(b"{") is True
    with pytest.raises(ValueError, match="truncated"):
        stream.outcome()


@pytest.mark.parametrize("chunk", [PROGRESS, TEXT])
def test_a_cancelled_job_stops_at_the_next_chunk_even_while_the_prompt_is_read(chunk: bytes) -> None:
    said = list[Piece]()
    stream, job = _stream(said.append)
    job.cancelled = True
    assert stream.take(chunk) is True
    assert said == []
    assert stream.outcome().output_tokens == 0


def test_an_end_without_a_word_is_an_error() -> None:
    stream, _ = _stream()
    stream.take(TEXT)
    with pytest.raises(EngineFailed, match="without a word"):
        stream.outcome()


def test_a_limit_of_nothing_says_nothing_although_the_engine_makes_a_token() -> None:
    said = list[Piece]()
    stream, _ = _stream(said.append, max_tokens=0)
    stream.take(TEXT)
    stream.take(LAST)
    assert said == []
    assert (stream.outcome().reason, stream.outcome().output_tokens) == ("length", 0)


def test_log_probabilities_are_numbers_and_bytes_whatever_the_engine_says() -> None:
    token = {"id": 1, "token": "\ufffd", "bytes": [226, 130], "logprob": None}
    top = [{"token": "a", "bytes": [97], "logprob": -0.5}, {"token": "b", "bytes": [98], "logprob": 1e-9}]
    chunk = {"choices": [{"text": "", "logprobs": {"content": [{**token, "top_logprobs": top}]}}]}
    said = list[Piece]()
    stream, _ = _stream(said.append, top_logprobs=1)
    stream.take(json.dumps(chunk).encode())
    assert said == [Piece("", (TokenLogprob(Logprob("\ufffd", b"\xe2\x82", -9999.0), (Logprob("a", b"a", -0.5),)),))]


# Errors.


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 400, "message": "request (9 tokens) exceeds …", "type": "exceed_context_size_error"}, PromptTooLong),
        ({"code": 400, "message": "Prompt contains invalid tokens", "type": "invalid_request_error"}, EngineRefused),
        ({"code": 501, "message": "does not support embeddings", "type": "not_supported_error"}, EngineRefused),
        ({"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}, EngineFailed),
        ({"message": "odd"}, EngineFailed),
    ],
    ids=str,
)
def test_errors_are_told_apart(error: dict[str, Any], kind: type[PowerError]) -> None:
    stream, _ = _stream()
    assert stream.take(json.dumps({"error": error}).encode()) is True
    with pytest.raises(kind) as caught:
        stream.outcome()
    assert type(caught.value) is kind
    if kind is EngineFailed:
        assert caught.value.message == error["message"]
    else:
        assert json.loads(caught.value.message) == {"error": error}


def test_the_engines_json_is_kept_as_it_is() -> None:
    body = b'{"error":{"code":400,"message":"a \\"b\\"","type":"invalid_request_error"}}'
    assert wire.refusal_in(body).message == body.decode()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}"])
def test_an_answer_that_is_none_is_an_error(body: bytes) -> None:
    assert type(wire.refusal_in(body)) is EngineFailed
