"""Owns request headers as a scenario gives them. It must not know which of them a request needs."""

from typing import Annotated

from pydantic import AfterValidator


def _no_line_breaks(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not name.strip() or any(c in name + value for c in "\r\n\0"):
            raise ValueError(f"header {name!r} is empty or has a line break in it")
    return headers


Headers = Annotated[dict[str, str], AfterValidator(_no_line_breaks)]
