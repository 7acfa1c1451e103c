"""Owns reaching Elasticsearch: its address, its client, what its errors mean. It must not know any index or query."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import elasticsearch
from elasticsearch import AsyncElasticsearch
from pydantic import SecretStr

from backbone.search.errors import SearchError, SearchMisconfigured, SearchReadOnly, SearchUnavailable

DEFAULT_PORT = 9200
DEFAULT_ALIAS = "queryscope-runs"
REQUEST_TIMEOUT_S = 10.0
_ALIAS = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
_BLOCKED = "cluster_block_exception"
_GONE = "index_not_found_exception"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the index is; `shown` is what messages may say."""

    node: str
    alias: str
    login: tuple[str, str] | None = field(repr=False)
    ca_certs: str | None

    @property
    def shown(self) -> str:
        return f"{self.node}/{self.alias}"


def parse_address(url: str) -> Address:
    """Takes https://[user:password@]host[:port][/alias][?ca_certs=file] apart. Raises SearchMisconfigured."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    ca_certs = options.pop("ca_certs", None)
    alias = parts.path.strip("/") or DEFAULT_ALIAS
    host = parts.hostname or ""
    try:
        port = parts.port or DEFAULT_PORT
    except ValueError:
        host = ""
        port = DEFAULT_PORT
    if parts.scheme not in ("http", "https") or not host or options or not _ALIAS.fullmatch(alias):
        raise SearchMisconfigured("the search URL must read https://[user:password@]host:9200[/alias][?ca_certs=file]")
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return Address(f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}", alias, login, ca_certs)


def connect(address: Address, api_key: SecretStr | None = None) -> AsyncElasticsearch:
    """A client that tries once: whoever can wait retries outside, with back-off."""
    if api_key is not None and address.login is not None:
        raise SearchMisconfigured("the search URL holds a user and there is an API key too: give one of them")
    # Any: the client tells "not given" from None
    trust: dict[str, Any] = {"ca_certs": address.ca_certs} if address.ca_certs else {}
    try:
        return AsyncElasticsearch(
            address.node,
            basic_auth=address.login,
            api_key=api_key.get_secret_value() if api_key is not None else None,
            request_timeout=REQUEST_TIMEOUT_S,
            retry_on_status=(),
            max_retries=1,  # for a kept connection that the server has closed meanwhile
            **trust,
        )
    except (OSError, ValueError) as error:
        raise SearchMisconfigured(f"cannot use Elasticsearch at {address.shown}: {error}") from error


@contextmanager
def translated(address: Address, on_gone: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Turns the client's errors into SearchErrors; `on_gone` hears that the index is not there any more."""
    try:
        yield
    except elasticsearch.UnsupportedProductError as error:
        raise SearchMisconfigured(f"what answers at {address.shown} is not Elasticsearch 9; correct the URL") from error
    except elasticsearch.ApiError as error:
        if error.error == _GONE:
            on_gone()
        raise _meaning(address, error) from error
    except elasticsearch.SSLError as error:
        raise SearchMisconfigured(
            f"cannot trust Elasticsearch at {address.shown}: name its authority's file in ?ca_certs= ({error})"
        ) from error
    except elasticsearch.TransportError as error:
        raise SearchUnavailable(f"Elasticsearch at {address.shown} cannot be reached; try again ({error})") from error


def _meaning(address: Address, error: elasticsearch.ApiError) -> SearchError:
    where, status, words = f"Elasticsearch at {address.shown}", error.status_code, _words(error)
    if error.error == _BLOCKED and status in (403, 429):
        return SearchReadOnly(f"{where} takes no writes: free some space on it or lift the block ({words})")
    if error.error == _GONE:
        return SearchUnavailable(f"{where} has lost its index: the next try makes an empty one; try again")
    if status in (401, 403):
        return SearchMisconfigured(
            f"{where} refuses us: correct user and password in the URL, or the API key ({words})"
        )
    if status in (408, 429) or status >= 500 or status == 200:
        return SearchUnavailable(f"{where} is overloaded or not ready; try again ({words})")
    return SearchMisconfigured(f"{where} does not understand what it was sent: is it version 9? ({words})")


def _words(error: elasticsearch.ApiError) -> str:
    body = error.body
    inner = body.get("error") if isinstance(body, dict) else None
    reason = inner.get("reason") if isinstance(inner, dict) else None
    return " ".join(f"{error.status_code} {reason or error.message}".split())[:300]
