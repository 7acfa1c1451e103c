"""Owns the errors of the runner, split by who can act. It must not import anything.

RunnerError
├── ScenarioNotRunnable  (caller) the scenario asks for something no request can be made of
├── TargetUnresolved     (caller) the name of the target has no address, or none in time
├── PublisherFailed      (operator) outcomes could not be kept: the run stops as failed
├── WorkerDied           (operator) the worker process ended without saying why
└── RunNotTaken          (caller) another runner has this run
"""


class RunnerError(Exception):
    """The message is one line that says what to do."""


class ScenarioNotRunnable(RunnerError):
    """The scenario asks for something no request can be made of."""


class TargetUnresolved(RunnerError):
    """The name of the target has no address, or none in time."""


class PublisherFailed(RunnerError):
    """Outcomes could not be kept."""


class WorkerDied(RunnerError):
    """The worker process ended without saying why."""


class RunNotTaken(RunnerError):
    """Another runner has this run."""
