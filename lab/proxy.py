"""Owns a TCP proxy whose network fails on command: it listens, carries out commands and ends when told to.

Must not know what is spoken through it, nor what a fault does to bytes.

POST /_lab/fault   a fault as JSON; one of a kind that is on takes its place
DELETE /_lab/fault ends all faults
GET /_lab/health   how many connections and bytes there have been, and what is on
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

from lab.control import PREFIX, Reply
from lab.control_port import ControlConnection
from lab.errors import FaultError, LabError
from lab.listener import Listener
from lab.net_faults import net_fault_from
from lab.service import Addresses
from lab.wire import Weather, Wire

_HOST = "127.0.0.1"
_COMMANDS = {"fault": ("POST", "DELETE"), "health": ("GET",)}


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Where to forward to and where to listen; 0: any free port. Both ends are on loopback."""

    upstream_port: int
    port: int = 0
    control_port: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.upstream_port <= 65535:
            raise LabError("the upstream is a port from 1 to 65535 on 127.0.0.1")
        if not (0 <= self.port <= 65535 and 0 <= self.control_port <= 65535):
            raise LabError("ports go from 0 (any free one) to 65535")


class Proxy:
    """The connections that are open, and the faults that are on."""

    def __init__(self, settings: ProxySettings) -> None:
        self._upstream_port = settings.upstream_port
        self._weather = Weather()
        self._wires: dict[asyncio.Task[None], Wire] = {}
        self._accepted = 0
        self._opening: asyncio.Task[None] | None = None
        self.front = Listener(_HOST, settings.port, self._accept)

    def command(self, method: str, path: str, body: bytes) -> Reply:
        """Carries out one command; a wrong one is answered with one line that says what to do."""
        name = path.removeprefix(PREFIX.decode()).partition("?")[0]
        if name not in _COMMANDS:
            return _reply(404, {"error": f"no such command; there are: {', '.join(_COMMANDS)}"})
        if method not in _COMMANDS[name]:
            return _reply(405, {"error": f"{name} takes {' or '.join(_COMMANDS[name])}, not {method}"})
        if name == "fault":
            try:
                self._arm(json.loads(body)) if method == "POST" else self._clear()
            except FaultError as error:
                return _reply(400, {"error": str(error)})
            except ValueError:
                return _reply(400, {"error": "the body must be a fault as JSON"})
        return _reply(200, self._health())

    def end(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        self.front.release()
        self._reset_all()

    def _arm(self, data: object) -> None:
        fault = net_fault_from(data)
        self._weather.set({**self._weather.faults, fault.kind: fault})
        if fault.kind == "cut":
            if self._opening is not None:
                self._opening.cancel()
            self.front.close()
            self._reset_all()

    def _clear(self) -> None:
        was_cut = "cut" in self._weather.faults
        self._weather.set({})
        if was_cut:
            self._opening = asyncio.get_running_loop().create_task(self.front.open())

    def _health(self) -> dict[str, object]:
        weather = self._weather
        return {
            "status": "ok",
            "connections": len(self._wires),
            "accepted": self._accepted,
            "bytes_up": weather.bytes_up,
            "bytes_down": weather.bytes_down,
            "armed": [fault.as_dict() for fault in weather.faults.values()],
        }

    def _accept(self) -> asyncio.Protocol:
        reader = asyncio.StreamReader()
        return asyncio.StreamReaderProtocol(reader, self._connected)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(self._accepted, self._weather, (reader, writer))
        self._accepted += 1
        if "cut" in self._weather.faults:  # it came in the very turn
            wire.reset()
            return
        task = asyncio.get_running_loop().create_task(wire.run(_HOST, self._upstream_port))
        self._wires[task] = wire
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._wires.pop(task, None)
        if not task.cancelled():
            task.result()

    def _reset_all(self) -> None:
        for task, wire in list(self._wires.items()):
            wire.reset()
            task.cancel()


async def serve_proxy(settings: ProxySettings, announce: Callable[[Addresses], None], stop: asyncio.Event) -> None:
    """Serve until `stop` is set; `announce` is called once, when both addresses listen."""
    connections: set[ControlConnection] = set()
    proxy = Proxy(settings)
    control = Listener(_HOST, settings.control_port, lambda: ControlConnection(proxy.command, connections))
    try:
        await proxy.front.open()
        await control.open()
        announce(Addresses(f"tcp://{_HOST}:{proxy.front.port}", f"http://{_HOST}:{control.port}/"))
        await stop.wait()
    finally:
        proxy.end()
        control.release()
        for connection in list(connections):
            connection.close()


def _reply(status: int, value: object) -> Reply:
    return Reply(status, json.dumps(value).encode())
