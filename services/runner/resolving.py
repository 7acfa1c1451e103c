"""Owns which addresses of a target a run may connect to. It must not connect; the rules are backbone.guard's."""

from collections.abc import Sequence

from backbone.guard import TargetPolicy, resolve_and_check
from schemas.lifecycle import RunRequested
from services.runner.errors import TargetUnresolved
from services.runner.pipe import Policy
from services.runner.request import Endpoint


async def allowed_addresses(endpoint: Endpoint, policy: Policy) -> list[str]:
    """Resolves and checks. Raises TargetNotAllowed, TargetUnresolved, or SettingsError for an unreadable policy."""
    rules = TargetPolicy.remote(policy.allow) if policy.remote else TargetPolicy.operator(policy.allow)
    try:
        return await resolve_and_check(endpoint.host, endpoint.port, rules)
    except OSError as error:
        raise TargetUnresolved(f"'{endpoint.host}' has no address: {error.strerror or error}") from None


def policy_for(request: RunRequested, operator_targets: Sequence[str]) -> Policy:
    """The person at the terminal is the operator; everybody else reaches what the operator has listed."""
    if request.requested_by == "cli":
        return Policy(remote=False, allow=request.allow_targets)
    return Policy(remote=True, allow=(*operator_targets, *request.allow_targets))
