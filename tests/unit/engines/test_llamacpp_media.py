"""Images for llama.cpp: what goes over its own route, and that its chunks are those of the other routes."""

import base64
import json

import pytest

from a3s_power.core.errors import PromptTooLong
from a3s_power.core.options import DEFAULTS
from a3s_power.engines import llamacpp_media
from a3s_power.engines import llamacpp_wire as wire
from a3s_power.engines.engine import Job, Piece
from a3s_power.engines.llamacpp_stream import Stream

_PIECES = [
    {"content": "", "tokens": [0], "tokens_predicted": 0, "stop": False, "prompt_progress": {"total": 9}},
    {"content": "The", "tokens": [5], "tokens_predicted": 1, "stop": False},
    {"content": " end", "tokens": [6], "tokens_predicted": 2, "stop": False},
]
_LAST = {
    "content": "",
    "tokens": [],
    "tokens_predicted": 3,
    "stop": True,
    "timings": {"cache_n": 4, "prompt_n": 5, "prompt_ms": 1.5, "predicted_n": 3, "predicted_ms": 2.0},
}


def test_files_travel_beside_the_text_that_marks_their_places() -> None:
    prompt = llamacpp_media.prompt("a <m> b <m>", [b"one", b"two"])
    body = json.loads(wire.completion(Job("", DEFAULTS), prompt, 100))
    assert body["prompt"]["prompt_string"] == "a <m> b <m>"
    assert [base64.b64decode(data) for data in body["prompt"]["multimodal_data"]] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("stop_type", "word", "reason"),
    [("eos", "", "stop"), ("limit", "", "length"), ("word", "x", "stop")],
)
def test_a_generation_is_read_as_on_the_other_routes(stop_type: str, word: str, reason: str) -> None:
    said: list[Piece] = []
    stream = Stream(Job("", DEFAULTS), said.append, llamacpp_media.decode_chunk)
    for chunk in [*_PIECES, _LAST | {"stop_type": stop_type, "stopping_word": word}]:
        assert not stream.take(json.dumps(chunk).encode())
    outcome = stream.outcome()
    assert [piece.text for piece in said] == ["The", " end"]
    assert (outcome.reason, outcome.stop_text) == (reason, word)
    assert (outcome.prompt_tokens, outcome.cached_tokens, outcome.output_tokens) == (9, 4, 3)


def test_an_error_in_mid_stream_ends_it() -> None:
    stream = Stream(Job("", DEFAULTS), lambda _: None, llamacpp_media.decode_chunk)
    assert stream.take(b'{"error":{"code":500,"message":"broken","type":"server_error"}}')
    with pytest.raises(Exception, match="broken"):
        stream.outcome()


@pytest.mark.parametrize(("architecture", "tokens"), [("qwen2vl", 1024), ("qwen3vlmoe", 1024), ("llama", -1)])
def test_some_models_see_only_in_detail(architecture: str, tokens: int) -> None:
    assert llamacpp_media.least_tokens(architecture) == tokens


def test_a_count_is_what_the_first_chunk_tells_of_the_prompt() -> None:
    counter = llamacpp_media.Counter()
    assert not counter.take(json.dumps({"content": ""}).encode())
    assert counter.take(json.dumps(_PIECES[0]).encode())
    assert counter.tokens == 9


def test_a_count_that_cannot_be_made_says_why() -> None:
    refused = {"error": {"code": 400, "message": "no room", "type": "exceed_context_size_error", "n_prompt_tokens": 7}}
    with pytest.raises(PromptTooLong) as raised:
        llamacpp_media.Counter().take(json.dumps(refused).encode())
    assert raised.value.tokens == 7
