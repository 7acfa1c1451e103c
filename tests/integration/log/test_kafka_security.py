"""Owns that a broker that wants TLS, a client certificate and a password gets all three, and nobody else gets in."""

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from backbone.log.errors import LogError
from backbone.log.kafka import KafkaLog, open_kafka_log
from backbone.log.kafka_settings import KafkaSettings
from backbone.waiting import pause
from tests.stack.daemon import free_ports
from tests.stack.kafka import KafkaBroker

OPENSSL_S = 30
WAIT_S = 60.0  # bounds a hang, asserts nothing


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority, and a certificate with its key that it signed, for the server and for a client."""

    authority: Path
    certificate: Path
    key: Path


def certificates(folder: Path, openssl: str) -> Certificates:
    """One self-signed certificate is its own authority, which serves a test as well as two."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    command = [openssl, *words, *names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=OPENSSL_S)
    return Certificates(certificate, certificate, key)


@pytest.fixture
def secured(
    kafka_installed: None, tmp_path: Path, require: Callable[[str, str], str]
) -> Iterator[tuple[str, Certificates]]:
    made = certificates(tmp_path, require("openssl", "apt-get install openssl"))
    pem = tmp_path / "server.pem"
    pem.write_text(made.key.read_text() + made.certificate.read_text())
    (port,) = free_ports(1)
    broker = KafkaBroker(tmp_path / "broker")
    broker.add_listener(
        "SECURED",
        port,
        {
            "security.protocol": "SASL_SSL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": pem,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": made.authority,
            "ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            "scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            "plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required "
            'user_runner="let-me-in";',
        },
    )
    broker.add_scram_user("runner", "let-me-in-too")
    try:
        broker.start()
        yield f"kafka://127.0.0.1:{port}", made
    finally:
        broker.close()


async def brought(log: KafkaLog, group: str) -> bytes:
    """What a subscription brings: its consumer has a connection of its own."""
    try:
        subscription = await log.subscribe(group, "m", ["outcomes"])
        async with asyncio.timeout(WAIT_S):
            while 1 not in await subscription.owned():
                await pause(asyncio.Event(), 0.05)
        (batch,) = await subscription.read("outcomes", 1, 0, 10)
        return batch.lines
    finally:
        await log.close()


async def test_only_who_shows_certificate_and_password_gets_in(secured: tuple[str, Certificates]) -> None:
    url, made = secured
    right = KafkaSettings(
        request_timeout_ms=5000,
        tls=True,
        ca_file=made.authority,
        cert_file=made.certificate,
        key_file=made.key,
        sasl_mechanism="PLAIN",
        username="runner",
        password=SecretStr("let-me-in"),
    )
    log = await open_kafka_log(url, 2, right)
    await log.append("outcomes", 1, b"secret", 1)
    found = [batch.lines for batch in await log.read("outcomes", 1, 0)]
    await log.close()
    assert found == [b"secret"]
    scram = right.model_copy(update={"sasl_mechanism": "SCRAM-SHA-512", "password": SecretStr("let-me-in-too")})
    for settings in (right, scram):
        assert await brought(await open_kafka_log(url, 2, settings), settings.sasl_mechanism or "") == b"secret"
    wrong = [
        right.model_copy(update={"password": SecretStr("guess")}),
        scram.model_copy(update={"password": SecretStr("let-me-in")}),
        right.model_copy(update={"cert_file": None, "key_file": None}),
        right.model_copy(update={"ca_file": None}),
    ]
    for settings in wrong:
        with pytest.raises(LogError):
            await open_kafka_log(url, 2, settings)
