"""Owns how tests make a journey and run it. It must not know any test."""

import asyncio
from collections.abc import Sequence
from time import perf_counter_ns

from backbone.errors import TargetNotAllowed
from schemas.scenario import Scenario
from services.runner.body_connection import connection_kind
from services.runner.dialer import Dialer
from services.runner.feeds import Feeds
from services.runner.journey import script_of
from services.runner.journey_engine import JourneyEngine
from services.runner.plan import Ending, EnginePlan
from services.runner.request import Endpoint
from services.runner.step_templates import wire_pools
from services.runner.templates import RequestTemplate, literal_templates
from tests.unit.runner.notebook import Notebook
from tests.unit.runner.servers import Server


def journey(
    server: Server,
    notebook: Notebook,
    load: dict[str, object] | None = None,
    *,
    templates: Sequence[Sequence[RequestTemplate]] | None = None,
    feeds: Feeds | None = None,
    **scenario: object,
) -> JourneyEngine:
    load = load or {"concurrency": 1, "requests": 1}
    wanted = Scenario.model_validate({"target": f"http://127.0.0.1:{server.port}/", "load": load, **scenario})
    plan = EnginePlan("r", 0, wire_pools(wanted), [step.weight for step in wanted.steps], wanted.load, wanted.timeouts)
    script = script_of(wanted, "r", templates or literal_templates(plan.requests), feeds=feeds)
    assert script is not None

    def dialer_to(endpoint: Endpoint) -> Dialer:
        async def resolve() -> Sequence[str]:
            if endpoint.host == "forbidden.test":
                raise TargetNotAllowed("not there")
            return ["127.0.0.1"]

        return Dialer(endpoint, resolve, None, connection_kind(wanted.steps))

    dialer = dialer_to(Endpoint("127.0.0.1", server.port, False))
    return JourneyEngine(plan, script, dialer, notebook, t0_ns=perf_counter_ns(), dialer_to=dialer_to)


async def run(engine: JourneyEngine) -> Ending:
    return await asyncio.wait_for(engine.run(), 10)
