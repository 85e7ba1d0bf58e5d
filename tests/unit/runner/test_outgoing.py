"""Frames of many threads on one socket: all of them arrive, those of a thread in order, also through a narrow pipe."""

import socket
import threading

import pytest

from a3s_power.core.events import Text
from a3s_power.runner.frames import FrameReader, FromRunner, Said
from a3s_power.runner.outgoing import Outgoing

_THREADS = 8
_FRAMES = 300


@pytest.mark.parametrize("text", ["x", "long " * 2000], ids=["short", "long"])
def test_every_frame_arrives_and_each_threads_in_order(text: str) -> None:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    outgoing = Outgoing(ours, gone=1)

    def say(job: int) -> None:
        for number in range(_FRAMES):
            outgoing.send(Said(job, Text(f"{number} {text}")))

    threads = [threading.Thread(target=say, args=(job,)) for job in range(_THREADS)]
    for thread in threads:
        thread.start()
    heard: dict[int, list[str]] = {job: [] for job in range(_THREADS)}
    reader: FrameReader[FromRunner] = FrameReader(FromRunner)  # type: ignore[arg-type]  # a union is no type to mypy
    while sum(map(len, heard.values())) < _THREADS * _FRAMES:
        for message in reader.feed(theirs.recv(1 << 16)):
            assert isinstance(message, Said)
            assert isinstance(message.event, Text)
            heard[message.job].append(message.event.text)
    for thread in threads:
        thread.join()
    assert set(map(tuple, heard.values())) == {tuple(f"{number} {text}" for number in range(_FRAMES))}
    ours.close()
    theirs.close()


def test_a_frame_that_nobody_follows_is_sent_at_once() -> None:
    ours, theirs = socket.socketpair()
    theirs.settimeout(30)
    outgoing = Outgoing(ours, gone=1)
    reader: FrameReader[FromRunner] = FrameReader(FromRunner)  # type: ignore[arg-type]  # as above
    for number in range(3):
        outgoing.send(Said(number, Text("x")))
        assert list(reader.feed(theirs.recv(1 << 16))) == [Said(number, Text("x"))]
    ours.close()
    theirs.close()
