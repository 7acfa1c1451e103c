"""What users of a scenario do over HTTP/2 is what they do over HTTP/1.1: against a server that h2 speaks for."""

import gzip
import json
from collections import Counter
from pathlib import Path
from time import perf_counter_ns

import h2.errors
from h2.connection import H2Connection

from schemas.scenario import Scenario
from services.runner.body_connection import KeepingConnection
from services.runner.journey import script_of
from services.runner.journey_engine import JourneyEngine
from services.runner.plan import EnginePlan
from services.runner.preparing import known_values, prepare
from services.runner.setup import performed
from services.runner.step_templates import literals_of
from services.runner.transports import dialer_for
from tests.unit.runner.journeys import run
from tests.unit.runner.notebook import Notebook
from tests.unit.runner.relays import http2_server
from tests.unit.runner.test_transports import TERMINAL

Head = dict[bytes, bytes]


class Shop:
    """Logs in, gives out tokens, packs its answers, leads elsewhere, and fails each first order of a user."""

    def __init__(self) -> None:
        self.asked: list[Head] = []
        self.failed: Counter[bytes] = Counter()

    def answer(self, connection: H2Connection, stream: int, head: Head, *_: object) -> None:
        self.asked.append(head)
        path = head[b":path"]
        match path.split(b"?")[0].strip(b"/").split(b"/"):
            case [b"login"]:
                self._reply(connection, stream, 200, {"access": "a1"})
            case [b"start"]:
                found = {"user": {"id": 3}, "token": f"t{len(self.asked)}"}
                self._reply(connection, stream, 200, found, ("set-cookie", "sid=s1; Path=/"), packed=True)
            case [b"orders", token]:
                self.failed[token] += 1
                if self.failed[token] == 1:
                    connection.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
                else:
                    self._reply(connection, stream, 503 if self.failed[token] == 2 else 200, {})
            case [b"old"]:
                self._reply(connection, stream, 302, {}, ("location", "/new"))
            case _:
                self._reply(connection, stream, 200, {})

    def _reply(
        self, connection: H2Connection, stream: int, status: int, body: object, *more: tuple[str, str],
        packed: bool = False,
    ) -> None:  # fmt: skip
        data = json.dumps(body).encode()
        headers = [(":status", str(status)), ("content-type", "application/json"), *more]
        if packed:
            data, headers = gzip.compress(data), [*headers, ("content-encoding", "gzip")]
        connection.send_headers(stream, headers)
        connection.send_data(stream, data, end_stream=True)


async def made(scenario: Scenario) -> Notebook:
    """As a worker makes it."""
    values = known_values(scenario, 0, {})
    setup = dialer_for(scenario, TERMINAL, kind=KeepingConnection)
    ready = prepare(scenario, "r", await performed(scenario, setup, values, "r"))
    script = script_of(scenario, "r", ready.pools, ready.values, ready.feeds)
    assert script is not None
    plan = EnginePlan("r", 0, literals_of(ready.pools), [1] * len(ready.pools), scenario.load, scenario.timeouts)
    notebook, dialer = Notebook(), dialer_for(scenario, TERMINAL)
    ending = await run(JourneyEngine(plan, script, dialer, notebook, t0_ns=perf_counter_ns()))
    assert ending.reason == "completed"
    return notebook


async def test_users_go_through_their_steps_with_rows_credentials_retries_and_redirects(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("user\nann\nbob\ncia\ndan\n")
    shop = Shop()
    async with http2_server(shop.answer) as server:
        scenario = Scenario.model_validate(
            {
                "target": f"http://127.0.0.1:{server.port}/",
                "http": 2,
                "sequence": True,
                "cookies": True,
                "auth": {"bearer": "{{ access }}"},
                "setup": [{"name": "login", "request": {"method": "POST", "path": "/login", "json": {"user": "b"}},
                           "extract": {"access": {"json": "access"}}}],
                "data": [{"name": "users", "file": str(tmp_path / "users.csv"), "order": "unique"}],
                "steps": [
                    {"name": "start", "request": {"path": "/start", "query": {"user": "{{ user }}"}},
                     "checks": ["status == 200", "json user.id == 3", "header content-type contains json"],
                     "extract": {"token": {"json": "token"}}},
                    {"name": "order",
                     "request": {"method": "POST", "path": "/orders/{{ token }}", "json": {"u": "{{ user }}"}},
                     "retries": {"attempts": 3, "backoff": "1ms"}},
                    {"name": "old", "request": {"path": "/old"}, "redirects": 1},
                    {"name": "wrong", "request": {"path": "/wrong"}, "checks": ["json nothing == 1"]},
                ],
                "load": {"requests": 4, "concurrency": 2},
            }
        )  # fmt: skip
        notebook = await made(scenario)
    attempts = Counter((each.step, each.status, each.error) for each in notebook.outcomes)
    assert attempts == {
        ("start", 200, None): 4, ("order", 0, "reset"): 4, ("order", 503, None): 4, ("order", 200, None): 4,
        ("old", 302, None): 4, ("old", 200, None): 4, ("wrong", 200, "check_failed"): 4,
    }  # fmt: skip
    asked = [head for head in shop.asked if head[b":path"] != b"/login"]
    assert {head[b"authorization"] for head in asked} == {b"Bearer a1"}
    assert Counter(head.get(b"cookie") for head in asked) == {None: 4, b"sid=s1": 24}
    users = {head[b":path"] for head in asked if head[b":path"].startswith(b"/start")}
    assert users == {b"/start?user=" + each for each in (b"ann", b"bob", b"cia", b"dan")}
    assert {head[b":method"] for head in asked if head[b":path"].startswith(b"/orders")} == {b"POST"}


async def test_a_conversation_goes_over_http2() -> None:
    heard: list[Head] = []

    def stream_tokens(connection: H2Connection, stream: int, head: Head, *_: object) -> None:
        heard.append(head)
        connection.send_headers(stream, [(":status", "200"), ("content-type", "text/event-stream")])
        connection.send_data(stream, b'data: {"choices": [{"delta": {"content": "Hello"}}]}\n\n')
        connection.send_data(stream, b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n')
        connection.end_stream(stream)

    async with http2_server(stream_tokens) as server:
        scenario = Scenario.model_validate(
            {
                "target": f"http://127.0.0.1:{server.port}",
                "http": 2,
                "steps": [{"llm": {"model": "m", "prompt": "hi", "turns": 3}}],
                "load": {"requests": 2, "concurrency": 2},
            }
        )
        notebook = await made(scenario)
    assert notebook.errors == {None: 6}
    assert len(heard) == 6
    sizes = sorted(int(head[b"content-length"]) for head in heard)
    assert sizes[0] == sizes[1] < sizes[2] == sizes[3] < sizes[4] == sizes[5]  # each turn holds what was said
