"""Frames arrive as they were sent, however the bytes were cut; what is no frame is an error and never a crash."""

import contextlib
import math
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_power.core.errors import EngineFailed
from a3s_power.core.events import Done, Logprob, Progress, Rendered, Text, Thinking, TokenLogprob, ToolCalls
from a3s_power.core.messages import Message, Tool, ToolCall
from a3s_power.core.model import ModelFiles
from a3s_power.core.options import Options
from a3s_power.core.usage import Usage
from a3s_power.engines.engine import Loaded, LoadOptions
from a3s_power.runner import frames
from a3s_power.runner.frames import FrameReader, FromRunner, ToRunner, encode

texts = st.text(max_size=30)
tokens = st.lists(st.integers(-(2**31), 2**31)).map(tuple)
numbers = st.floats(allow_nan=False)
jobs = st.integers(0, 2**40)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | texts, lambda part: st.lists(part, max_size=3)
)
objects = st.dictionaries(texts, json, max_size=3)
logprobs = st.lists(st.builds(TokenLogprob, st.builds(Logprob, texts, st.binary(max_size=8), numbers)), max_size=2).map(
    tuple
)
events = st.one_of(
    st.builds(Progress, texts, texts, st.integers(0, 2**60)),
    st.builds(Text, texts, logprobs),
    st.builds(Thinking, texts, logprobs),
    st.builds(ToolCalls, st.lists(st.builds(ToolCall, name=texts, arguments=objects, id=texts), max_size=2).map(tuple)),
    st.builds(Rendered, texts, st.integers(0, 9)),
    st.builds(Done, st.sampled_from(["stop", "length"]), st.builds(Usage, prompt_tokens=jobs), st.none() | tokens),
)
messages = st.builds(
    Message,
    role=texts,
    content=texts,
    images=st.lists(st.binary(max_size=20), max_size=2).map(tuple),
    tool_calls=st.lists(st.builds(ToolCall, name=texts, arguments=objects), max_size=2).map(tuple),
)
to_runner = st.one_of(
    st.builds(frames.Load, st.builds(ModelFiles, weights=texts), st.builds(LoadOptions, context_length=jobs)),
    st.builds(
        frames.Run,
        job=jobs,
        text=st.none() | texts,
        messages=st.lists(messages, max_size=3).map(tuple),
        tools=st.lists(st.builds(Tool, name=texts, parameters=objects), max_size=2).map(tuple),
        think=st.sampled_from([None, True, False, "high"]),
        context=tokens,
        options=st.builds(Options, temperature=st.none() | numbers, stop=st.lists(texts).map(tuple)),
    ),
    st.builds(frames.Embed, job=jobs, texts=st.lists(texts).map(tuple)),
    st.builds(frames.Tokenize, job=jobs, text=texts),
    st.builds(frames.Detokenize, job=jobs, tokens=tokens),
    st.builds(frames.Cancel, jobs),
    st.just(frames.Shutdown()),
)
from_runner = st.one_of(
    st.builds(frames.Loading, numbers),
    st.builds(frames.Ready, st.builds(Loaded, context_length=jobs, parallel=jobs, memory_bytes=jobs, bos=texts)),
    st.builds(frames.Said, jobs, events),
    st.builds(frames.Vectors, jobs, st.integers(0, 9), st.binary(), jobs),
    st.builds(frames.Tokens, jobs, tokens),
    st.builds(frames.Detokenized, jobs, texts),
    st.builds(frames.Failed, jobs, texts, texts, st.booleans()),
    st.builds(frames.Stopped, jobs),
)


def _read(kind: Any, pieces: list[bytes]) -> list[Any]:
    reader = FrameReader[Any](kind)
    return [message for piece in pieces for message in reader.feed(piece)]


def _cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@given(said=st.lists(to_runner, max_size=4), sizes=st.lists(st.integers(0, 40), max_size=30))
def test_what_the_server_says_arrives_whole(said: list[Any], sizes: list[int]) -> None:
    assert _read(ToRunner, _cut(b"".join(map(encode, said)), sizes)) == said


@given(said=st.lists(from_runner, max_size=4), sizes=st.lists(st.integers(0, 40), max_size=30))
def test_what_a_child_says_arrives_whole(said: list[Any], sizes: list[int]) -> None:
    assert _read(FromRunner, _cut(b"".join(map(encode, said)), sizes)) == said


@given(data=st.binary(max_size=200))
def test_bytes_that_are_no_frame_are_an_error_of_the_engine(data: bytes) -> None:
    with contextlib.suppress(EngineFailed):
        _read(FromRunner, [data])


@given(body=st.binary(min_size=1, max_size=100))
def test_a_body_that_is_no_message_is_an_error_of_the_engine(body: bytes) -> None:
    try:
        read = _read(FromRunner, [len(body).to_bytes(4, "big") + body])
    except EngineFailed:
        return
    assert len(read) == 1


def test_a_frame_beyond_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(EngineFailed, match="over the limit"):
        _read(FromRunner, [(frames.MAX_FRAME_BYTES + 1).to_bytes(4, "big")])


def test_a_message_of_the_other_side_is_refused() -> None:
    with pytest.raises(EngineFailed, match="frame cannot be read"):
        _read(FromRunner, [encode(frames.Cancel(1))])


def test_frames_before_a_bad_one_are_read() -> None:
    kind: Any = FromRunner
    reader = FrameReader[Any](kind)
    stream = reader.feed(encode(frames.Stopped(1)) + b"\0\0\0\1\xc1")
    assert next(stream) == frames.Stopped(1)
    with pytest.raises(EngineFailed):
        next(stream)


def test_infinite_numbers_cross() -> None:
    (read,) = _read(FromRunner, [encode(frames.Loading(math.inf))])
    assert read.fraction == math.inf


def test_integers_of_more_than_64_bits_cross_as_floats() -> None:
    """As in Go's JSON; and what else is in the message stays what it is."""
    limits = {"least": -(2**63), "most": 2**64 - 1, "over": [2**70, -(2**64)], "far": 10**399}
    call = ToolCall(name="f", arguments=limits)
    message = Message(role="user", images=(b"\xff",), tool_calls=(call,))
    (run,) = _read(ToRunner, [encode(frames.Run(job=3, messages=(message,)))])
    (said,) = _read(FromRunner, [encode(frames.Said(1, ToolCalls((call,))))])
    expected = limits | {"over": [2.0**70, -(2.0**64)], "far": sys.float_info.max}
    assert run.messages[0].images == (b"\xff",)
    assert run.messages[0].tool_calls[0].arguments == said.event.calls[0].arguments == expected
    assert isinstance(said.event.calls[0].arguments["over"][0], float)
