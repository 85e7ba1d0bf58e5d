"""The weights of clients: how they are said, and whose is which."""

import hashlib

import pytest

from a3s_power.core.errors import BadConfig
from a3s_power.core.weights import Weights

KEY = hashlib.sha256(b"secret").hexdigest()
WEIGHTS = Weights.parse(["10.0.0.0/8=2", "10.1.2.3=5", "2001:db8::/32=4", f"sha256:{KEY[:12]}=7"])


@pytest.mark.parametrize(
    ("address", "key", "weight"),
    [
        pytest.param("10.9.9.9", b"", 2, id="of its network"),
        pytest.param("10.1.2.3", b"", 5, id="of the narrowest network"),
        pytest.param("::ffff:10.1.2.3", b"", 5, id="told in the other family's form"),
        pytest.param("2001:db8::1", b"", 4, id="IPv6"),
        pytest.param("10.1.2.3", b"Bearer secret", 7, id="of its key before its address"),
        pytest.param("10.1.2.3", b"secret", 7, id="of a key without a scheme"),
        pytest.param("10.1.2.3", b"bearer another", 5, id="of another key"),
        pytest.param("192.168.1.1", b"", 1, id="of none of them"),
        pytest.param("", b"", 1, id="of a socket without an address"),
    ],
)
def test_a_client_has_the_weight_of_its_key_or_of_its_address(address: str, key: bytes, weight: int) -> None:
    assert WEIGHTS.of(address, key) == weight


def test_without_a_word_all_weigh_the_same() -> None:
    assert Weights().of("10.1.2.3", b"Bearer secret") == 1


@pytest.mark.parametrize(
    "word",
    ["10.0.0.1", "10.0.0.1=0", "10.0.0.1=-1", "10.0.0.0/99=2", "10.0.0.1=1000", "sha256:abc=2", "name=2", "=2", ""],
)
def test_what_is_no_weight_is_refused(word: str) -> None:
    with pytest.raises(BadConfig, match="is not of the form ADDRESS=WEIGHT"):
        Weights.parse([word])
