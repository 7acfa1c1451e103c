"""Owns which kind of connections a scenario is run on. It must not make one."""

from dataclasses import replace

from schemas.scenario import Scenario
from services.runner.body_connection import connection_kind
from services.runner.connection import Connection
from services.runner.dialer import Dialer
from services.runner.pipe import Policy
from services.runner.request import Endpoint, endpoint_of
from services.runner.resolving import allowed_addresses
from services.runner.tls import tls_context


def check_transport(scenario: Scenario) -> None:
    """What can be told before the first connection. Raises ScenarioNotRunnable."""
    tls_context(scenario.tls, insecure=scenario.insecure)


def dialer_for(
    scenario: Scenario, policy: Policy, endpoint: Endpoint | None = None, kind: type[Connection] | None = None
) -> Dialer:
    """What makes the connections of one worker. endpoint: another than the target's, where a redirect leads.

    kind: another than the cheapest that reads what the steps need. Raises ScenarioNotRunnable.
    """
    own = endpoint_of(scenario.target, scenario.unix)
    if endpoint is None or replace(endpoint, unix=own.unix) == own:
        endpoint = own
    tls = scenario.tls if endpoint == own else scenario.tls.for_others()
    return Dialer(
        endpoint,
        lambda: allowed_addresses(endpoint, policy),
        tls_context(tls, insecure=scenario.insecure) if endpoint.tls else None,
        kind or connection_kind(scenario.steps),
        dns=scenario.dns,
        server_name=tls.server_name,
    )
