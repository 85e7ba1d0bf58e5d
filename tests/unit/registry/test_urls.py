"""Addresses are read in one way only, and what two readers could take for different hosts is refused."""

import pytest

from a3s_power.core.errors import BadRequest
from a3s_power.registry.urls import Url


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("https://example.com", Url("https", "example.com", 443, "/")),
        ("HTTPS://Example.COM./x", Url("https", "example.com", 443, "/x")),
        ("http://example.com:8080/a/b?c=d", Url("http", "example.com", 8080, "/a/b?c=d")),
        ("http://127.0.0.1:5000/", Url("http", "127.0.0.1", 5000, "/")),
        ("http://[::1]:5000/x", Url("http", "::1", 5000, "/x")),
        ("http://[0:0:0:0:0:0:0:1]/x", Url("http", "::1", 80, "/x")),
        ("https://example.com?q", Url("https", "example.com", 443, "/?q")),
        ("https://example.com/a@b:c/%20", Url("https", "example.com", 443, "/a@b:c/%20")),
        ("https://example.com/x#part", Url("https", "example.com", 443, "/x")),
        ("https://my_registry.local/x", Url("https", "my_registry.local", 443, "/x")),
    ],
)
def test_an_address_is_read(text: str, read: Url) -> None:
    assert Url.parse(text) == read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://x/",
        "data:,x",
        "//example.com",
        "http:/example.com",
        "http:///x",
        "http://",
        "http://evil.com\\@127.0.0.1/",
        "http://evil.com\\.good.com/",
        "http://127.0.0.1#@good.com",
        "http://good.com:80@127.0.0.1/",
        "http://user:secret@good.com/",
        "http://0/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://127.0.0.1.:80/",
        "http://127.0.0.999/",
        "http://1.2.3.4.5/",
        "http://[::1/",
        "http://[127.0.0.1]/",
        "http://[fe80::1%25eth0]/",
        "http://good。com/",
        "http://exämple.com/",
        "ht\ttp://example.com/",
        "http://exa\tmple.com/",
        "http://example.com/\r\nHost: evil",
        "http://example.com/ x",
        "http://example.com/\x00",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:+80/",
        "http://example.com:8a/",
        "http://example.com:/",
        "http://.example.com/",
        "http://a..b/",
        "http://-a.com/",
        "http://a-.com/",
        "https://example.com/" + "x" * 20_000,
        'http://example.com/"',
    ],
)
def test_what_may_mean_two_things_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="invalid URL"):
        Url.parse(text)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/y", "https://a.com/y"),
        ("y?z=1", "https://a.com/b/y?z=1"),
        ("https://b.com/y", "https://b.com/y"),
        ("//b.com/y", "https://b.com/y"),
        ("?only", "https://a.com/b/c?only"),
    ],
)
def test_a_location_leads_where_it_says(location: str, target: str) -> None:
    assert str(Url.parse("https://a.com/b/c?d").join(location)) == target


@pytest.mark.parametrize("location", ["https://b.com\\@c.com/", "ftp://b.com/", "\\\\b.com", "/\tx", "http://127.1/"])
def test_a_location_that_may_mean_two_things_is_refused(location: str) -> None:
    with pytest.raises(BadRequest):
        Url.parse("https://a.com/b").join(location)


def test_queries_are_sorted_and_encoded_as_go_does() -> None:
    url = Url.parse("https://a.com/t?z=1&b=x%20y").asking(
        [("scope", "repository:a/b:pull"), ("a", ""), ("scope", "s2")]
    )
    assert str(url) == "https://a.com/t?a=&b=x+y&scope=repository%3Aa%2Fb%3Apull&scope=s2&z=1"


def test_names_below_are_quoted() -> None:
    assert str(Url.parse("https://a.com/x/").below("v2", "n/m", "sha256:0", "a b?c")) == (
        "https://a.com/x/v2/n/m/sha256:0/a%20b%3Fc"
    )


def test_what_may_be_shown_has_no_signature() -> None:
    assert Url.parse("https://a.com:444/x?signature=secret").bare == "https://a.com:444/x"
    assert Url.parse("https://[::1]:5/x").authority == "[::1]:5"
