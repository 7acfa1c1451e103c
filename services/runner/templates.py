"""Owns requests that are filled in each time they are sent. It must not send them, or know where values come from."""

from collections.abc import Mapping
from typing import Protocol

from services.runner.request import WireRequest


class RequestTemplate(Protocol):
    """One request of a step. `literal`: the request itself where nothing is to be filled in."""

    @property
    def step(self) -> str: ...

    @property
    def literal(self) -> WireRequest | None: ...

    def render(self, values: Mapping[str, object]) -> WireRequest:
        """The request with these values. Raises RenderFailed: nothing is to be sent then."""
