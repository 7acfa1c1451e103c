"""Owns how Kafka is reached and how topics are made there: QUERYSCOPE_KAFKA_* variables and kafka:// URLs.

It must not connect. Secrets come from the environment alone, so that they stay out of command lines and URLs.
"""

import ssl
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from backbone.log.errors import LogMisconfigured

KAFKA_PREFIX = "QUERYSCOPE_KAFKA_"


class KafkaSettings(BaseSettings):
    """A client certificate (mTLS) needs cert_file and key_file; SASL needs sasl_mechanism, username and password."""

    model_config = SettingsConfigDict(env_prefix=KAFKA_PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    topic_prefix: str = Field(default="queryscope.", pattern=r"^[A-Za-z0-9._-]*$", max_length=150)
    replication: int | None = Field(default=None, ge=1)  # None: three, or as many as there are brokers
    outcomes_retention_days: int = Field(default=30, ge=1)
    session_timeout_ms: int = Field(default=10_000, ge=500)
    request_timeout_ms: int = Field(default=10_000, ge=100)
    instance: str | None = None  # a name that outlives restarts: a member that comes back in time keeps its partitions
    tls: bool = False
    ca_file: Path | None = None  # None: the system's authorities
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: SecretStr | None = None
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    username: str | None = None
    password: SecretStr | None = None

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        named = [self.ca_file, self.cert_file, self.key_file]
        if any(named) and not self.tls:
            raise ValueError(f"{KAFKA_PREFIX}TLS must be true for its files to be used")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError(f"{KAFKA_PREFIX}CERT_FILE and {KAFKA_PREFIX}KEY_FILE go together")
        missing = [path for path in named if path is not None and not path.is_file()]
        if missing:
            raise ValueError(f"there is no file {missing[0]}")
        given = [self.sasl_mechanism is not None, self.username is not None, self.password is not None]
        if any(given) and not all(given):
            raise ValueError(f"{KAFKA_PREFIX}SASL_MECHANISM, {KAFKA_PREFIX}USERNAME and PASSWORD go together")
        return self

    def tls_context(self) -> ssl.SSLContext | None:
        """Certificates and host names are always checked. Raises LogMisconfigured."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                password = self.key_password.get_secret_value() if self.key_password else None
                context.load_cert_chain(self.cert_file, self.key_file, password)
        except OSError as error:
            raise LogMisconfigured(f"the TLS files of {KAFKA_PREFIX}* cannot be used ({error})") from None
        return context


def load_kafka_settings() -> KafkaSettings:
    """From the environment. Raises LogMisconfigured with one line."""
    try:
        return KafkaSettings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "".join(f"{KAFKA_PREFIX}{str(part).upper()}: " for part in first["loc"][:1])
        raise LogMisconfigured(f"{name}{first['msg'].removeprefix('Value error, ')}") from None


def addresses_of(url: str) -> list[str]:
    """host:port of each broker that kafka://host:port[,host:port] names. Raises LogMisconfigured."""
    parts = urlsplit(url)
    addresses = [address for address in parts.netloc.split(",") if address]
    whole = all(address.rpartition(":")[0] and address.rpartition(":")[2].isdigit() for address in addresses)
    if parts.scheme != "kafka" or not addresses or not whole or "@" in parts.netloc or parts.path.strip("/"):
        raise LogMisconfigured(
            f"'{url}' names no broker: write kafka://host:9092[,host:9092] "
            f"(user, password and TLS go into {KAFKA_PREFIX}* variables)"
        )
    return addresses


def connection(addresses: list[str], settings: KafkaSettings) -> dict[str, Any]:  # Any: keyword arguments of aiokafka
    """What every client of this log is made with."""
    sasl = settings.sasl_mechanism is not None
    protocol = ("SASL_" if sasl else "") + ("SSL" if settings.tls else "PLAINTEXT")
    return {
        "bootstrap_servers": addresses,
        "client_id": "queryscope",
        "request_timeout_ms": settings.request_timeout_ms,
        "security_protocol": protocol,
        "ssl_context": settings.tls_context(),
        "sasl_mechanism": settings.sasl_mechanism or "PLAIN",
        "sasl_plain_username": settings.username,
        "sasl_plain_password": settings.password.get_secret_value() if settings.password else None,
    }
