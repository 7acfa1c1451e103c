"""Owns which address of the target the next connection tries. It must not resolve or connect.

Round robin over the addresses whose last attempt succeeded or that were never tried; the others come last, so that a
name with one deaf address (`localhost` as ::1 where only 127.0.0.1 listens) costs one refused attempt, not every other.
"""

from collections.abc import Sequence


class AddressRing:
    """The resolved addresses of one host, in the order the resolver gave them."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = tuple(addresses)
        self._failed: set[str] = set()
        self._turn = 0

    def order(self) -> list[str]:
        """All addresses in the order to try them for one new connection."""
        start = self._turn % len(self._addresses)
        self._turn += 1
        turned = self._addresses[start:] + self._addresses[:start]
        return sorted(turned, key=lambda address: address in self._failed)

    def note(self, address: str, connected: bool) -> None:
        """What became of an attempt."""
        if connected:
            self._failed.discard(address)
        else:
            self._failed.add(address)
