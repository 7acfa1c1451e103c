"""Owns which experiment would tell a cause from its neighbours. Texts only."""

from schemas.causes import CauseId

_NEXT: dict[CauseId, str] = {
    "client_saturation": "run again with less load, from another machine or with more workers, and see whether the "
    "latency of the target stays the same",
    "dead_target": "check that the address and port are right and that the process listens there, then send one "
    "request by hand",
    "bad_request": "send one of the requests by hand and read the answer's body; then mend the scenario",
    "error_burst": "look into the target's log for the seconds named, then run again to see whether the burst returns",
    "server_errors": "read the target's log for one of the requests named, then run at half the load: failures that "
    "stay are not a matter of load",
    "saturation": "run at half the concurrency or rate: if latency falls in proportion and throughput stays, it is "
    "capacity; then double the pool or the workers of the target and see which of them moves the plateau",
    "periodic_pause": "compare the times of the pauses with the target's collector log, cron table and compactions; "
    "a run of twice the length must show twice as many",
    "slow_replica": "send the same load to each replica by its own address",
    "server_slowdown": "run the same load against the version or setting that was fast, on the same machine, and at "
    "half the concurrency: a slowdown stays, a queue shortens",
    "no_fault": "",
    "insufficient_data": "run for at least 10 s with at least 100 requests",
    "unknown": "run a baseline of 10 s or more while all is well, then compare (--baseline RUN)",
}


def next_experiment(cause: CauseId) -> str:
    """What to do next when this cause comes first."""
    return _NEXT.get(cause, "")
