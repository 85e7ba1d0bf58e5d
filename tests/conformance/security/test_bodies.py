"""The security sheet's rows on bodies: sizes, depth, numbers, strings, and what else a request may hold too much of."""

import gzip
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from a3s_power.core import limits
from a3s_power.core.events import Done, Text
from a3s_power.core.requests import Chat, Generate
from a3s_power.core.usage import Usage
from tests.fakes import FakeInference, client, service
from tests.running import playing

_DONE = (Text("a"), Done("stop", Usage()))
_HEAD = b"POST /api/copy HTTP/1.1\r\nHost: localhost\r\n"


def _post(folder: Path, content: bytes, path: str = "/api/chat", **headers: str) -> httpx2.Response:
    return client(folder, service(folder, FakeInference(*_DONE))).post(path, content=content, headers=headers)


def _with(**more: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]} | more).encode()


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[socket.socket]:
    """A connection to a real server."""
    with playing(service(tmp_path)) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(20)
        yield connection


@pytest.mark.parametrize("length", [b"2147483648", b"1000000000000000000", b"4194305"])
def test_a_body_is_refused_for_the_length_it_has_by_its_own_word(connection: socket.socket, length: bytes) -> None:
    """DOS-01."""
    connection.sendall(_HEAD + b"Content-Length: " + length + b"\r\n\r\n{")
    answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'{"error":"request body too large: the limit is 4 MiB"}' in answer
    assert b"connection: close" in answer


def test_a_body_without_end_is_refused_at_the_limit(connection: socket.socket) -> None:
    """DOS-01."""
    connection.sendall(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    sent = 0
    try:
        while sent < 20 * limits.MIB:
            connection.sendall(chunk)
            sent += 65536
    except ConnectionError:
        pass
    assert sent < 20 * limits.MIB


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"[" * 200_000, "request body is nested deeper than 128 levels"),
        (b'{"model":' + b"[" * 128 + b"]" * 128 + b"}", "request body is nested deeper than 128 levels"),
        (b'{"messages":[' + b"{}," * 1_000_000 + b"{}]}", "request body has more than 2000000 values"),
        (b'{"a":[' + b"1," * 10_000_000 + b"1]}", "request body has more than 2000000 values"),
        (b'{"a":' + b"9" * 5000 + b"}", "request body has a number of more than 400 characters"),
        (b'{"a":0.' + b"9" * 5000 + b"}", "request body has a number of more than 400 characters"),
        (_with(messages=[{}] * 20_000), "too many messages: the limit is 16384"),
        (_with(tools=[{}] * 513), "too many tools: the limit is 512"),
        (_with(messages=[{"images": ["aGk="] * 20}] * 2), "too many images: the limit is 32"),
        (_with(options={"stop": ["x"] * 65}), "too many stop strings: the limit is 64"),
        (_with(options={"stop": ["x" * 2000]}), "stop string too long: the limit is 1024 bytes"),
        (_with(top_logprobs=10**9), "top_logprobs must be between 0 and 20"),
    ],
)
def test_too_much_is_refused_by_the_limits_name(tmp_path: Path, content: bytes, error: str) -> None:
    """DOS-02, DOS-03, DOS-09, DOS-10: quickly, and never as our failure."""
    began = time.process_time()
    answer = _post(tmp_path, content)
    assert (answer.status_code, answer.json()) == (400, {"error": error})
    assert time.process_time() - began < 20


def test_a_wide_body_is_no_harm(tmp_path: Path) -> None:
    """DOS-02: a million keys are just unknown ones."""
    content = b'{"model":"m",' + b",".join(b'"k%d":1' % number for number in range(300_000)) + b"}"
    assert _post(tmp_path, content).status_code == 200


def test_depth_and_digits_in_a_text_are_just_text(tmp_path: Path) -> None:
    """DOS-02: as in a file somebody asks about."""
    text = '[{"' * 5000 + "9" * 5000 + '\\"\\\\' + '"}]' * 10
    played = FakeInference(*_DONE)
    content = _with(messages=[{"role": "user", "content": text}])
    assert client(tmp_path, service(tmp_path, played)).post("/api/chat", content=content).status_code == 200
    (asked,) = played.asked
    assert isinstance(asked, Chat)
    assert asked.messages[0].content == text


def test_too_many_inputs_are_refused(tmp_path: Path) -> None:
    """DOS-08."""
    answer = _post(tmp_path, json.dumps({"model": "m", "input": ["x"] * 2049}).encode(), "/api/embed")
    assert (answer.status_code, answer.json()) == (400, {"error": "too many inputs: the limit is 2048"})


_NUMBERS = [
    "1e400",
    "NaN",
    "Infinity",
    "-Infinity",
    "true",
    '"5"',
    "5.5",
    "9223372036854775808",
    "-9223372036854775809",
]


@pytest.mark.parametrize("number", _NUMBERS)
@pytest.mark.parametrize("field", ["top_logprobs", "dimensions"])
def test_a_wrong_number_is_refused_by_its_fields_name(tmp_path: Path, field: str, number: str) -> None:
    """DOS-03."""
    path = "/api/embed" if field == "dimensions" else "/api/chat"
    answer = _post(tmp_path, b'{"model":"m","%b":%b}' % (field.encode(), number.encode()), path)
    assert answer.status_code == 400
    named = number in ("NaN", "Infinity", "-Infinity") or field in answer.json()["error"]
    assert named, answer.text


@pytest.mark.parametrize("number", ["1e400", "-1e999", '{"a":1e400}', "[1e400]"])
@pytest.mark.parametrize("field", ["keep_alive", "think", "format", "options"])
def test_an_endless_number_is_refused_anywhere(tmp_path: Path, field: str, number: str) -> None:
    """DOS-03."""
    assert _post(tmp_path, b'{"model":"m","%b":%b}' % (field.encode(), number.encode())).status_code == 400


@pytest.mark.parametrize("number", ["1e18", "-0", "1e308", "99999999999999999999999"])
def test_a_large_number_of_an_option_is_taken(tmp_path: Path, number: str) -> None:
    """DOS-03: clamped when it is looked at."""
    content = b'{"model":"m","messages":[{"content":"x"}],"options":{"seed":%b,"num_ctx":%b}}'
    assert _post(tmp_path, content % (number.encode(), number.encode())).status_code == 200


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b'{"model":"\\ud800"}', "invalid surrogate pair in a string of the request body"),
        (b'{"model":"\\udc00x"}', "invalid surrogate pair in a string of the request body"),
        (b'{"model":"\xff"}', "invalid UTF-8 in request body"),
        (b'{"model":"\xed\xa0\x80"}', "invalid UTF-8 in request body"),
        (b'{"model":"\xc0\xaf"}', "invalid UTF-8 in request body"),
        (b'{"mod\xffel":"m"}', "invalid UTF-8 in request body"),
        (b'\xef\xbb\xbf{"model":"m"}', "invalid character 'ï' looking for beginning of value"),
        ('{"model":"m"}'.encode("utf-16"), "invalid character 'ÿ' looking for beginning of value"),
        (b'{"model":"a\x00b"}', "invalid character '\\x00' in string literal"),
        (b'{"model":"a\\u0000b"}', "invalid model name"),
    ],
)
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, content: bytes, error: str) -> None:
    """DOS-04."""
    answer = _post(tmp_path, content)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


def test_a_very_long_text_is_passed_on(tmp_path: Path) -> None:
    """DOS-04."""
    played = FakeInference(*_DONE)
    text = "é" * (25 * limits.MIB)
    content = json.dumps({"model": "m", "prompt": text}, ensure_ascii=False).encode()
    assert client(tmp_path, service(tmp_path, played)).post("/api/generate", content=content).status_code == 200
    (asked,) = played.asked
    assert isinstance(asked, Generate)
    assert asked.prompt == text


def test_of_a_key_given_twice_the_last_counts(tmp_path: Path) -> None:
    """DOS-05."""
    played = FakeInference(*_DONE)
    content = b'{"model":"a","messages":[{"content":"x"}],"model":"b"}'
    client(tmp_path, service(tmp_path, played)).post("/api/chat", content=content)
    assert played.asked[0].shown == "b"


def test_private_fields_of_an_engine_reach_nobody(tmp_path: Path) -> None:
    """DOS-13."""
    played = FakeInference(*_DONE)
    options = {"n_discard": -1, "id_slot": 0, "lora": [], "t_max_predict_ms": 1, "cache_prompt": False}
    client(tmp_path, service(tmp_path, played)).post("/api/chat", content=_with(options=options, id_slot=3))
    assert played.asked[0].asked.options.said() == {}
    assert played.asked[0].asked.unknown == tuple(options)


@pytest.mark.parametrize("path", ["/api/chat", "/api/copy", f"/api/blobs/sha256:{'0' * 64}"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, identity"])
def test_a_compressed_body_is_refused(tmp_path: Path, path: str, encoding: str) -> None:
    """PATH-15, DOS-22."""
    answer = _post(tmp_path, gzip.compress(_with()), path, **{"Content-Encoding": encoding})
    assert answer.status_code == 415
    assert "compressed" in answer.json()["error"]


def test_a_body_in_plain_is_taken(tmp_path: Path) -> None:
    """PATH-15."""
    answer = _post(tmp_path, _with(), **{"Content-Encoding": "identity", "Accept-Encoding": "gzip"})
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("image", "error"),
    [
        ("/etc/passwd", "illegal base64 data at input byte 8"),
        ("file:///etc/passwd", "illegal base64 data at input byte 4"),
        ("http://127.0.0.1/x.png", "illegal base64 data at input byte 4"),
        ("aGk", "illegal base64 data at input byte 0"),
        ("A" * (20 * limits.MIB + 1), "image too large: the limit is 20 MiB of base64"),
    ],
)
def test_an_image_is_nothing_but_base64(tmp_path: Path, image: str, error: str) -> None:
    """DOS-14, PATH-18, OUT-16."""
    answer = _post(tmp_path, _with(messages=[{"content": "x", "images": [image]}]))
    assert (answer.status_code, answer.json()) == (400, {"error": error})
