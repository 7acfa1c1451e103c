"""Owns that a database is reached over TLS when its URL says so, and never where its certificate is not trusted."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backbone.database.adapters import adapter_of
from backbone.database.engine import open_database
from backbone.database.errors import DatabaseMisconfigured
from tests.stack.mariadb import MariadbServer
from tests.stack.postgres import PostgresServer

OPENSSL_S = 30
CIPHERS = {
    "postgresql": "SELECT coalesce(cipher, '') FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    "mysql": "SELECT variable_value FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'",
}


@dataclass(frozen=True)
class Secured:
    """A server's URL, and the authority that vouches for it as `localhost`, not as 127.0.0.1."""

    url: str
    authority: Path

    @property
    def named(self) -> str:
        return self.url.replace("127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def certificate(require: Callable[[str, str], str]) -> Iterator[tuple[Path, Path]]:
    """A certificate that is its own authority, and its key, where a server that is not root can read them."""
    openssl = require("openssl", "apt-get install openssl")
    folder = Path(tempfile.mkdtemp(prefix="queryscope-tls-"))
    made, key = folder / "certificate.pem", folder / "key.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost"]
    command = [openssl, *words, *names, "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True, timeout=OPENSSL_S)
    key.chmod(0o600)
    if os.geteuid() == 0:
        folder.chmod(0o711)
        os.chown(key, 65534, 65534)
    yield made, key
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def secured_postgres(postgres_installed: None, certificate: tuple[Path, Path]) -> Iterator[Secured]:
    made, key = certificate
    server = PostgresServer(["ssl=on", f"ssl_cert_file={made}", f"ssl_key_file={key}"])
    try:
        server.start()
        yield Secured(server.url(), made)
    finally:
        server.close()


@pytest.fixture(scope="module")
def secured_mariadb(require: Callable[[str, str], str], certificate: tuple[Path, Path]) -> Iterator[Secured]:
    require("setpriv", "apt-get install util-linux")
    require("mariadb-install-db", "apt-get install mariadb-server")
    made, key = certificate
    server = MariadbServer([f"--ssl-cert={made}", f"--ssl-key={key}"])
    try:
        server.start()
        yield Secured(server.url(), made)
    finally:
        server.close()


@pytest.fixture(params=["secured_postgres", "secured_mariadb"])
def secured(request: pytest.FixtureRequest) -> Secured:
    found: Secured = request.getfixturevalue(request.param)
    return found


async def cipher(url: str) -> str:
    """What a connection is encrypted with; empty where it is not."""
    database = await open_database(url)
    try:
        async with database.read() as conn:
            found = (await conn.exec_driver_sql(CIPHERS[url.partition(":")[0]])).scalar()
            return str(found or "")
    finally:
        await database.close()


async def test_a_trusted_server_is_reached_over_tls_by_its_name_and_authority(secured: Secured) -> None:
    assert await cipher(f"{secured.named}?sslmode=verify-full&sslrootcert={secured.authority}")
    assert await cipher(f"{secured.url}?sslmode=verify-ca&sslrootcert={secured.authority}")
    assert await cipher(f"{secured.url}?sslmode=require")
    assert not await cipher(f"{secured.url}?sslmode=disable")


async def test_a_server_that_nobody_vouches_for_or_of_another_name_is_refused_in_one_line(secured: Secured) -> None:
    for url in (
        f"{secured.named}?sslmode=verify-full",
        f"{secured.url}?sslmode=verify-full&sslrootcert={secured.authority}",
    ):
        with pytest.raises(DatabaseMisconfigured, match="cannot be trusted; name its authority's file") as caught:
            await cipher(url)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
@pytest.mark.parametrize("words", ["sslmode=verify", "sslmode=verify-full&sslrootcert=/nowhere.pem"])
def test_tls_words_that_mean_nothing_are_refused(scheme: str, words: str) -> None:
    with pytest.raises(DatabaseMisconfigured, match=r"sslmode=verify in|sslrootcert, sslcert and sslkey"):
        adapter_of(f"{scheme}://ada@localhost/runs?{words}")
