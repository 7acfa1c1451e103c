"""Owns which address of the target the next connection tries. It must not resolve or connect.

Round robin, or always from the first, over the addresses whose last attempt succeeded or that were never tried; the
others come last, so that a name with one deaf address (`localhost` as ::1 where only 127.0.0.1 listens) costs one
refused attempt, not every other.
"""

from collections.abc import Sequence


class AddressRing:
    """The resolved addresses of one host. turning: each new connection begins with the next one."""

    def __init__(self, addresses: Sequence[str] = (), *, turning: bool = True) -> None:
        self._addresses = tuple(addresses)
        self._turning = turning
        self._failed: set[str] = set()
        self._turn = 0

    def resolved(self, addresses: Sequence[str]) -> None:
        """The name has been resolved again; what is known of an address stays known."""
        self._addresses = tuple(addresses)

    def order(self) -> list[str]:
        """All addresses in the order to try them for one new connection."""
        start = self._turn % len(self._addresses)
        self._turn += self._turning
        turned = self._addresses[start:] + self._addresses[:start]
        return sorted(turned, key=lambda address: address in self._failed)

    def note(self, address: str, connected: bool) -> None:
        """What became of an attempt."""
        if connected:
            self._failed.discard(address)
        else:
            self._failed.add(address)
