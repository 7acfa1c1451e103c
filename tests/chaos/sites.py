"""Owns what a round of chaos needs of the place it happens in. It must not know what is disturbed there, or why.

A site is an asynchronous context manager: it starts everything on entering and leaves nothing behind. ServersSite (real
servers, each service in a process of its own) and EmbeddedSite (one process tree on files) keep to it.
"""

from typing import Protocol

from backbone.settings import Settings
from schemas.load import Load


class SiteBroken(Exception):
    """The site could not be brought back up, or did not do what it was asked for in time."""


class Site(Protocol):
    """Where runs are made. A disturbance may use what else its own kind of site has."""

    @property
    def settings(self) -> Settings:
        """The platform that the site's services stand on."""

    @property
    def ended_by_themselves(self) -> list[str]:
        """Names of services that ended without being killed; `supervise` has started them again."""

    async def ask(self, load: Load) -> None:
        """Has one run begun, on a target that keeps the run's promises."""

    async def supervise(self) -> None:
        """Starts again what is no longer there, as a supervisor would. It is called several times a second."""

    async def settle(self) -> None:
        """Called until everything has followed from the run, for sites on which nobody stands who would see to that."""
