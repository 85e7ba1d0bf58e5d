"""Flags and words: read and refused as Go's flag packages do."""

import pytest

from a3s_power.cli.options import BOOLEAN, TEXT, WHOLE, Flag, canonical
from a3s_power.core.errors import BadRequest

_FLAGS = (
    Flag("--verbose", "", BOOLEAN),
    Flag("-f --file", "", TEXT),
    Flag("-v --version", "", BOOLEAN),
    Flag("--dimensions", "", WHOLE),
    Flag("--think", "", bare="true"),
)


@pytest.mark.parametrize(
    ("args", "said", "words"),
    [
        ("m hi", [], ["m", "hi"]),
        ("m --verbose hi", ["--verbose=true"], ["m", "hi"]),
        ("--verbose=false m", ["--verbose=false"], ["m"]),
        ("--verbose false", ["--verbose=true"], ["false"]),
        ("--file x m", ["--file=x"], ["m"]),
        ("--file=x=y m", ["--file=x=y"], ["m"]),
        ("--file --verbose m", ["--file=--verbose"], ["m"]),
        ("-f x -fy -f=z", ["--file=x", "--file=y", "--file=z"], []),
        ("-v -vf x", ["--version=true", "--version=true", "--file=x"], []),
        ("-v=false", ["--version=false"], []),
        ("--dimensions -1", ["--dimensions=-1"], []),
        ("m --think x", ["--think=true"], ["m", "x"]),
        ("--think=high m", ["--think=high"], ["m"]),
        ("--think= m", ["--think="], ["m"]),
        ("m -- --verbose -x --", [], ["m", "--verbose", "-x", "--"]),
        ("m -", [], ["m", "-"]),
        ("-h m --help", ["--help", "--help"], ["m"]),
    ],
)
def test_a_line_is_flags_and_words(args: str, said: list[str], words: list[str]) -> None:
    assert canonical(args.split(" "), _FLAGS) == (said, words)


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        ("--bogus", "unknown flag: --bogus"),
        ("--bogus=1", "unknown flag: --bogus"),
        ("--verb", "unknown flag: --verb\n\nDid you mean this?\n\t--verbose\n"),
        ("-x", "unknown shorthand flag: 'x' in -x"),
        ("-vx", "unknown shorthand flag: 'x' in -vx"),
        ("--file", "flag needs an argument: --file"),
        ("m -f", "flag needs an argument: 'f' in -f"),
    ],
)
def test_a_wrong_flag_is_refused(args: str, complaint: str) -> None:
    with pytest.raises(BadRequest) as failed:
        canonical(args.split(), _FLAGS)
    assert str(failed.value) == complaint
