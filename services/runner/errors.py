"""Owns the errors of the runner, split by who can act. It must not import anything but words.

RunnerError
├── ScenarioNotRunnable  (caller) the scenario asks for something no request can be made of
├── RenderFailed         (caller) one request could not be made of its template: it is not sent
├── FeedExhausted        (caller) a feed whose rows are used once has no more: the load ends
├── SetupFailed          (caller) a step before the load was not answered as it has to be
├── TargetSilent         (operator) a step before the load had no answer at all
├── TargetUnresolved     (caller) the name of the target has no address, or none in time
├── PublisherFailed      (operator) outcomes could not be kept: the run stops as failed
├── SpoolFull            (operator) no more outcomes can wait on this machine's disk
├── WorkerDied           (operator) the worker process could not do its part
│   └── WorkerVanished   (operator) it ended without saying why: what it had not published is lost
├── WorkerFailed         (operator) a worker was not ready in time, or one of another runner failed
├── ProxyRefused         (caller) the proxy does not lead to the target
└── RunNotTaken          (caller) another runner has this run
"""

from schemas.outcomes import ErrorKind


class RunnerError(Exception):
    """The message is one line that says what to do."""


class ScenarioNotRunnable(RunnerError):
    """The scenario asks for something no request can be made of."""


class RenderFailed(RunnerError):
    """One request could not be made of its template."""


class FeedExhausted(RunnerError):
    """A feed whose rows are used once has no more."""


class SetupFailed(RunnerError):
    """A step before the load was not answered as it has to be."""


class TargetSilent(RunnerError):
    """A step before the load had no answer at all."""


class TargetUnresolved(RunnerError):
    """The name of the target has no address, or none in time."""


class PublisherFailed(RunnerError):
    """Outcomes could not be kept."""


class SpoolFull(RunnerError):
    """No more outcomes can wait on this machine's disk."""


class WorkerDied(RunnerError):
    """The worker process could not do its part. worker: its number in the run, once that is known."""

    worker: int | None = None


class WorkerVanished(WorkerDied):
    """The worker process ended without saying why."""


class WorkerFailed(RunnerError):
    """A worker was not ready in time, or one of another runner failed."""


class RunNotTaken(RunnerError):
    """Another runner has this run."""


class ProxyRefused(RunnerError):
    """The proxy does not lead to the target."""

    def __init__(self, kind: ErrorKind) -> None:
        super().__init__(f"the proxy does not lead to the target: {kind}")
        self.kind = kind
