"""Owns which runner makes how many workers of a run, by what it can take, and where they publish. Pure.

It must not know what a worker does; what each one's share of the load is stands in `sharding`.
"""

from collections.abc import Mapping, Sequence

from schemas.lifecycle import RunRequested, WorkerPlacement
from schemas.topics import outcome_partition_of
from services.runner.pipe import Policy


def allot(workers: int, capacities: Mapping[str, int]) -> dict[str, int]:
    """How many workers each runner takes: in proportion to its capacity, the remainders to the largest fractions.

    No runner takes more than it can while another has room; where all are full, they share the rest alike. Runners of
    equal claim are served in the order of `capacities`.
    """
    room = sum(capacities.values())
    if room <= 0:
        raise ValueError("no runner has any capacity")
    whole = {runner: workers * capacity // room for runner, capacity in capacities.items()}
    rest = workers - sum(whole.values())
    by_fraction = sorted(capacities, key=lambda runner: -(workers * capacities[runner] % room))
    for runner in by_fraction[:rest]:
        whole[runner] += 1
    return {runner: count for runner, count in whole.items() if count}


def place(run_id: str, allotted: Mapping[str, int], partitions: int) -> Sequence[WorkerPlacement]:
    """The workers of a run in the order of the runners, each with its partition of `outcomes`."""
    runners = [runner for runner, count in allotted.items() for _ in range(count)]
    return tuple(
        WorkerPlacement(worker=worker, partition=outcome_partition_of(run_id, worker, partitions), runner=runner)
        for worker, runner in enumerate(runners)
    )


def policy_for(request: RunRequested, operator_targets: Sequence[str]) -> Policy:
    """The person at the terminal is the operator; everybody else reaches what the operator has listed."""
    if request.requested_by == "cli":
        return Policy(remote=False, allow=request.allow_targets)
    return Policy(remote=True, allow=(*operator_targets, *request.allow_targets))
