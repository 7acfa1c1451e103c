"""The server protocol on a connection held in memory and a clock that the test moves."""

import asyncio
import heapq
import itertools
import json
import re
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from lab.answers import Answers, json_body
from lab.faults import Fault
from lab.http_server import HttpConnection, Target
from lab.injector import Injector, ServiceTime

GET = b"GET /items?x=1 HTTP/1.1\r\nHost: lab\r\n\r\n"
POST = b"POST /items HTTP/1.1\r\nHost: lab\r\nContent-Length: 7\r\n\r\n{'a':1}"
CHUNKED = b"PUT / HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: lab\r\n\r\n"
DELETE = b"DELETE /items/1 HTTP/1.1\r\nHost: lab\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False
        self.aborted = False
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.closed:
            self.sent += bytes(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class World:
    """A target with its clock and timers in the hands of the test."""

    def __init__(self, *programme: Fault, base_s: float = 0.0) -> None:
        self.now_s = 100.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self.injector = Injector(ServiceTime(base_s, 0.0, seed=1), 4, self.now_s, programme)
        self.target = Target(self.injector, Answers(40), self, lambda: self.now_s)

    def call_at(self, when_s: float, callback: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._due, (when_s, self._order, callback))

    def close(self) -> None:
        return

    def run_until(self, until_s: float) -> None:
        while self._due and self._due[0][0] <= until_s:
            self.now_s, _, callback = heapq.heappop(self._due)
            callback()
        self.now_s = until_s

    def connect(self, *, control_only: bool = False) -> tuple[HttpConnection, Wire]:
        connection, wire = HttpConnection(self.target, control_only=control_only), Wire()
        connection.connection_made(wire)
        return connection, wire


def statuses(sent: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", sent)]


@given(
    requests=st.lists(st.sampled_from([GET, POST, CHUNKED, HEAD, DELETE]), min_size=1, max_size=6),
    closing=st.booleans(),
    cuts=st.lists(st.integers(0, 600), max_size=12),
    base_s=st.sampled_from([0.0, 0.01]),
)
def test_any_split_of_the_bytes_gives_the_same_answers(
    requests: list[bytes], closing: bool, cuts: list[int], base_s: float
) -> None:
    stream = b"".join(requests) + (CLOSE + GET if closing else b"")
    whole, split = World(base_s=base_s), World(base_s=base_s)
    first, first_wire = whole.connect()
    second, second_wire = split.connect()
    first.data_received(stream)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for low, high in itertools.pairwise(edges):
        if low < high:
            second.data_received(stream[low:high])
    whole.run_until(200.0)
    split.run_until(200.0)
    assert first_wire.sent == second_wire.sent
    assert statuses(first_wire.sent) == [200] * (len(requests) + closing)
    assert first_wire.closed == second_wire.closed == closing


def test_pipelined_requests_are_served_one_after_the_other() -> None:
    world = World(base_s=1.0)
    connection, wire = world.connect()
    connection.data_received(GET * 3)
    counts = []
    for at_s in (100.5, 101.5, 102.5, 103.5):
        world.run_until(at_s)
        counts.append(len(statuses(wire.sent)))
    assert counts == [0, 1, 2, 3]


def test_a_flood_of_pipelined_requests_pauses_reading_until_it_is_served() -> None:
    world = World(base_s=0.01)
    connection, wire = world.connect()
    connection.data_received(GET * 200)
    assert not wire.reading
    world.run_until(200.0)
    assert len(statuses(wire.sent)) == 200
    assert wire.reading


def test_head_gets_the_length_without_the_body() -> None:
    world = World()
    connection, wire = world.connect()
    connection.data_received(HEAD)
    assert b"Content-Length: 40\r\n" in wire.sent
    assert wire.sent.endswith(b"\r\n\r\n")


def test_what_is_not_http_is_answered_400_and_closed_after_the_answers_before_it() -> None:
    world = World(base_s=1.0)
    connection, wire = world.connect()
    connection.data_received(GET)
    connection.data_received(b"\x16\x03\x01 nonsense\r\n\r\n")
    world.run_until(200.0)
    assert statuses(wire.sent) == [200, 400]
    assert wire.closed
    assert world.injector.requests == 1


def test_an_upgrade_is_answered_as_a_plain_request_and_closed() -> None:
    world = World(base_s=1.0)
    connection, wire = world.connect()
    connection.data_received(b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    world.run_until(200.0)
    assert statuses(wire.sent) == [200]
    assert wire.closed


def test_a_client_that_closed_its_half_still_gets_its_answer() -> None:
    world = World(base_s=1.0)
    connection, wire = world.connect()
    connection.data_received(GET)
    assert connection.eof_received()
    world.run_until(102.0)
    assert statuses(wire.sent) == [200]
    assert wire.closed


def test_a_client_that_left_does_not_disturb_its_timer() -> None:
    world = World(base_s=1.0)
    connection, wire = world.connect()
    connection.data_received(GET)
    connection.connection_lost(None)
    world.run_until(102.0)
    assert wire.sent == b""
    assert world.target.connections == set()


def test_replicas_are_dealt_out_by_first_request_and_stick_to_the_connection() -> None:
    world = World(Fault("slow_replica", replica=1, factor=10), base_s=0.1)
    wires = []
    for _ in range(8):
        connection, wire = world.connect()
        connection.data_received(GET * 2)
        wires.append(wire)
    world.run_until(100.5)
    assert [len(statuses(wire.sent)) for wire in wires] == [2, 0, 2, 2, 2, 0, 2, 2]
    world.run_until(103.0)
    assert [len(statuses(wire.sent)) for wire in wires] == [2] * 8


def test_commands_are_not_counted_not_delayed_and_take_no_replica() -> None:
    world = World(Fault("hang"), base_s=1.0)
    connection, wire = world.connect()
    connection.data_received(b"GET /_lab/health HTTP/1.1\r\nHost: lab\r\n\r\n")
    assert statuses(wire.sent) == [200]
    assert world.injector.requests == 0
    assert world.target.next_caller().number == 0


def test_a_fault_armed_by_command_acts_on_the_next_request() -> None:
    world = World()
    connection, wire = world.connect()
    body = json.dumps({"kind": "bad_request", "status": 422}).encode()
    command = b"POST /_lab/fault HTTP/1.1\r\nHost: lab\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    connection.data_received(GET + command + GET + b"DELETE /_lab/fault HTTP/1.1\r\nHost: lab\r\n\r\n" + GET)
    assert statuses(wire.sent) == [200, 200, 422, 200, 200]


def test_a_wrong_command_is_answered_with_what_to_do() -> None:
    world = World()
    connection, wire = world.connect()
    connection.data_received(b"POST /_lab/fault HTTP/1.1\r\nHost: lab\r\nContent-Length: 2\r\n\r\n{}")
    connection.data_received(b"GET /_lab/fault HTTP/1.1\r\nHost: lab\r\n\r\n")
    connection.data_received(b"GET /_lab/x HTTP/1.1\r\nHost: lab\r\n\r\n")
    assert statuses(wire.sent) == [400, 405, 404]
    assert b"unknown fault kind" in wire.sent


def test_the_control_port_takes_no_load() -> None:
    world = World()
    connection, wire = world.connect(control_only=True)
    connection.data_received(GET)
    assert statuses(wire.sent) == [404]
    assert world.injector.requests == 0


def test_a_dropping_target_resets_the_connection_without_an_answer() -> None:
    world = World(Fault("dead_target", mode="drop"))
    connection, wire = world.connect()
    connection.data_received(GET * 2)
    assert (wire.sent, wire.aborted) == (b"", True)
    assert world.injector.record(world.now_s)[0].affected_requests == 1


def test_death_resets_load_and_spares_the_control() -> None:
    world = World(base_s=1.0)
    load, load_wire = world.connect()
    load.data_received(GET)
    control, control_wire = world.connect()
    control.data_received(b"GET /_lab/health HTTP/1.1\r\nHost: lab\r\n\r\n")
    assert world.target.reset_connections() == 1
    assert (load_wire.aborted, control_wire.aborted) == (True, False)
    load.connection_lost(None)
    control.data_received(GET)
    assert world.target.reset_connections() == 1
    assert control_wire.aborted


@given(st.integers(0, 300))
def test_a_body_is_json_of_exactly_the_size_asked_for(size: int) -> None:
    body = json_body(size)
    assert len(body) == size
    if size:
        json.loads(body)
