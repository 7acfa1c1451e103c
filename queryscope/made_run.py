"""Owns a run made by a command: options to scenario, run followed, result printed. It must not make load itself."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click
from pydantic import ValidationError

from backbone.settings import Settings
from backbone.views import RunEvent
from queryscope import exits
from queryscope.commands.common import command_settings, pairs, stdout_console
from queryscope.errors import ConfigurationError, FrontDoorError, OurFailure, as_front_door_error, first_line, reason_of
from queryscope.llm_options import llm_step
from queryscope.prompts import read_prompts
from queryscope.result_files import result_files
from queryscope.scenarios import is_file_argument, read_scenario
from queryscope.sessions import RunOrder, Session, embedded_session, follow
from queryscope.transport_options import transport_fields
from queryscope.variables import check_environment
from schemas.limits import unmeant_in
from schemas.results import RunResult
from schemas.scenario import Scenario
from services.runner.file_limit import allowed_files, shortage

LOAD_OPTIONS = ("requests", "concurrency", "rate", "duration", "warmup", "workers")
Watcher = Callable[[RunEvent], None]
SCENARIO_OVERRIDES = ("variables", "labels", "name", "slas", "insecure", "workers")


def run_and_judge(
    target: str,
    options: dict[str, object],
    files: Mapping[str, Path | None],
    baseline: str | None,
    *,
    as_json: bool,
    quiet: bool,
    diagnose: bool,
) -> int:
    """What `queryscope run` does with its options; files: `csv`, `report`, `junit`. Returns the exit code."""
    settings = command_settings()
    allow = options.pop("allow")
    assert isinstance(allow, tuple)
    scenario = scenario_from(target, options)
    order = RunOrder(scenario, baseline_run_id=baseline, allow_targets=allow)
    with result_files(scenario.name, **files) as written:
        result = run_to_end(settings, order, written.on_event, quiet=quiet or as_json, until_diagnosed=diagnose)
        print_outcome(result, as_json=as_json)
        written.write(result, scenario.redacted())
    return exits.of_result(result)


def print_outcome(result: RunResult, *, as_json: bool) -> None:
    """The result on stdout; a line on stderr that says what to do where the run came to nothing."""
    if as_json:
        click.echo(result.model_dump_json())
    else:
        from queryscope.render.result import print_result

        print_result(stdout_console(), result)
    if exits.of_result(result) == exits.TARGET_DEAD:
        kinds = ", ".join(result.metrics.by_error) or "no answer"
        click.echo(
            f"error: {result.target} never answered HTTP ({kinds}): check address and port, and that it is up", err=True
        )
    elif result.failure is not None:
        click.echo(f"error: {' '.join(result.failure.split())}", err=True)


def scenario_from(target: str, options: dict[str, object]) -> Scenario:
    """The scenario that the options describe. Raises ConfigurationError with one line."""
    if is_file_argument(target):
        given = [name for name, value in options.items() if value and name not in SCENARIO_OVERRIDES]
        if given:
            raise ConfigurationError(f"--{given[0]} does not go with a scenario file: write it in {target}")
        scenario = read_scenario(target, pairs(options["variables"], "=", "--var k=v"))
        check_environment(scenario)
        return _with_overrides(scenario, options)
    if options["variables"]:
        raise ConfigurationError("--var goes with a scenario file: a URL has no variables")
    fields = {
        "target": target,
        "name": options["name"] or "",
        "steps": [_step(target, options)],
        "load": {name: options[name] for name in LOAD_OPTIONS if options[name] is not None},
        "timeouts": {"total": options["timeout"]} if options["timeout"] else {},
        **transport_fields(options),
        "sla": _items(options["slas"]),
        "labels": pairs(options["labels"], "=", "--label k=v"),
    }
    try:
        scenario = Scenario.model_validate(fields)
    except ValidationError as error:
        raise ConfigurationError(first_line(error)) from None
    if unmeant := unmeant_in(scenario):
        raise ConfigurationError(unmeant)
    return scenario


def _step(target: str, options: dict[str, object]) -> dict[str, object]:
    headers = pairs(options["headers"], ":", "-H 'K: V'")
    prompt = options["prompt"]
    llm = llm_step(target, options | {"prompt": None if prompt is None else read_prompts(str(prompt))}, headers)
    if llm is not None:
        return {"llm": llm}
    body = _body(options["body"])
    method = options["method"] if options["method"] is not None else ("POST" if body else "GET")
    return {"request": {"method": method, "headers": headers, **body}}


def _with_overrides(scenario: Scenario, options: dict[str, object]) -> Scenario:
    fields = scenario.model_dump(by_alias=False)
    fields["labels"] |= pairs(options["labels"], "=", "--label k=v")
    fields["name"] = options["name"] or fields["name"]
    fields["sla"] += _items(options["slas"])
    fields["insecure"] = fields["insecure"] or options["insecure"]
    fields["load"]["workers"] = options["workers"] or fields["load"]["workers"]
    try:
        return Scenario.model_validate(fields)
    except ValidationError as error:
        raise ConfigurationError(first_line(error)) from None


def _items(value: object) -> list[object]:
    assert isinstance(value, tuple)
    return list(value)


def _body(value: object) -> dict[str, str]:
    """A text, or that of a file; a file that is no text is sent as it is."""
    if value is None or not str(value).startswith("@"):
        return {} if value is None else {"body": str(value)}
    path = Path(str(value)[1:])
    try:
        return {"body": path.read_text(encoding="utf-8")}
    except UnicodeDecodeError:
        return {"body_file": str(path.absolute())}
    except OSError as error:
        raise ConfigurationError(f"the body file '{str(value)[1:]}' cannot be read: {reason_of(error)}") from None


def unwatched(_: RunEvent) -> None:
    """Nobody else wants a run's events."""


def run_to_end(
    settings: Settings, order: RunOrder, watcher: Watcher, *, quiet: bool, until_diagnosed: bool
) -> RunResult:
    """Runs on the server where there is one, else in this process tree. Raises FrontDoorError."""
    import uvloop

    from queryscope.servers import choose_server

    server = choose_server(settings, order.scenario, allow_targets=order.allow_targets)
    if server is None and (warning := shortage(order.scenario.load, allowed_files())) is not None:
        click.echo(f"warning: {warning}", err=True)

    async def main() -> RunResult:
        if server is not None:
            from queryscope.remote import server_session

            async with server_session(server) as remote:
                return await run_in(remote, order, watcher, quiet=quiet, until_diagnosed=until_diagnosed)
        async with embedded_session(settings) as session:
            return await run_in(session, order, watcher, quiet=quiet, until_diagnosed=until_diagnosed)

    try:
        return uvloop.run(main())
    except FrontDoorError:
        raise
    except Exception as error:
        known = as_front_door_error(error, during_run=False)
        if known is None:
            raise
        raise known from None


async def run_in(
    session: Session,
    order: RunOrder,
    watcher: Watcher = unwatched,
    *,
    quiet: bool,
    until_diagnosed: bool,
    label: str | None = None,
) -> RunResult:
    """One run from its request to its result, with live progress and Ctrl-C: once graceful, twice immediate."""
    from rich.console import Console

    from queryscope.render.live import LiveProgress

    run_id = await session.start(order)
    scenario, console = order.scenario, Console(file=sys.stderr, highlight=False)
    searching = scenario.load.capacity is not None
    progress = LiveProgress(console, label or scenario.name, quiet=quiet, searching=searching)
    try:
        with _interruptible(session, run_id), progress as live:

            def on_event(event: RunEvent) -> None:
                live.on_event(event)
                watcher(event)

            return await follow(session, run_id, on_event, until_diagnosed=until_diagnosed)
    except asyncio.CancelledError:
        click.echo(f"error: ended at once: `queryscope show {run_id}` says what became of the run", err=True)
        raise click.Abort from None
    except Exception as error:
        known = as_front_door_error(error, during_run=True)
        raise (known or OurFailure(f"run {run_id} broke off: {first_line(error)}")) from error


@contextlib.contextmanager
def _interruptible(session: Session, run_id: str) -> Iterator[None]:
    """The first Ctrl-C asks the run to stop, the second one ends the command."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    interrupts: list[asyncio.Task[str]] = []

    def interrupted() -> None:
        if interrupts:
            task.cancel()
        interrupts.append(asyncio.ensure_future(session.cancel(run_id)))

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
