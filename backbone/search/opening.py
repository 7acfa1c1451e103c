"""Owns which adapter a search URL means. It must not know what is indexed."""

from urllib.parse import urlsplit

from pydantic import SecretStr

from backbone.search.errors import SearchMisconfigured
from backbone.search.port import SearchIndex
from backbone.urls import sqlite_path


async def open_search(url: str, api_key: SecretStr | None = None) -> SearchIndex:
    """Opens the index that `url` names and creates it where it is missing; api_key: for a server. Raises SearchError.

    A server that is away does not hinder opening: whoever indexes waits for it, nobody else needs it to start.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        from backbone.search.embedded import open_embedded_search

        return await open_embedded_search(sqlite_path(url))
    if scheme in ("http", "https"):
        try:
            from backbone.search.elasticsearch import open_elasticsearch
        except ImportError as error:
            raise SearchMisconfigured(
                f"Elasticsearch needs a package that is missing ({error.name}): pip install 'queryscope[elasticsearch]'"
            ) from error
        return await open_elasticsearch(url, api_key=api_key)
    raise SearchMisconfigured(f"'{url}' is no search index: write sqlite:////path/search.db or https://host:9200")
