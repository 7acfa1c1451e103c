"""Owns that no spelling of an address gets past the policy, and that what is allowed is reachable."""

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbone.addresses import embedded_ipv4, kind_of
from backbone.errors import SettingsError
from backbone.guard import (
    Resolver,
    TargetNotAllowed,
    TargetPolicy,
    check_scenario,
    check_target,
    resolve,
    resolve_and_check,
)
from schemas.scenario import Scenario

OPERATOR = TargetPolicy.operator()
REMOTE = TargetPolicy.remote()


def pointing_at(*addresses: str) -> Resolver:
    async def resolver(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolver


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("10.1.2.3", "private"),
        ("172.31.0.1", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "private"),
        ("fd12::1", "private"),
        ("1.1.1.1", "public"),
        ("2606:4700::1111", "public"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("169.254.169.254", "metadata"),
        ("168.63.129.16", "metadata"),
        ("192.0.0.192", "metadata"),
        ("100.100.100.200", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("::ffff:127.0.0.1", "embedded-IPv4"),
        ("::127.0.0.1", "embedded-IPv4"),
        ("64:ff9b::a9fe:a9fe", "embedded-IPv4"),
        ("64:ff9b:1::a00:1", "embedded-IPv4"),
        ("2002:a9fe:a9fe::1", "embedded-IPv4"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "embedded-IPv4"),
        ("2606:4700::5efe:7f00:1", "embedded-IPv4"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("255.255.255.255", "reserved"),
        ("192.0.2.1", "reserved"),
        ("2001:db8::1", "reserved"),
    ],
)
def test_an_address_is_known_for_what_it_is(text: str, kind: str) -> None:
    assert kind_of(ip_address(text)) == kind


@given(st.integers(0, 2**32 - 1))
def test_every_ipv4_address_is_found_in_every_form_that_carries_it(number: int) -> None:
    inner = IPv4Address(number)
    carriers = [
        (0xFFFF << 32) | number,
        (0xFFFF << 48) | number,
        (0x0064_FF9B << 96) | number,
        (0x2002 << 112) | (number << 80) | 1,
        (0x2001 << 112) | (number ^ 0xFFFF_FFFF),
        (0xFE80 << 112) | (0x0000_5EFE << 32) | number,
    ]
    for carrier in carriers:
        assert embedded_ipv4(IPv6Address(carrier)) == inner
        assert not OPERATOR.allows("h", IPv6Address(carrier))
        assert not REMOTE.allows("h", IPv6Address(carrier))


@given(st.ip_addresses())
def test_a_remote_caller_without_targets_reaches_loopback_alone(address: IPv4Address | IPv6Address) -> None:
    assert REMOTE.allows("any.example", address) == (kind_of(address) == "loopback")


@given(st.ip_addresses())
def test_the_person_at_the_terminal_reaches_ordinary_places_alone(address: IPv4Address | IPv6Address) -> None:
    assert OPERATOR.allows("any.example", address) == (kind_of(address) in ("loopback", "private", "public"))


@given(st.ip_addresses(v=4))
def test_what_the_operator_opens_is_open_whatever_it_is(address: IPv4Address) -> None:
    assert TargetPolicy.operator([f"{address}/32"]).allows("h", address)
    assert TargetPolicy.remote([str(address)]).allows("h", address)


def test_opening_a_translation_prefix_does_not_open_the_metadata_service_behind_it() -> None:
    policy = TargetPolicy.operator(["64:ff9b::/96"])
    assert policy.allows("h", ip_address("64:ff9b::101:101"))
    assert not policy.allows("h", ip_address("64:ff9b::a9fe:a9fe"))


def test_a_listed_name_is_open_as_long_as_it_means_an_ordinary_place() -> None:
    policy = TargetPolicy.remote(["Staging.Example", "*.lab.example", "10.9.0.0/16"])
    assert policy.allows("staging.example.", ip_address("10.0.0.1"))
    assert policy.allows("a.lab.example", ip_address("1.1.1.1"))
    assert policy.allows("other.example", ip_address("10.9.1.1"))
    assert not policy.allows("lab.example", ip_address("1.1.1.1"))
    assert not policy.allows("evil-staging.example", ip_address("10.0.0.1"))
    assert not policy.allows("staging.example", ip_address("169.254.169.254"))


@pytest.mark.parametrize(
    "host", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "::ffff:127.0.0.1", "①②⑦.0.0.1", "127.0.0.1"]
)
async def test_odd_spellings_of_loopback_are_decided_by_what_they_resolve_to(host: str) -> None:
    nowhere = TargetPolicy(frozenset({"public"}), (), frozenset(), "")
    with pytest.raises(TargetNotAllowed, match=r"loopback|embedded-IPv4"):
        await resolve_and_check(host, 80, nowhere)


async def test_only_the_allowed_ones_of_several_addresses_are_returned() -> None:
    mixed = pointing_at("169.254.169.254", "10.0.0.1", "::1")
    assert await resolve_and_check("h", 80, OPERATOR, mixed) == ["10.0.0.1", "::1"]
    assert await resolve_and_check("h", 80, REMOTE, mixed) == ["::1"]


async def test_a_refusal_is_one_line_that_says_what_to_do() -> None:
    with pytest.raises(TargetNotAllowed) as caught:
        await check_target("http://name.example/", OPERATOR, pointing_at("169.254.169.254"))
    assert str(caught.value) == (
        "target name.example (169.254.169.254) is not allowed: it is a metadata address; "
        "if you mean it, add --allow-target 169.254.169.254"
    )
    with pytest.raises(TargetNotAllowed, match=r"an embedded-IPv4 address for 127\.0\.0\.1; the operator can add it"):
        await check_target("http://[::ffff:127.0.0.1]:80/", REMOTE)


async def test_a_host_without_an_address_is_a_dead_target_and_not_a_refusal() -> None:
    async def nothing(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no such host")

    await check_target("http://nowhere.example/", REMOTE, nothing)
    with pytest.raises(OSError, match="no such host"):
        await resolve_and_check("nowhere.example", 80, REMOTE, nothing)


@pytest.mark.parametrize("host", ["a" * 300, "..", "a\x00b", "\ud800"])
async def test_a_host_that_cannot_be_a_name_has_no_address(host: str) -> None:
    with pytest.raises(OSError, match=r".+"):
        await resolve(host, 80)


async def test_a_url_that_cannot_be_parsed_is_refused() -> None:
    with pytest.raises(TargetNotAllowed, match="is no target"):
        await check_target("http://[::1/", REMOTE)


def test_a_range_that_is_none_says_how_to_write_one() -> None:
    with pytest.raises(SettingsError, match="write it like 10"):
        TargetPolicy.operator(["10.0.0.0/33"])
    with pytest.raises(SettingsError, match="write it like 10"):
        TargetPolicy.remote(["example/8"])


@pytest.mark.parametrize("way", [{"unix": "/run/docker.sock"}, {"proxy": "http://169.254.169.254:80"}])
async def test_a_way_to_an_allowed_target_has_to_be_allowed_too(way: dict[str, str]) -> None:
    scenario = Scenario.model_validate({"target": "http://127.0.0.1/", **way})
    with pytest.raises(TargetNotAllowed):
        await check_scenario(scenario, REMOTE)
    plain = Scenario(target="http://127.0.0.1/")
    await check_scenario(plain, REMOTE)
