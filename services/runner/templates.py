"""Owns requests that are filled in each time they are sent. It must not send them, or know where values come from."""

from collections.abc import Mapping, Sequence
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


class LiteralTemplate:
    """A request that is always the same."""

    __slots__ = ("literal", "step")

    def __init__(self, request: WireRequest) -> None:
        self.step: str = request.step
        self.literal: WireRequest | None = request

    def render(self, values: Mapping[str, object]) -> WireRequest:
        assert self.literal is not None  # as it was made
        return self.literal


def literal_templates(pools: Sequence[Sequence[WireRequest]]) -> Sequence[Sequence[RequestTemplate]]:
    """What each step sends in turn, with nothing to fill in."""
    return [[LiteralTemplate(request) for request in pool] for pool in pools]
