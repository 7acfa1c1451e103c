"""Owns the real servers that tests may ask for: started when first asked for, shared by the session, gone at its end.

All processes of the session share them: a test keeps to names that are its own (`unique`, `new_database`), and one that
stops or kills a server starts one of its own. It must not know what any test does with it.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stack import elasticsearch, kafka, mariadb, postgres
from tests.stack.fetching import NotFetched, java_home
from tests.stack.sharing import shared

RequireThat = Callable[[bool, str, str], None]
Require = Callable[[str, str], str]

MANY_CONNECTIONS = "max_connections=300"  # of all processes of the session, and of all that their tests start


def _fetched(fetch: Callable[[], Path], name: str, require_that: RequireThat) -> None:
    told = ""
    try:
        fetch()
    except NotFetched as error:
        told = str(error)
    require_that(not told, f"{name} could not be fetched ({told})", "let mvn reach a Maven repository")


@pytest.fixture(scope="session")
def meeting_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The folder that the processes of this session have in common; None where there is one process alone."""
    return tmp_path_factory.getbasetemp().parent if hasattr(request.config, "workerinput") else None


@pytest.fixture(scope="session")
def kafka_installed(require: Require, require_that: RequireThat) -> None:
    """Whoever wants a KafkaBroker of their own asks for this."""
    pytest.importorskip("aiokafka", reason="aiokafka is not installed; to mend it: pip install 'queryscope[kafka]'")
    require("setpriv", "apt-get install util-linux")
    require("mvn", "apt-get install maven")
    require_that(java_home(kafka.JAVA) is not None, "Java 17 is not installed", "apt-get install openjdk-17-jre")
    _fetched(kafka.fetch, "Kafka", require_that)


@pytest.fixture(scope="session")
def kafka_broker(
    kafka_installed: None, request: pytest.FixtureRequest, meeting_place: Path | None
) -> kafka.KafkaBroker:
    return shared(request.config, meeting_place, "kafka", kafka.KafkaBroker)


@pytest.fixture(scope="session")
def postgres_installed(require: Require, require_that: RequireThat) -> None:
    """Whoever wants a PostgresServer of their own asks for this."""
    require("setpriv", "apt-get install util-linux")
    require_that(postgres.binaries() is not None, "PostgreSQL is not installed", "apt-get install postgresql")


@pytest.fixture(scope="session")
def postgres_server(
    postgres_installed: None, request: pytest.FixtureRequest, meeting_place: Path | None
) -> postgres.PostgresServer:
    return shared(request.config, meeting_place, "postgres", lambda: postgres.PostgresServer([MANY_CONNECTIONS]))


@pytest.fixture(scope="session")
def mariadb_installed(require: Require) -> None:
    """Whoever wants a MariadbServer of their own asks for this."""
    require("setpriv", "apt-get install util-linux")
    require("mariadb-install-db", "apt-get install mariadb-server")


@pytest.fixture(scope="session")
def mariadb_server(
    mariadb_installed: None, request: pytest.FixtureRequest, meeting_place: Path | None
) -> mariadb.MariadbServer:
    return shared(request.config, meeting_place, "mariadb", mariadb.MariadbServer)


@pytest.fixture(scope="session")
def elasticsearch_installed(require: Require, require_that: RequireThat) -> None:
    """Whoever wants an ElasticsearchNode of their own asks for this."""
    require("setpriv", "apt-get install util-linux")
    require("mvn", "apt-get install maven")
    there = java_home(elasticsearch.JAVA, compiler=True) is not None
    require_that(there, "a JDK of version 21 or newer is not installed", "install one and set JAVA_HOME to it")
    _fetched(elasticsearch.fetch, "Elasticsearch", require_that)


@pytest.fixture(scope="session")
def elasticsearch_node(
    elasticsearch_installed: None, request: pytest.FixtureRequest, meeting_place: Path | None
) -> elasticsearch.ElasticsearchNode:
    return shared(request.config, meeting_place, "elasticsearch", elasticsearch.ElasticsearchNode)
