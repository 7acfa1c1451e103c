"""Owns the real servers that tests may ask for: started when first asked for, shared by the session, gone at its end.

A test that stops or kills a server starts one of its own. It must not know what any test does with it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stack import elasticsearch, kafka, mariadb, postgres
from tests.stack.fetching import NotFetched, java_home

RequireThat = Callable[[bool, str, str], None]
Require = Callable[[str, str], str]


def _fetched(fetch: Callable[[], Path], name: str, require_that: RequireThat) -> None:
    told = ""
    try:
        fetch()
    except NotFetched as error:
        told = str(error)
    require_that(not told, f"{name} could not be fetched ({told})", "let mvn reach a Maven repository")


@pytest.fixture(scope="session")
def kafka_installed(require: Require, require_that: RequireThat) -> None:
    """Whoever wants a KafkaBroker of their own asks for this."""
    pytest.importorskip("aiokafka", reason="aiokafka is not installed; to mend it: pip install 'queryscope[kafka]'")
    require("setpriv", "apt-get install util-linux")
    require("mvn", "apt-get install maven")
    require_that(java_home(kafka.JAVA) is not None, "Java 17 is not installed", "apt-get install openjdk-17-jre")
    _fetched(kafka.fetch, "Kafka", require_that)


@pytest.fixture(scope="session")
def kafka_broker(kafka_installed: None) -> Iterator[kafka.KafkaBroker]:
    broker = kafka.KafkaBroker()
    try:
        yield broker.start()
    finally:
        broker.close()


@pytest.fixture(scope="session")
def postgres_installed(require: Require, require_that: RequireThat) -> None:
    """Whoever wants a PostgresServer of their own asks for this."""
    require("setpriv", "apt-get install util-linux")
    require_that(postgres.binaries() is not None, "PostgreSQL is not installed", "apt-get install postgresql")


@pytest.fixture(scope="session")
def postgres_server(postgres_installed: None) -> Iterator[postgres.PostgresServer]:
    server = postgres.PostgresServer()
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture(scope="session")
def mariadb_server(require: Require) -> Iterator[mariadb.MariadbServer]:
    require("setpriv", "apt-get install util-linux")
    require("mariadb-install-db", "apt-get install mariadb-server")
    server = mariadb.MariadbServer()
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture(scope="session")
def elasticsearch_installed(require: Require, require_that: RequireThat) -> None:
    """Whoever wants an ElasticsearchNode of their own asks for this."""
    require("setpriv", "apt-get install util-linux")
    require("mvn", "apt-get install maven")
    there = java_home(elasticsearch.JAVA, compiler=True) is not None
    require_that(there, "a JDK of version 21 or newer is not installed", "install one and set JAVA_HOME to it")
    _fetched(elasticsearch.fetch, "Elasticsearch", require_that)


@pytest.fixture(scope="session")
def elasticsearch_node(elasticsearch_installed: None) -> Iterator[elasticsearch.ElasticsearchNode]:
    node = elasticsearch.ElasticsearchNode()
    try:
        yield node.start()
    finally:
        node.close()
