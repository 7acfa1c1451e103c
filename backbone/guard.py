"""Owns which addresses load may be sent to. It must not connect: whoever does uses exactly the addresses it returns.

The decision falls on resolved addresses, because a name can mean any address and an address has many spellings.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from backbone.addresses import Address, Kind, Network, embedded_ipv4, kind_of
from backbone.errors import SettingsError, TargetNotAllowed
from schemas.scenario import Scenario

__all__ = [
    "Resolver", "TargetNotAllowed", "TargetPolicy", "check_scenario", "check_target", "resolve", "resolve_and_check",
]  # fmt: skip

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port -> addresses; raises OSError where there are none."""

SOCKET = "unix:"
_ORDINARY: frozenset[Kind] = frozenset({"loopback", "private", "public"})


@dataclass(frozen=True)
class TargetPolicy:
    """kinds: open as they are; networks: opened by the operator; hosts: names opened where they mean ordinary places.

    hint: what the reader of a refusal can do. sockets: the Unix sockets that are open; None: all of them.
    """

    kinds: frozenset[Kind]
    networks: tuple[Network, ...]
    hosts: frozenset[str]
    hint: str
    sockets: frozenset[str] | None = None

    @classmethod
    def operator(cls, allow: Sequence[str] = ()) -> "TargetPolicy":
        """For the person at the terminal; `allow`: CIDRs. Raises SettingsError."""
        networks = tuple(_network(text) for text in allow)
        return cls(_ORDINARY, networks, frozenset(), "if you mean it, add --allow-target {address}")

    @classmethod
    def remote(cls, targets: Sequence[str] = (), allow: Sequence[str] = ()) -> "TargetPolicy":
        """For what comes over HTTP or MCP; `targets`: host names, *.domains, CIDRs and unix:/paths.

        Raises SettingsError.
        """
        sockets = frozenset(text.strip() for text in (*targets, *allow) if text.strip().startswith(SOCKET))
        entries = [text for text in (*targets, *allow) if text.strip() not in sockets]
        networks = tuple(_network(text) for text in entries if _is_numeric(text))
        hosts = frozenset(text.strip().rstrip(".").lower() for text in entries if not _is_numeric(text))
        return cls(frozenset({"loopback"}), networks, hosts, "the operator can add it to QUERYSCOPE_TARGETS", sockets)

    def allows(self, host: str, address: Address) -> bool:
        """Whether `address`, which `host` was resolved to, may be connected to."""
        opened = any(address in network for network in self.networks)
        inner = embedded_ipv4(address)
        if inner is not None:
            # Opening a translation prefix must not open the metadata service behind it.
            return opened and self.allows(host, inner)
        kind = kind_of(address)
        return opened or kind in self.kinds or (kind in _ORDINARY and self._names(host))

    def check_socket(self, path: str) -> None:
        """Raises TargetNotAllowed where this Unix socket must not be connected to."""
        if self.sockets is not None and SOCKET + path not in self.sockets:
            raise TargetNotAllowed(f"target {SOCKET}{path} is not allowed: {self.hint.format(address=path)}")

    def _names(self, host: str) -> bool:
        name = host.rstrip(".").lower()
        return any(name == entry or (entry.startswith("*.") and name.endswith(entry[1:])) for entry in self.hosts)


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host as the system sees them, in its order. Raises OSError where there are none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (UnicodeError, ValueError) as error:  # a label that is too long, a NUL
        raise socket.gaierror(socket.EAI_NONAME, f"'{host}' is no host name ({error})") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def resolve_and_check(host: str, port: int, policy: TargetPolicy, resolver: Resolver = resolve) -> list[str]:
    """The addresses to connect to, in order. Raises TargetNotAllowed where none is allowed, OSError where none is."""
    found = [ip_address(text) for text in await resolver(host, port)]
    allowed = [str(address) for address in found if policy.allows(host, address)]
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, f"'{host}' has no address")
    if not allowed:
        raise TargetNotAllowed(_refusal(host, found[0], policy))
    return allowed


async def check_scenario(scenario: Scenario, policy: TargetPolicy, resolver: Resolver = resolve) -> None:
    """Refuses early all that the policy would refuse of a run. Raises TargetNotAllowed."""
    if scenario.unix is not None:
        policy.check_socket(scenario.unix)
    else:
        await check_target(scenario.target, policy, resolver)
    if scenario.proxy is not None:
        await check_target(scenario.proxy, policy, resolver)


async def check_target(url: str, policy: TargetPolicy, resolver: Resolver = resolve) -> None:
    """Refuses early what the policy will refuse at connect time; a host without an address passes: it is a dead target.

    Raises TargetNotAllowed.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise TargetNotAllowed(f"'{url}' is no target: {error}; write http://host:port/path") from None
    try:
        await resolve_and_check(host, port, policy, resolver)
    except OSError:
        return


def _refusal(host: str, address: Address, policy: TargetPolicy) -> str:
    where = host if host == str(address) else f"{host} ({address})"
    inner = embedded_ipv4(address)
    kind = f"{kind_of(address)} address" + (f" for {inner}" if inner is not None else "")
    article = "an" if kind[0] in "aeiou" else "a"
    return f"target {where} is not allowed: it is {article} {kind}; {policy.hint.format(address=address)}"


def _is_numeric(text: str) -> bool:
    """Whether an entry is meant as an address or network; a slash never occurs in a name."""
    try:
        ip_address(text.strip())
    except ValueError:
        return "/" in text
    return True


def _network(text: str) -> Network:
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        raise SettingsError(f"'{text}' is no address range: write it like 10.0.0.0/8 or fe80::/10") from None
