"""Owns what kind of place an IP address is. It must not resolve names or know any policy.

`ipaddress.is_global` alone does not do: it calls NAT64 and 6to4 forms of private addresses, 168.63.129.16, 192.0.0.192
and multicast global. Sources: IANA special-purpose registries, RFC 4291, 6052, 4380, 3056, 5214.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Literal

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Kind = Literal[
    "loopback", "private", "public", "link-local", "metadata", "embedded-IPv4", "multicast", "unspecified", "reserved"
]

_METADATA = tuple(
    ip_network(text)
    for text in (
        "169.254.169.254/32", "169.254.170.2/32", "168.63.129.16/32", "192.0.0.192/32", "100.100.100.200/32",
        "fd00:ec2::254/128", "fd20:ce::254/128",
    )
)  # fmt: skip
_PRIVATE = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15",
        "fc00::/7", "fec0::/10",
    )
)  # fmt: skip
_RESERVED = tuple(
    ip_network(text)
    for text in (
        "240.0.0.0/4", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "192.88.99.0/24",
        "100::/64", "2001:db8::/32", "2001:2::/48", "3fff::/20", "5f00::/16",
    )
)  # fmt: skip
_THIS_NETWORK = ip_network("0.0.0.0/8")
_NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
_COMPATIBLE = ip_network("::/96")
_MAPPED_OR_TRANSLATED = (ip_network("::ffff:0:0/96"), ip_network("::ffff:0:0:0/96"))
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def embedded_ipv4(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address carries: mapped, translated, compatible, NAT64, 6to4, Teredo or ISATAP."""
    if isinstance(address, IPv4Address) or address.is_unspecified or address.is_loopback:
        return None
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    low = IPv4Address(int(address) & 0xFFFF_FFFF)
    carries = any(address in network for network in (*_MAPPED_OR_TRANSLATED, *_NAT64, _COMPATIBLE))
    return low if carries or (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP else None


def kind_of(address: Address) -> Kind:
    """What kind of place it is; the kinds that are dangerous by accident come before those that contain them."""
    if embedded_ipv4(address) is not None:
        return "embedded-IPv4"
    if any(address in network for network in _METADATA):
        return "metadata"
    if address.is_unspecified or address in _THIS_NETWORK:
        return "unspecified"
    kinds: dict[Kind, bool] = {
        "loopback": address.is_loopback,
        "link-local": address.is_link_local,
        "multicast": address.is_multicast,
        "private": any(address in network for network in _PRIVATE),
        "reserved": address.is_reserved or any(address in network for network in _RESERVED),
    }
    return next((kind for kind, matches in kinds.items() if matches), "public")
