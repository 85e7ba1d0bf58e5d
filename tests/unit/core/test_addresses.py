"""Addresses: every form of OLLAMA_HOST, by the table of Ollama's own rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_power.core.addresses import Address, read_address


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        (":1234", "http://:1234"),
        ("example.com:1234", "http://example.com:1234"),
        ("[::1]", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:1337", "http://[::1]:1337"),
        ("http://1.2.3.4", "http://1.2.3.4:80"),
        ("https://example.com/ollama", "https://example.com:443/ollama"),
        ("https://example.com/ollama/", "https://example.com:443/ollama"),
        ("ollama.com", "https://ollama.com:443"),
        (" 1.2.3.4 ", "http://1.2.3.4:11434"),
        (":0", "http://:0"),
        ("http://[::1]:8080/x/y", "http://[::1]:8080/x/y"),
        ("http://:8080", "http://:8080"),
    ],
)
def test_every_form_is_read(text: str, url: str) -> None:
    said = read_address(text)
    assert (said.over(Address()).url, said.problem) == (url, "")


@pytest.mark.parametrize("text", [":66000", ":-1", ":x", ":", ":９", ":" + "9" * 5000])
def test_an_unusable_port_is_left_out_and_told(text: str) -> None:
    said = read_address(text)
    assert said.port is None
    assert said.problem.startswith("invalid port")


def test_an_unusable_port_behind_a_scheme_is_the_schemes() -> None:
    assert read_address("https://h:99999").over(Address()).port == 443


@given(st.text())
def test_any_text_is_an_address(text: str) -> None:
    assert 0 <= read_address(text).over(Address()).port <= 65535


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("", False),
        ("127.evil.example", False),
        ("127.0.0.1.nip.io", False),
        ("10.0.0.1", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, *, loopback: bool) -> None:
    assert Address(host=host).loopback is loopback


@pytest.mark.parametrize(("host", "instead"), [("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("h", "h")])
def test_one_connects_to_this_machine_where_all_interfaces_are_meant(host: str, instead: str) -> None:
    assert Address(host=host).connectable == Address(host=instead)
