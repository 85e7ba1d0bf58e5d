"""Log lines: one for each record, in a form that machines read back, with nothing secret in them."""

import json
import logging
from collections.abc import Callable, Iterator

import pytest

from a3s_power import log

Written = Callable[[], str]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """Tells what went to standard error; the logging of the test run is put back afterwards."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    root.handlers[:] = []
    yield lambda: capsys.readouterr().err
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_is_keys_and_values(written: Written) -> None:
    log.configure()
    log.get_logger("x").info("model loaded", model="a b", seconds=1.5, ok=True, none=None, count=3, bare="x")
    time, _, rest = written().partition(" ")
    assert time.startswith("time=20")
    assert rest.startswith("level=INFO source=test_log.py:")
    assert rest.endswith(' msg="model loaded" model="a b" seconds=1.5 ok=true none=<nil> count=3 bare=x\n')


def test_a_line_stays_one_whatever_it_holds(written: Written) -> None:
    log.configure()
    hostile = 'x\r\n2026 INFO login ok\x1b[31m\x9b\u202e\u2028"\\=\U000e0001'
    log.get_logger("x").warning(hostile, **{"a b\n=c": hostile})
    text = written()
    assert text.count("\n") == 1
    assert text.isascii()
    shown = '"x\\r\\n2026 INFO login ok\\x1b[31m\\u009b\\u202e\\u2028\\"\\\\=\\U000e0001"'
    assert text.endswith(f"level=WARN {text.partition('WARN ')[2].partition(' ')[0]} msg={shown} a_b__c={shown}\n")


def test_other_peoples_records_take_the_same_form(written: Written) -> None:
    log.configure()
    logging.getLogger("somebody.else").error("it is %s\nbad", "very")
    assert written().endswith('msg="it is very\\nbad"\n')


@pytest.mark.parametrize(
    ("verbosity", "levels"),
    [
        (2, ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]),
        (1, ["DEBUG", "INFO", "WARN", "ERROR"]),
        (0, ["INFO", "WARN", "ERROR"]),
        (-1, ["WARN", "ERROR"]),
        (-9, ["ERROR"]),
    ],
)
def test_verbosity_chooses_the_levels(written: Written, verbosity: int, levels: list[str]) -> None:
    log.configure(verbosity)
    logger = log.get_logger("x")
    for say in (logger.trace, logger.debug, logger.info, logger.warning, logger.error):
        say("m")
    assert [line.split()[1] for line in written().splitlines()] == [f"level={level}" for level in levels]


def test_a_line_may_be_json(written: Written) -> None:
    log.configure(form="json")
    log.get_logger("x").info("a\nb\x1b", model="é", seconds=1.5, none=None)
    text = written()
    line = json.loads(text)
    assert text.isascii()
    assert list(line) == ["time", "level", "source", "msg", "model", "seconds", "none"]
    assert (line["msg"], line["model"], line["seconds"], line["none"]) == ("a\nb\x1b", "é", 1.5, None)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("https://user:hunter2@host/x", "https://user:***@host/x"),
        ("GET /x?token=abc&y=1", "GET /x?token=***&y=1"),
        ('{"api_key": "abc"}', '{"api_key": "***"}'),
        ("key sk-abcdefgh1234 used", "key *** used"),
        ("hf_abcdefgh1234", "***"),
        ("token count 5, password", "token count 5, password"),
        ("http://127.0.0.1:11434/api", "http://127.0.0.1:11434/api"),
    ],
)
def test_keys_in_a_text_are_hidden(text: str, shown: str) -> None:
    assert log.redacted(text) == shown


@pytest.mark.parametrize("name", ["api_key", "authorization", "password", "hf_token", "apikey"])
def test_fields_that_name_a_secret_are_hidden(written: Written, name: str) -> None:
    log.configure()
    log.get_logger("x").info("m", **{name: "hunter2"})
    assert written().endswith(f" {name}=***\n")


def test_counts_of_tokens_are_no_secret(written: Written) -> None:
    log.configure()
    log.get_logger("x").info("m", prompt_tokens=5, tokens=6)
    assert written().endswith(" prompt_tokens=5 tokens=6\n")


def test_the_request_is_named_in_every_line(written: Written) -> None:
    log.configure()
    token = log.request_id.set("r-1")
    try:
        logging.getLogger("other").info("m")
    finally:
        log.request_id.reset(token)
    logging.getLogger("other").info("n")
    first, second = written().splitlines()
    assert first.endswith(" msg=m request=r-1")
    assert second.endswith(" msg=n")


def test_a_traceback_stays_in_its_line(written: Written) -> None:
    log.configure()
    try:
        int("line one\nline two")
    except ValueError:
        log.get_logger("x").exception("failed", model="m")
    (line,) = written().splitlines()
    assert "level=ERROR" in line
    assert 'msg=failed model=m traceback="Traceback (most recent call last):\\n' in line
    assert line.endswith("base 10: 'line one\\\\nline two'\"")


def test_fields_of_a_line_that_is_not_written_are_not_formatted(written: Written) -> None:
    class Costly:
        def __str__(self) -> str:
            raise AssertionError("formatted")

    log.configure()
    log.get_logger("x").debug("m", value=Costly())
    assert written() == ""
