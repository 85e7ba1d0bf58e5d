"""Which proxy an address is reached through."""

import pytest

from a3s_power.core.errors import BadConfig
from a3s_power.registry.proxies import Proxies, Proxy
from a3s_power.registry.urls import Url

BOTH = {"HTTPS_PROXY": "http://secure.corp:3128", "http_proxy": "plain.corp:8080"}


@pytest.mark.parametrize(
    ("address", "no_proxy", "through"),
    [
        ("https://example.com/", "", "secure.corp:3128"),
        ("http://example.com/", "", "plain.corp:8080"),
        ("https://localhost/", "", None),
        ("https://127.0.0.1:5000/", "", None),
        ("https://[::1]:5000/", "", None),
        ("https://10.0.0.1/", "", "secure.corp:3128"),
        ("https://example.com/", "*", None),
        ("https://example.com/", "example.com", None),
        ("https://a.example.com/", "example.com", None),
        ("https://a.example.com/", ".example.com", None),
        ("https://example.com/", ".example.com", "secure.corp:3128"),
        ("https://a.example.com/", "*.example.com", None),
        ("https://notexample.com/", "example.com", "secure.corp:3128"),
        ("https://EXAMPLE.com/", "other.com, Example.Com", None),
        ("https://example.com:444/", "example.com:444", None),
        ("https://example.com:445/", "example.com:444", "secure.corp:3128"),
        ("https://10.1.2.3/", "10.0.0.0/8", None),
        ("https://11.1.2.3/", "10.0.0.0/8", "secure.corp:3128"),
        ("https://[2001:db8::1]/", "2001:db8::/32", None),
        ("https://[2001:db8::1]/", "2001:db8::1", None),
        ("https://example.com/", "10.0.0.0/8,nonsense/99", "secure.corp:3128"),
    ],
)
def test_exceptions_are_honoured(address: str, no_proxy: str, through: str | None) -> None:
    proxy = Proxies({**BOTH, "NO_PROXY": no_proxy}).of(Url.parse(address))
    assert (proxy.url.address if proxy else None) == through


def test_nothing_said_is_no_proxy() -> None:
    assert Proxies({}).of(Url.parse("https://example.com/")) is None


def test_a_header_that_a_client_sent_is_no_proxy() -> None:
    environ = {"HTTP_PROXY": "http://evil.example:1", "REQUEST_METHOD": "GET"}
    assert Proxies(environ).of(Url.parse("http://example.com/")) is None


def test_a_password_becomes_a_header() -> None:
    assert Proxy.parse("HTTPS_PROXY", "http://us%40r:p%3Aw@proxy.corp:1") == Proxy(
        Url("http", "proxy.corp", 1, "/"), "Basic dXNAcjpwOnc="
    )


@pytest.mark.parametrize("text", ["socks5://proxy:1", "https://proxy:1", "http://", "http://a b", "proxy:x"])
def test_a_proxy_that_cannot_be_used_is_an_error_without_its_password(text: str) -> None:
    with pytest.raises(BadConfig, match=r"^HTTPS_PROXY: "):
        Proxies({"HTTPS_PROXY": text}).of(Url.parse("https://example.com/"))
