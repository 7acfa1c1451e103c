"""Owns what a run is asked to do: target, steps, load, SLA, labels. It must not resolve, connect or read anything."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from schemas.auth import CREDENTIAL_HEADERS, REDACTED, Auth, is_literal_secret, is_secret_name
from schemas.base import Strict
from schemas.checks import parse_check
from schemas.feeds import Feed, Identifier
from schemas.journey import Extract, Name, Retries, Think
from schemas.llm import Llm, Price
from schemas.load import Load, Seconds
from schemas.request import Request
from schemas.scenario_names import refuse_unknown_names
from schemas.sla import STREAM_TIMINGS, Sla, parse_sla
from schemas.transport import Dns, HttpVersion, ProxyUrl, Tls

__all__ = ["CREDENTIAL_HEADERS", "REDACTED", "Request", "Scenario", "SetupStep", "Step", "Timeouts", "Variables"]


def _canonical(checks: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(parse_check(text).text for text in checks)


Checks = Annotated[tuple[str, ...], Field(max_length=32), AfterValidator(_canonical)]
Variables = dict[Identifier, str | int | float | bool]


class Step(Strict):
    """One kind of request of the mix; `weight` is its share beside the other steps' weights.

    A step is a `request`, or an `llm` call that is turned into one. think: what the user waits after its answer.
    extract: values for the steps that follow in the iteration. checks: what the answer has to be, in canonical text.
    redirects: how many are followed. timeout: of one attempt, instead of the scenario's total.
    """

    model_config = Strict.model_config | {"populate_by_name": True}

    name: Annotated[str, Field(min_length=1, max_length=64)] = "default"
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    request: Request = Request()
    llm: Llm | None = None
    think: Think | None = None
    extract: dict[Name, Extract] = {}
    checks: Checks = ()
    retries: Retries | None = None
    redirects: Annotated[int, Field(ge=0, le=50)] = 0
    timeout_s: Annotated[Seconds | None, Field(alias="timeout")] = None
    auth: Auth | None = None

    @model_validator(mode="after")
    def _request_or_llm(self) -> "Step":
        if self.llm is not None and self.request != Request():
            raise ValueError("a step is a request or an llm call: write two steps")
        return self

    @property
    def reads_body(self) -> bool:
        """Whether a check or an extraction looks at the body of the answer."""
        found = any(extract.header is None for extract in self.extract.values())
        return found or any(parse_check(text).reads_body for text in self.checks)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the scenario gives it."""
        return self.request.headers if self.llm is None else self.llm.headers


class SetupStep(Strict):
    """One request before the load. extract: values for the steps after it, in the setup and in the load."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    request: Request = Request()
    auth: Auth | None = None
    extract: dict[Name, Extract] = {}
    checks: Checks = ()

    @property
    def headers(self) -> dict[str, str]:
        """The headers that the scenario gives it."""
        return self.request.headers


class Timeouts(Strict):
    """Limits in seconds: `connect` covers DNS, TCP and TLS; `total` runs from the request's start to its last byte."""

    connect_s: Annotated[Seconds, Field(alias="connect")] = 5.0
    total_s: Annotated[Seconds, Field(alias="total")] = 30.0
    grace_s: Annotated[Seconds, Field(alias="grace")] = 10.0

    model_config = Strict.model_config | {"populate_by_name": True}


class Scenario(Strict):
    """A whole benchmark. Runs of the same name and target form a history. prices: by model.

    unix: the socket that connections go to; the target still gives the Host header and the path.

    sequence: an iteration is all steps in their order on the same user; else it is one step of the weighted mix.
    cookies: each user keeps those of its answers, for the iteration.
    variables, data (rows from files) and what setup extracts fill in the templates. setup: once in each worker, before
    the load. auth: for every step that has none of its own.
    """

    name: Annotated[str, Field(max_length=200)] = ""
    target: str
    variables: Variables = {}
    data: Annotated[list[Feed], Field(max_length=16)] = []
    auth: Auth | None = None
    setup: Annotated[list[SetupStep], Field(max_length=64)] = []
    steps: Annotated[list[Step], Field(min_length=1, max_length=64)] = [Step()]
    sequence: bool = False
    cookies: bool = False
    load: Load = Load()
    timeouts: Timeouts = Timeouts()
    insecure: bool = False
    tls: Tls = Tls()
    dns: Dns = Dns()
    unix: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    http: HttpVersion = "1.1"
    proxy: ProxyUrl | None = None
    sla: list[Sla] = []
    labels: dict[str, str] = {}
    prices: dict[str, Price] = {}

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
        if self.sequence and any(step.weight != 1 for step in self.steps):
            raise ValueError("in a sequence every step is done once: leave `weight` out")
        if self.proxy is not None and self.unix is not None:
            raise ValueError("connections go to the proxy or to the Unix socket: leave one out")
        if not self.name:
            url = urlsplit(self.target)
            object.__setattr__(self, "name", f"{url.netloc}{url.path.rstrip('/')}")
        for sla in self.sla:
            if sla.step is not None and sla.step not in names:
                raise ValueError(f"SLA '{sla.text}' names step '{sla.step}', the steps are: {', '.join(names)}")
            judged = [step for step in self.steps if sla.step in (None, step.name)]
            if sla.of_slo and not any(step.llm is not None and step.llm.slo is not None for step in judged):
                raise ValueError(
                    f"SLA '{sla.text}' counts answers that kept an slo, and no llm step has an `slo`: write one, or "
                    "'goodput >= 95% where latency < 300ms'"
                )
            if sla.of in STREAM_TIMINGS and not any(step.llm is not None and step.llm.stream for step in judged):
                raise ValueError(f"SLA '{sla.text}': {sla.of} is measured on streamed llm steps, and there is none")
        return self

    @model_validator(mode="after")
    def _searches_by_promises(self) -> "Scenario":
        if self.load.capacity is None:
            return self
        if not self.sla:
            raise ValueError("a search for capacity needs a promise to keep: give an `sla`, like 'p95 < 200ms'")
        for sla in self.sla:
            if sla.unit == "per_s":
                raise ValueError(f"SLA '{sla.text}': a search for capacity finds the rate itself: leave it out")
            if sla.window_s is not None or sla.after_s or sla.abort:
                raise ValueError(
                    f"SLA '{sla.text}': a search for capacity judges whole levels: leave over, after and abort out"
                )
        return self

    @model_validator(mode="after")
    def _values_known(self) -> "Scenario":
        for what, names in (
            ("setup steps", [step.name for step in self.setup]),
            ("feeds", [f.name for f in self.data]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"two {what} have the same name: give each its own")
        refuse_unknown_names(self, None)
        return self

    @property
    def all_steps(self) -> list[SetupStep | Step]:
        """Those of the setup and those of the load."""
        return [*self.setup, *self.steps]

    def literal_credentials(self) -> list[str]:
        """Where a credential itself stands: such a scenario stays on this machine, and is logged without it."""
        found = [
            f"header {name}"
            for step in self.all_steps
            for name, value in step.headers.items()
            if name.lower() in CREDENTIAL_HEADERS and is_literal_secret(value)
        ]
        auths = [("auth", self.auth), *((f"auth of step '{step.name}'", step.auth) for step in self.all_steps)]
        found += [where for where, auth in auths if auth is not None and auth.literal]
        return found + [f"variable {name}" for name, value in self.variables.items() if _is_secret(name, value)]

    @property
    def files(self) -> list[str]:
        """The files that whoever makes its load has to read."""
        auths = [auth for auth in (self.auth, *(step.auth for step in self.all_steps)) if auth is not None]
        secrets = [secret.file for auth in auths for _, secret in auth.secrets() if not isinstance(secret, str)]
        return [*self.content_files, *secrets, *self.tls.files]

    @property
    def content_files(self) -> list[str]:
        """Those of them that say what is sent and when: the same for all who make its load."""
        bodies = [file for step in self.all_steps for file in step.request.files]
        trace = [] if self.load.trace_file is None else [self.load.trace_file]
        return [*(feed.file for feed in self.data), *trace, *bodies]

    @property
    def has_prompts(self) -> bool:
        """Whether a prompt stands in it."""
        calls = [step.llm for step in self.steps if step.llm is not None]
        return any(call.synthetic is None and call.prompt != REDACTED for call in calls)

    def redacted(self, *, prompts: bool = True) -> "Scenario":
        """The scenario as it may be logged: literal credentials replaced by ***, and prompts unless told otherwise."""
        return self.model_copy(
            update={
                "steps": [_redacted(step, prompts) for step in self.steps],
                "setup": [step.model_copy(update=_redacted_request(step)) for step in self.setup],
                "auth": None if self.auth is None else self.auth.redacted(),
                "variables": {k: REDACTED if _is_secret(k, v) else v for k, v in self.variables.items()},
            }
        )


def _is_secret(name: str, value: object) -> bool:
    return is_secret_name(name) and is_literal_secret(str(value))


def _redacted(step: Step, prompts: bool) -> Step:
    if step.llm is None:
        return step.model_copy(update=_redacted_request(step))
    hidden = {"headers": _redacted_headers(step)} | (
        {"prompt": REDACTED} if prompts and step.llm.synthetic is None else {}
    )
    return step.model_copy(update=_redacted_auth(step) | {"llm": step.llm.model_copy(update=hidden)})


def _redacted_request(step: Step | SetupStep) -> dict[str, object]:
    return _redacted_auth(step) | {"request": step.request.model_copy(update={"headers": _redacted_headers(step)})}


def _redacted_auth(step: Step | SetupStep) -> dict[str, object]:
    return {"auth": None if step.auth is None else step.auth.redacted()}


def _redacted_headers(step: Step | SetupStep) -> dict[str, str]:
    return {
        name: REDACTED if name.lower() in CREDENTIAL_HEADERS and is_literal_secret(value) else value
        for name, value in step.headers.items()
    }
