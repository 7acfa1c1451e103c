"""Owns traces of control records: who appended one and who processed it. It must not see outcomes.

Nothing travels with a record. A run's trace bears the id of the run, and the span of an append is computed from the
record's id, so that whoever reads the record knows its parent on either backbone, replays stay the same to the bit, and
a record that is appended again after a crash shows as the same span. Where the standard OTEL_* variables name no
collector, nothing is imported for it and nothing is wrapped.
"""

import hashlib
import json
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from backbone.log.front import LogInFront
from backbone.log.port import Log
from backbone.log.subscribing import Subscription, subscribe
from backbone.telemetry import get_logger
from schemas.codec import encode_line
from schemas.lifecycle import Record
from schemas.topics import BREACHES, DIAGNOSES, RUNS, SUMMARIES

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Status

T = TypeVar("T")

CONTROL = frozenset({RUNS, BREACHES, SUMMARIES, DIAGNOSES})
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@dataclass(frozen=True, slots=True)
class Head:
    """What of a control record makes its place in a trace. trigger: the id of the record it answers, where it says."""

    type: str
    id: str
    run_id: str
    trigger: str | None

    @property
    def trace(self) -> int:
        return int(self.run_id, 16)

    @property
    def span(self) -> int:
        """All of a run hangs on its request, whose record's id only the request itself knows."""
        return span_of(self.run_id if self.type == "RunRequested" else self.id)

    @property
    def parent(self) -> int | None:
        """What it came of, where no span is open that knows better."""
        return None if self.type == "RunRequested" else span_of(self.trigger or self.run_id)


def span_of(name: str) -> int:
    """The id of the span of a record, or of a run's request; never 0, which would be none."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") | 1


def head_of(line: bytes) -> Head | None:
    """None for what is no control record of a run."""
    try:
        record = json.loads(line)
        head = Head(record["type"], record["id"], record["run_id"], record.get("trigger"))
        return head if head.trace else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def is_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the standard variables name a collector for traces."""
    off = (
        environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none"
    )
    return not off and any(environment.get(name) for name in ENDPOINTS)


def open_tracing() -> "Tracing | None":
    """Where it is wanted and installed. Spans leave in the background; `close` sends the last of them."""
    if not is_wanted():
        return None
    if find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter") is None:
        get_logger("tracing").warning("no traces are sent: pip install 'queryscope[otel]'")
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class RecordIds(RandomIdGenerator):
        """Ids that the record says, where a span is made of one."""

        def generate_span_id(self) -> int:
            head = _publishing.get()
            return super().generate_span_id() if head is None else head.span

        def generate_trace_id(self) -> int:
            head = _publishing.get()
            return super().generate_trace_id() if head is None else head.trace

    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "queryscope"}
    provider = TracerProvider(resource=Resource.create(named), id_generator=RecordIds())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


_publishing: ContextVar[Head | None] = ContextVar("publishing", default=None)


class Tracing:
    """Makes the spans of one process."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("queryscope")

    @contextmanager
    def publishing(self, topic: str, heads: Sequence[Head]) -> Iterator[None]:
        """The spans of one append."""
        spans = [self._publish(topic, head) for head in heads]
        try:
            yield
        except Exception as error:
            for span in spans:
                span.record_exception(error)
                span.set_status(_failed(error))
            raise
        finally:
            for span in spans:
                span.end()

    def _publish(self, topic: str, head: Head) -> "Span":
        from opentelemetry.trace import SpanKind

        parent, attributes = self._parent(head, head.parent), _attributes(topic, head, "send")
        token = _publishing.set(head)
        try:
            return self._tracer.start_span(f"publish {head.type}", parent, SpanKind.PRODUCER, attributes)
        finally:
            _publishing.reset(token)

    @contextmanager
    def processing(self, service: str, topic: str, head: Head) -> Iterator[None]:
        """The span of a record's processing, child of that of its append."""
        from opentelemetry.trace import SpanKind

        attributes = _attributes(topic, head, "process") | {"messaging.consumer.group.name": service}
        name, parent = f"{service} process {head.type}", self._parent(head, head.span)
        with self._tracer.start_as_current_span(name, parent, SpanKind.CONSUMER, attributes):
            yield

    def close(self) -> None:
        """Sends what waits, for as long as the exporter's time-out; blocks."""
        self._provider.shutdown()

    @staticmethod
    def _parent(head: Head, computed: int | None) -> "Context":
        """The open span where it belongs to this run, else the one that is computed."""
        from opentelemetry import context, trace

        if trace.get_current_span().get_span_context().trace_id == head.trace:
            return context.get_current()
        if computed is None:
            return context.Context()
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
        remote = trace.SpanContext(head.trace, computed, is_remote=True, trace_flags=flags)
        return trace.set_span_in_context(trace.NonRecordingSpan(remote), context.Context())


def _failed(error: Exception) -> "Status":
    from opentelemetry.trace import Status, StatusCode

    return Status(StatusCode.ERROR, type(error).__name__)


def _attributes(topic: str, head: Head, operation: str) -> dict[str, str]:
    return {
        "messaging.system": "queryscope",
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
        "messaging.message.id": head.id,
        "queryscope.run_id": head.run_id,
    }


Handle = Callable[[str, bytes], Coroutine[Any, Any, T]]  # Any: a coroutine's send type means nothing


def traced(handle: "Handle[T]", tracing: Tracing | None, service: str) -> "Handle[T]":
    """The handler of a consumer, each record in a span of its own; itself where nothing is traced."""
    if tracing is None:
        return handle

    async def handle_in_span(topic: str, line: bytes) -> T:
        head = head_of(line)
        if head is None:
            return await handle(topic, line)
        with tracing.processing(service, topic, head):
            return await handle(topic, line)

    return handle_in_span


@contextmanager
def processing(tracing: Tracing | None, service: str, topic: str, record: Record) -> Iterator[None]:
    """The span of what a service does for a record that did not come to it as a line."""
    head = None if tracing is None else head_of(encode_line(record))
    if tracing is None or head is None:
        yield
        return
    with tracing.processing(service, topic, head):
        yield


class TracedLog(LogInFront):
    """The log, with a span for each control record that is appended."""

    def __init__(self, log: Log, tracing: Tracing) -> None:
        super().__init__(log)
        self._tracing = tracing

    async def append(self, topic: str, partition: int, lines: bytes, count: int) -> int:
        if topic not in CONTROL:
            return await self._log.append(topic, partition, lines, count)
        heads = [head for line in lines.split(b"\n") if (head := head_of(line)) is not None]
        with self._tracing.publishing(topic, heads):
            return await self._log.append(topic, partition, lines, count)

    async def subscribe(self, group: str, member: str, topics: Sequence[str]) -> Subscription:
        return await subscribe(self._log, group, member, topics)
