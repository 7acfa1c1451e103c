"""Owns what follows from the end of an attempt: the ruling in its outcome, whether another attempt follows and when.

It must not send, wait or record.
"""

from schemas.outcomes import RequestOutcome, Ruling
from services.runner.answer import Answer
from services.runner.journey import Asking, Script, StepScript, Walk
from services.runner.retrying import is_tried_again, pause_us
from services.runner.rules import Finding
from services.runner.wire_edit import REDIRECTS, RedirectRefused, hop_of, redirected


class Judge:
    """Judges the attempts of a run. until_us: nothing is sent from there on; None: no such end."""

    def __init__(self, script: Script, until_us: int | None) -> None:
        self._script = script
        self._until_us = until_us

    def judge(self, walk: Walk, outcome: RequestOutcome, answer: Answer | None, why: str | None, going: bool) -> None:
        """Completes the outcome and says in the walk what comes next.

        answer: None where none came whole. why: the rule that kept the request from being sent. going: requests may
        still start.
        """
        walk.ended_us = outcome.finished
        asking = walk.asking
        if asking is not None and answer is None and why is None and outcome.error is None and outcome.status < 400:
            _count(asking, outcome)  # most requests of most runs: there is nothing to judge
            walk.failed, walk.again_us = False, None
            return
        finding, again_us = Finding(why), None
        if asking is not None:
            _count(asking, outcome)
            if answer is not None:
                finding, again_us = self._read(walk, asking, answer, going)
        if finding.broken is not None and outcome.error is None:
            outcome.error = "check_failed"
        walk.values.update(finding.values)
        walk.failed = outcome.error is not None or (outcome.status >= 400 and not finding.accepted)
        if asking is not None and again_us is None and walk.failed and going:
            again_us = self._retry_us(walk, asking, outcome)
        walk.again_us = again_us
        if again_us is not None or finding.accepted or finding.broken is not None:
            outcome.ruling = Ruling(again_us is not None, finding.accepted, finding.broken)

    def reads(self, walk: Walk) -> bool:
        """Whether anything is read of the answer that is awaited."""
        step = self._script.steps[walk.place]
        return step.rules is not None or step.redirects > 0 or walk.jar is not None

    def _read(self, walk: Walk, asking: Asking, answer: Answer, going: bool) -> tuple[Finding, int | None]:
        step = self._script.steps[walk.place]
        if walk.jar is not None:
            walk.jar.take((asking.hop or hop_of(asking.request, self._script.target)).url, answer.fields)
        location = answer.header("location") if step.redirects and answer.status in REDIRECTS else None
        if location is not None and going:
            return self._redirect(step, asking, answer.status, location)
        return (Finding() if step.rules is None else step.rules.read(answer)), None

    def _redirect(self, step: StepScript, asking: Asking, status: int, location: str) -> tuple[Finding, int | None]:
        if asking.hops >= step.redirects:
            return Finding(f"redirects: more than {step.redirects}"), None
        hop = asking.hop or hop_of(asking.request, self._script.target)
        try:
            asking.request, asking.hop = redirected(asking.request, hop, status, location)
        except RedirectRefused as error:
            return Finding(f"redirects: {error}"), None
        asking.hops += 1
        asking.tries = 0
        return Finding(), 0

    def _retry_us(self, walk: Walk, asking: Asking, outcome: RequestOutcome) -> int | None:
        retries = self._script.steps[walk.place].retries
        if retries is None or not is_tried_again(retries, outcome, asking.tries):
            return None
        again_us = pause_us(retries, outcome, asking.tries, self._script.seed, walk.number, walk.place)
        late = self._until_us is not None and outcome.finished + again_us >= self._until_us
        return None if late else again_us


def _count(asking: Asking, outcome: RequestOutcome) -> None:
    asking.attempts += 1
    asking.tries += 1
    outcome.attempt = asking.attempts
    if asking.first is None:
        asking.first = outcome
    else:
        outcome.parent = asking.first.seq
