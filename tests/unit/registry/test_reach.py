"""Which addresses may be called at all, and which only by whoever named them."""

import pytest

from a3s_power.registry.reach import Kind, is_other_service, kind_of, kind_of_name


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("93.184.216.34", "public"),
        ("2606:2800:220:1::1", "public"),
        ("127.0.0.1", "private"),
        ("10.0.0.1", "private"),
        ("172.16.3.4", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("198.18.0.1", "private"),
        ("::1", "private"),
        ("fd12::1", "private"),
        ("0.0.0.0", "never"),
        ("0.1.2.3", "never"),
        ("169.254.169.254", "never"),
        ("100.100.100.200", "never"),
        ("192.0.0.192", "never"),
        ("224.0.0.1", "never"),
        ("255.255.255.255", "never"),
        ("::", "never"),
        ("fe80::1", "never"),
        ("fe80::1%eth0", "never"),
        ("ff02::1", "never"),
        ("fd00:ec2::254", "never"),
        ("::ffff:169.254.169.254", "never"),
        ("::ffff:127.0.0.1", "private"),
        ("::ffff:93.184.216.34", "public"),
        ("2002:a9fe:a9fe::1", "never"),
        ("2002:7f00:1::1", "private"),
        ("64:ff9b::169.254.169.254", "never"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b::93.184.216.34", "public"),
        ("2001::1", "private"),
    ],
)
def test_an_address_is_of_a_kind(address: str, kind: Kind) -> None:
    assert kind_of(address) == kind


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("example.com", "public"),
        ("localhost", "private"),
        ("a.localhost", "private"),
        ("printer", "private"),
        ("nas.local", "private"),
        ("metadata.google.internal", "private"),
        ("169.254.169.254", "never"),
        ("10.1.2.3", "private"),
        ("notlocal.com", "public"),
    ],
)
def test_a_name_that_a_proxy_will_look_up_is_judged_by_itself(host: str, kind: Kind) -> None:
    assert kind_of_name(host) == kind


@pytest.mark.parametrize(
    ("port", "other"), [(22, True), (25, True), (6379, True), (80, False), (443, False), (5000, False), (11434, False)]
)
def test_ports_of_other_services_are_known(port: int, other: bool) -> None:
    assert is_other_service(port) is other
