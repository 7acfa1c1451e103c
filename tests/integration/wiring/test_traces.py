"""Owns that a run shows as one trace at a collector, from its request to its diagnosis, and changes nothing by it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from backbone.platform import open_platform
from backbone.settings import Settings
from backbone.tracing import head_of, is_wanted, span_of
from lab.process import LabServer
from lab.settings import TargetSettings
from queryscope.sessions import RunOrder, embedded_session, follow
from schemas.load import Load
from schemas.scenario import Scenario
from services.aggregator.verify import verify


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP. `services`: what the spans say they come from."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []
        self.services: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            self.services |= {
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            }
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Collector)
        if self.path == "/v1/traces":
            self.server.take(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """A test has nothing to say on stderr."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
async def target() -> AsyncIterator[str]:
    async with LabServer(TargetSettings(base_ms=1)) as lab:
        yield lab.url


async def a_run(settings: Settings, target: str) -> str:
    async with embedded_session(settings) as session:
        scenario = Scenario(target=target, load=Load(requests=50, concurrency=2))
        run_id = await session.start(RunOrder(scenario))
        async with asyncio.timeout(60):
            await follow(session, run_id, lambda _event: None, until_diagnosed=True)
    return run_id


async def test_a_run_is_one_trace_from_its_request_to_its_diagnosis(
    collector: Collector, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    settings = Settings(data_dir=tmp_path)
    run_id = await a_run(settings, target)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")

    assert {span.trace_id.hex() for span in collector.spans} == {run_id}
    by_id = {span.span_id: span for span in collector.spans}
    assert len(by_id) == len(collector.spans)
    parents = {span.name: by_id[span.parent_span_id].name if span.parent_span_id else None for span in collector.spans}
    expected = {
        "publish RunRequested": None,
        "runner process RunRequested": "publish RunRequested",
        "publish RunAccepted": "runner process RunRequested",
        "publish RunStarted": "runner process RunRequested",
        "publish RunFinished": "runner process RunRequested",
        "aggregator process RunFinished": "publish RunFinished",
        "publish RunJudged": "publish RunRequested",
        "publish RunSummary": "publish RunRequested",
        "indexer process RunSummary": "publish RunSummary",
        "diagnoser process RunSummary": "publish RunSummary",
        "publish DiagnosisReady": "publish RunSummary",
        "aggregator process DiagnosisReady": "publish DiagnosisReady",
    }
    assert {name: parents.get(name, "missing") for name in expected} == expected
    assert not [name for name in parents if "Outcome" in name or "Mark" in name]
    assert collector.services == {"queryscope"}
    kinds = {span.name.partition(" ")[0]: span.kind for span in collector.spans}
    assert (kinds["publish"], kinds["indexer"]) == (Span.SPAN_KIND_PRODUCER, Span.SPAN_KIND_CONSUMER)

    async with open_platform(settings) as platform:
        assert platform.tracing is None
        assert (await verify(platform, run_id)).equal


def test_traces_are_wanted_only_where_a_collector_is_named() -> None:
    named = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}
    assert not is_wanted({})
    assert is_wanted(named)
    assert not is_wanted(named | {"OTEL_SDK_DISABLED": "true"})
    assert not is_wanted(named | {"OTEL_TRACES_EXPORTER": "none"})


def test_a_line_that_is_no_control_record_has_no_place_in_a_trace() -> None:
    for line in (b"", b"[]", b"1", b"{}", b'{"type": "x", "id": "1", "run_id": "no hex"}', b'{"type":"x","id":1}'):
        assert head_of(line) is None
    assert span_of("a") == span_of("a") != span_of("b")
