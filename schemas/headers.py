"""Owns request headers as a scenario gives them. It must not know which of them a request needs."""

import string
from typing import Annotated

from pydantic import AfterValidator

NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
"""RFC 9110, section 5.6.2."""


def _no_line_breaks(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not name.strip() or any(c in name + value for c in "\r\n\0"):
            raise ValueError(f"header {name!r} is empty or has a line break in it")
        if not set(name.strip()) <= NAME_CHARACTERS:
            raise ValueError(f"'{name[:40]}' is no name of a header: it is made of letters, digits and hyphens")
    return headers


Headers = Annotated[dict[str, str], AfterValidator(_no_line_breaks)]
