"""Owns the list of commands and how errors leave the process. It must not import a command before it is called."""

import importlib
import sys
from typing import NoReturn

import click

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("queryscope.commands.demo:demo", "Show a fault being found, from load to cause."),
    "run": ("queryscope.commands.run:run", "Load a target and judge it."),
    "cancel": ("queryscope.commands.runs:cancel", "Stop a run that is on."),
    "rate": ("queryscope.commands.rate:rate", "Change the rate of an open loop that is on."),
    "runs": ("queryscope.commands.runs:runs", "List runs, newest first."),
    "show": ("queryscope.commands.runs:show", "Show one run."),
    "report": ("queryscope.commands.report:report", "Write a run's report as one HTML file, or as JUnit."),
    "outcomes": ("queryscope.commands.outcomes:outcomes", "Print a run's records from the log, one JSON line each."),
    "diagnose": ("queryscope.commands.runs:diagnose", "Explain a finished run from the log."),
    "replay": ("queryscope.commands.replay:replay", "Judge a finished run anew from the log."),
    "verify": ("queryscope.commands.verify:verify", "Prove that the tables equal a rebuild from the log."),
    "rebuild": ("queryscope.commands.rebuild:rebuild", "Fill the tables anew from the log."),
    "export": ("queryscope.commands.portable:export", "Write every event of a run to one file."),
    "import": ("queryscope.commands.portable:import_", "Append the events of an exported run to this log."),
    "prune": ("queryscope.commands.prune:prune", "Remove the raw outcomes of old runs; results stay."),
    "dlq": ("queryscope.commands.dlq:dlq", "List, re-drive or dismiss records that could not be processed."),
    "search": ("queryscope.commands.search:search", "Find runs by words."),
    "serve": ("queryscope.commands.serve:serve", "Serve the API and the page, with all services."),
    "worker": ("queryscope.commands.worker:worker", "Run one service alone in this process."),
    "mcp": ("queryscope.commands.mcp:mcp", "Serve agents over MCP."),
    "lab": ("queryscope.commands.lab:lab", "Start a target with programmable faults."),
    "init": ("queryscope.commands.init:init", "Make a scenario from a curl command, a HAR or an OpenAPI document."),
    "validate": ("queryscope.commands.validate:validate", "Check a scenario file."),
    "doctor": ("queryscope.commands.doctor:doctor", "Check the settings and every component."),
    "db": ("queryscope.commands.db:db", "Manage the database schema."),
}


class LazyGroup(click.Group):
    """Knows every command by name and help line; imports one only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f": did you mean '{near[0]}'?" if near else f": known are {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command '{args[0]}'{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="queryscope")
def cli() -> None:
    """Load-test REST endpoints, keep every outcome, and learn why a run went bad."""


def main() -> NoReturn:
    """The console entry point: one line on stderr and the documented exit code for whatever goes wrong."""
    try:
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"error: {' '.join(error.format_message().split())}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(105)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        from queryscope.errors import as_front_door_error, first_line

        known = as_front_door_error(error)
        if known is None:
            from backbone.telemetry import report_unforeseen

            report_unforeseen(error)
            click.echo(f"error: {type(error).__name__}: {first_line(error)} (a fault of ours)", err=True)
            sys.exit(96)
        click.echo(f"error: {first_line(known)}", err=True)
        sys.exit(known.exit_code)
