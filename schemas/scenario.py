"""Owns what a run is asked to do: target, steps, load, SLA, labels. It must not resolve, connect or read anything."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from schemas.base import Strict
from schemas.sla import Sla, parse_sla
from schemas.units import parse_duration_s, parse_rate_per_s

LoadKind = Literal["iterations", "constant_concurrency", "constant_rate"]
Seconds = Annotated[float, BeforeValidator(parse_duration_s), Field(gt=0)]
PerSecond = Annotated[float, BeforeValidator(parse_rate_per_s), Field(gt=0, le=1_000_000)]
Method = Annotated[str, Field(pattern=r"^[A-Z]{1,16}$")]

DEFAULT_CONCURRENCY = 10
DEFAULT_CONNECTION_LIMIT = 1_000
DEFAULT_DURATION_S = 10.0
CREDENTIAL_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"}
)
REDACTED = "***"


class Request(Strict):
    """One HTTP request. `path` is joined to the target; empty means the target's own path and query."""

    method: Method = "GET"
    path: str = ""
    headers: dict[str, str] = {}
    body: str | None = None

    @field_validator("method", mode="before")
    @classmethod
    def _upper(cls, method: object) -> object:
        return method.upper() if isinstance(method, str) else method

    @field_validator("headers")
    @classmethod
    def _no_line_breaks(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not name.strip() or any(c in name + value for c in "\r\n\0"):
                raise ValueError(f"header {name!r} is empty or has a line break in it")
        return headers


class Step(Strict):
    """One kind of request of the mix; `weight` is its share beside the other steps' weights."""

    name: Annotated[str, Field(min_length=1, max_length=64)] = "default"
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    request: Request = Request()


class Load(Strict):
    """How much load: closed loop (concurrency with requests or duration) or open loop (rate with duration or requests).

    In an open loop `concurrency` caps the connections (None: 1,000); in a closed loop it is the number of users.
    `workers` processes share it exactly: all figures are of the whole run.
    """

    concurrency: Annotated[int, Field(ge=1, le=20_000)] | None = None
    requests: Annotated[int, Field(ge=1)] | None = None
    duration_s: Annotated[Seconds | None, Field(alias="duration")] = None
    rate_per_s: Annotated[PerSecond | None, Field(alias="rate")] = None
    workers: Annotated[int, Field(ge=1, le=256)] = 1

    model_config = Strict.model_config | {"populate_by_name": True}

    @property
    def kind(self) -> LoadKind:
        if self.rate_per_s is not None:
            return "constant_rate"
        return "iterations" if self.requests is not None else "constant_concurrency"

    @property
    def open_loop(self) -> bool:
        return self.rate_per_s is not None

    @model_validator(mode="after")
    def _whole(self) -> "Load":
        if self.rate_per_s is not None and self.requests is None and self.duration_s is None:
            object.__setattr__(self, "duration_s", DEFAULT_DURATION_S)
        elif self.rate_per_s is None:
            if self.requests is None and self.duration_s is None:
                object.__setattr__(self, "duration_s", DEFAULT_DURATION_S)
            if self.concurrency is None:
                users = max(DEFAULT_CONCURRENCY, self.workers)
                object.__setattr__(self, "concurrency", min(users, self.requests or users))
        return self

    @model_validator(mode="after")
    def _something_for_each_worker(self) -> "Load":
        for name, count in (("requests", self.requests), ("concurrency", self.concurrency)):
            if count is not None and count < self.workers:
                raise ValueError(f"{self.workers} workers cannot share {name} {count}: ask for {count} workers at most")
        return self


class Timeouts(Strict):
    """Limits in seconds: `connect` covers DNS, TCP and TLS; `total` runs from the request's start to its last byte."""

    connect_s: Annotated[Seconds, Field(alias="connect")] = 5.0
    total_s: Annotated[Seconds, Field(alias="total")] = 30.0
    grace_s: Annotated[Seconds, Field(alias="grace")] = 10.0

    model_config = Strict.model_config | {"populate_by_name": True}


class Scenario(Strict):
    """A whole benchmark. Runs of the same name and target form a history."""

    name: Annotated[str, Field(max_length=200)] = ""
    target: str
    steps: Annotated[list[Step], Field(min_length=1, max_length=64)] = [Step()]
    load: Load = Load()
    timeouts: Timeouts = Timeouts()
    insecure: bool = False
    sla: list[Sla] = []
    labels: dict[str, str] = {}

    @field_validator("target")
    @classmethod
    def _is_http_url(cls, target: str) -> str:
        try:
            url = urlsplit(target)
            port = url.port
        except ValueError as error:
            raise ValueError(f"'{target}' is not a URL ({error}): write it like http://127.0.0.1:8080/path") from None
        if url.scheme not in ("http", "https") or not url.hostname or port == 0:
            raise ValueError(f"'{target}' is not an http(s) URL: write it like http://127.0.0.1:8080/path")
        if url.username or url.password:
            raise ValueError("the target carries credentials: send them in a header instead")
        if any(ord(c) <= 32 or ord(c) == 127 for c in target):
            raise ValueError(f"'{target}' has a space or control character in it: percent-encode it")
        return target

    @field_validator("sla", mode="before")
    @classmethod
    def _sla_from_text(cls, sla: object) -> object:
        if not isinstance(sla, list):
            return sla
        return [parse_sla(item) if isinstance(item, str) else item for item in sla]

    @field_validator("labels", mode="before")
    @classmethod
    def _labels_are_text(cls, labels: object) -> object:
        if not isinstance(labels, dict):
            return labels
        return {str(k): str(v) for k, v in labels.items() if isinstance(v, str | int | float | bool)}

    @model_validator(mode="after")
    def _named(self) -> "Scenario":
        names = [step.name for step in self.steps]
        if len(set(names)) != len(names):
            raise ValueError("two steps have the same name: give each its own")
        if not self.name:
            url = urlsplit(self.target)
            object.__setattr__(self, "name", f"{url.netloc}{url.path.rstrip('/')}")
        for sla in self.sla:
            if sla.step is not None and sla.step not in names:
                raise ValueError(f"SLA '{sla.text}' names step '{sla.step}', the steps are: {', '.join(names)}")
        return self

    def credential_headers(self) -> list[str]:
        """Names of headers whose literal value is a credential."""
        return [
            name
            for step in self.steps
            for name, value in step.request.headers.items()
            if name.lower() in CREDENTIAL_HEADERS and value != REDACTED
        ]

    def redacted(self) -> "Scenario":
        """The scenario as it may be logged: literal credentials replaced by ***."""
        steps = [
            step.model_copy(
                update={
                    "request": step.request.model_copy(
                        update={
                            "headers": {
                                name: REDACTED if name.lower() in CREDENTIAL_HEADERS else value
                                for name, value in step.request.headers.items()
                            }
                        }
                    )
                }
            )
            for step in self.steps
        ]
        return self.model_copy(update={"steps": steps})
