"""Owns which addresses of a target a run may connect to. It must not connect; the rules are backbone.guard's."""

from backbone.guard import TargetPolicy, resolve_and_check
from services.runner.errors import TargetUnresolved
from services.runner.pipe import Policy
from services.runner.request import Endpoint


async def allowed_addresses(endpoint: Endpoint, policy: Policy) -> list[str]:
    """Resolves and checks; of a Unix socket its path. Raises TargetNotAllowed, TargetUnresolved or SettingsError."""
    rules = TargetPolicy.remote(policy.allow) if policy.remote else TargetPolicy.operator(policy.allow)
    if endpoint.unix is not None:
        rules.check_socket(endpoint.unix)
        return [endpoint.unix]
    try:
        return await resolve_and_check(endpoint.host, endpoint.port, rules)
    except OSError as error:
        raise TargetUnresolved(f"'{endpoint.host}' has no address: {error.strerror or error}") from None
