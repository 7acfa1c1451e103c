"""Owns the steps that come before the load: sent one after the other, what they find is there for all iterations.

They are no part of what is measured: nothing of them is recorded. It must not start the load or give it up.
"""

import asyncio
from time import perf_counter_ns

from schemas.scenario import Scenario, SetupStep, Timeouts
from services.runner.answer import Answer
from services.runner.connection import Carrier
from services.runner.data_feeds import Chances
from services.runner.dialer import Dialer, DialFailed, Phases
from services.runner.errors import RenderFailed, SetupFailed, TargetSilent
from services.runner.request import WireRequest
from services.runner.rules import Rules
from services.runner.sandbox import Values
from services.runner.step_templates import Sources, setup_template


async def performed(scenario: Scenario, dialer: Dialer, values: Values, run_id: str) -> dict[str, object]:
    """The values with those that the setup found. dialer: of connections that keep bodies.

    Raises SetupFailed, TargetSilent where no answer came at all, TargetNotAllowed.
    """
    known = dict(values)
    talk = _Talk(dialer, scenario.timeouts)
    chances = Chances(run_id, f"setup of {values.get('worker')}").values()
    try:
        for step in scenario.setup:
            template = setup_template(scenario, step, Sources(known | chances))
            try:
                request = template.render(known | chances)
            except RenderFailed as error:
                raise SetupFailed(f"setup step '{step.name}': {error}") from None
            known |= _found(step, await talk.ask(step.name, request))
    finally:
        talk.close()
    return known


def _found(step: SetupStep, answer: Answer) -> dict[str, object]:
    finding = Rules(step.checks, step.extract).read(answer)
    if finding.broken is not None:
        raise SetupFailed(f"setup step '{step.name}': {finding.broken} (status {answer.status})")
    if answer.status >= 400 and not finding.accepted:
        raise SetupFailed(f"setup step '{step.name}' was answered with status {answer.status}: no load was made")
    return dict(finding.values)


class _Talk:
    """One request after the other, on one connection for as long as the target keeps it."""

    def __init__(self, dialer: Dialer, timeouts: Timeouts) -> None:
        self._dialer = dialer
        self._timeouts = timeouts
        self._connection: Carrier | None = None
        self._ended: asyncio.Future[None]

    async def ask(self, step: str, request: WireRequest) -> Answer:
        """Raises TargetSilent."""
        loop = asyncio.get_running_loop()
        began_ns = perf_counter_ns()
        connection = self._connection
        if connection is None or not connection.reusable:
            connection = self._connection = await self._dialed(step)
        self._ended = loop.create_future()
        connection.send(request)
        timer = loop.call_later(self._timeouts.total_s, connection.give_up, "timeout")
        await self._ended
        timer.cancel()
        if connection.error is not None:
            raise TargetSilent(f"setup step '{step}' had no whole answer: {connection.error}")
        latency_us = (connection.finished_ns - began_ns) // 1000
        return Answer(connection.status, bytes(connection.head), connection.kept_body(), latency_us)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def _dialed(self, step: str) -> Carrier:
        try:
            return await self._dialer.dial(self._on_ended, self._timeouts.connect_s, Phases())
        except DialFailed as failure:
            raise TargetSilent(f"setup step '{step}' found no connection: {failure.kind}") from None

    def _on_ended(self, _: Carrier) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
