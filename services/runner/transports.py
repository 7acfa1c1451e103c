"""Owns which kind of connections a scenario is run on. It must not make one."""

from collections.abc import Sequence
from dataclasses import replace

from schemas.scenario import Scenario
from schemas.transport import Tls
from services.runner.body_connection import connection_kind
from services.runner.connection import Connection
from services.runner.dialer import Dialer
from services.runner.errors import ScenarioNotRunnable, TargetUnresolved
from services.runner.pipe import Policy
from services.runner.request import Endpoint, endpoint_of
from services.runner.resolving import allowed_addresses
from services.runner.tls import tls_context

_PROTOCOLS = {"1.1": ("http/1.1",), "2": ("h2",)}


def check_transport(scenario: Scenario) -> None:
    """What can be told before the first connection. Raises ScenarioNotRunnable."""
    tls_context(scenario.tls, insecure=scenario.insecure)
    _dialer_class(scenario)


def dialer_for(
    scenario: Scenario, policy: Policy, endpoint: Endpoint | None = None, kind: type[Connection] | None = None
) -> Dialer:
    """What makes the connections of one worker. endpoint: another than the target's, where a redirect leads.

    kind: another than the cheapest that reads what the steps need. Raises ScenarioNotRunnable.
    """
    own = endpoint_of(scenario.target, scenario.unix)
    if endpoint is None or replace(endpoint, unix=own.unix) == own:
        endpoint = own
    tls: Tls = scenario.tls if endpoint == own else scenario.tls.for_others()
    proxy = None if scenario.proxy is None else endpoint_of(scenario.proxy)
    tunnelled = proxy is not None and (endpoint.tls or scenario.http == "2")
    made = _dialer_class(scenario)(
        proxy or endpoint,
        lambda: _addresses(endpoint, proxy, policy),
        tls_context(tls, insecure=scenario.insecure, protocols=_PROTOCOLS[scenario.http]) if endpoint.tls else None,
        kind or connection_kind(scenario.steps),
        dns=scenario.dns,
        server_name=tls.server_name or endpoint.host,
        tunnel=endpoint if tunnelled else None,
        forward_to=endpoint if proxy is not None and not tunnelled else None,
    )
    made.origin = endpoint
    return made


def _dialer_class(scenario: Scenario) -> type[Dialer]:
    if scenario.http != "2":
        return Dialer
    try:
        from services.runner.http2_connection import Http2Dialer
    except ImportError:
        raise ScenarioNotRunnable("http: 2 needs an extra: pip install 'queryscope[http2]'") from None
    return Http2Dialer


async def _addresses(endpoint: Endpoint, proxy: Endpoint | None, policy: Policy) -> Sequence[str]:
    """What to connect to. A proxy resolves names itself: what it is asked for is checked by our own resolution.

    A name that only the proxy knows cannot be checked: that is for the person at the terminal alone.
    """
    if proxy is None:
        return await allowed_addresses(endpoint, policy)
    try:
        await allowed_addresses(endpoint, policy)
    except TargetUnresolved:
        if policy.remote:
            raise
    return await allowed_addresses(proxy, policy)
