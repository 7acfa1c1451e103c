"""Owns the adapters that the search contract runs on: a new adapter is one more entry. It must not test anything."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from backbone.search.opening import open_search
from backbone.search.port import SearchIndex
from tests.stack.sharing import unique

UrlMaker = Callable[[pytest.FixtureRequest, Path], str]


def _embedded(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'search.db'}"


def _elasticsearch(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    node = request.getfixturevalue("elasticsearch_node")
    return f"{node.url}/{unique('contract')}"


@pytest.fixture(params=[pytest.param(_embedded, id="embedded"), pytest.param(_elasticsearch, id="elasticsearch")])
def search_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An index that nobody has opened yet."""
    maker: UrlMaker = request.param
    return maker(request, tmp_path)


@pytest.fixture
async def index(search_url: str) -> AsyncIterator[SearchIndex]:
    opened = await open_search(search_url)
    yield opened
    await opened.close()
