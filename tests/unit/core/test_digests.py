"""Digests: what is one, and how it is written."""

import hashlib

import pytest

from a3s_power.core.digests import Digest
from a3s_power.core.errors import InvalidDigest

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize("text", [f"sha256:{HEX}", f"sha256-{HEX}", f"sha256:{HEX.upper()}"])
def test_both_ways_of_writing_it_are_read(text: str) -> None:
    assert Digest.parse(text).hex == HEX


@pytest.mark.parametrize(
    "text",
    [
        *("", "sha256", "sha256:", HEX, f"SHA256:{HEX}", f"sha512:{HEX}", f"sha256_{HEX}", f"sha256:{HEX[1:]}"),
        *(f"sha256:{HEX}0", f"sha256:{HEX}\n", f" sha256:{HEX}", f"sha256:{HEX[:-1]}g", f"sha256:{HEX}\0"),
        *("../../../../tmp/pwn", "sha256:../../../../tmp/pwn", f"sha256:{HEX[3:]}..%2f", f"sha256-{HEX}-partial"),
        *("sha256:" + "０" * 64, "sha256:" + "١" * 64, "sha256:" + "/" * 64, "sha256:" + "." * 64),
    ],
)
def test_anything_else_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(InvalidDigest, match=r"^invalid digest format$"):
        Digest.parse(text)


@pytest.mark.parametrize("digits", ["", "..", HEX.upper(), HEX[1:], f"{HEX}\n", "../" + HEX[3:]])
def test_its_digits_are_checked_however_it_is_made(digits: str) -> None:
    with pytest.raises(InvalidDigest):
        Digest(digits)


def test_it_is_shown_with_a_colon_stored_with_a_dash_and_listed_short() -> None:
    digest = Digest(HEX)
    assert (str(digest), digest.file_name, digest.short) == (f"sha256:{HEX}", f"sha256-{HEX}", "0123456789ab")


def test_it_is_the_sha256_of_the_content() -> None:
    assert Digest.of(b"{{ .Prompt }}").hex == "b507b9c2f6ca642bffcd06665ea7c91f235fd32daeefdf875a0f938db05fb315"
    assert Digest.of(b"").hex == hashlib.sha256().hexdigest()
