"""Owns which broken promises the client broke by itself, by starting requests late. It must not judge the run.

In an open loop promises are timed from the scheduled instant, so that a target that holds up all connections cannot
hide it. Where connections were free all along, a late start was the client's: what kept its promise from the start of
the requests on is no breach of the target's.
"""

from backbone.maths.sla import Assessment, SlaView, assess, timing_of
from schemas.load import DEFAULT_CONNECTION_LIMIT
from schemas.sla import Sla
from services.aggregator.closing import OpenRun


def broken_by_own_delay(run: OpenRun, sla: Sla, final: Assessment, view: SlaView) -> str | None:
    """What was seen, where a promise on the whole run is broken by the delay of starts alone."""
    load, marks, terms = run.scenario.load, run.state.marks, run.terms
    limit = (load.concurrency or DEFAULT_CONNECTION_LIMIT) // load.workers
    if marks.connections_out or marks.late_in_flight_max >= limit:
        return None
    if final.status != "breach" or sla.window_s is not None or timing_of(sla, terms.open_loop) != "scheduled_latency":
        return None
    from_start = sla.model_copy(update={"of": "latency"})
    since_start = assess(from_start, view, open_loop=terms.open_loop, baseline=terms.baseline)
    if since_start.status != "pass" or since_start.actual is None:
        return None
    return (
        f"dispatch_delay: '{sla.text}' is broken by nothing but requests that this client started late: from their "
        f"start on it is {since_start.actual:.4g} {sla.unit}"
    )
