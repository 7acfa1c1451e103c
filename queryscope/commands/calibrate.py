"""Owns `queryscope lab calibrate`: measures the instrument's own error and prints it. It must not measure itself."""

import os
import platform
import sys
from collections.abc import Sequence

import click

from queryscope import exits
from queryscope.calibration import QUICK, Plan, Row, calibrate
from queryscope.commands.common import as_json_text, stdout_console

LABELS = {"delivered_rate": "delivered rate", "dispatch_delay": "dispatch delay"}


@click.command(name="calibrate")
@click.option("--quick", is_flag=True, help="One run of each kind: about 15 s instead of a minute.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def calibrate_command(quick: bool, as_json: bool) -> int:
    """Measure QueryScope's own error on this machine, against targets of exactly known delay, first token and gaps."""
    import uvloop

    from backbone.telemetry import configure_logging

    configure_logging(json=False, level="error")
    says = sys.stderr.isatty() or not as_json
    rows = uvloop.run(calibrate(QUICK if quick else Plan(), _say if says else _be_quiet))
    machine: dict[str, object] = {
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }
    if as_json:
        click.echo(as_json_text({"machine": machine, "rows": [row.as_json() for row in rows]}))
    else:
        _print(rows, machine)
    return exits.DONE


def _say(what: str) -> None:
    click.echo(f"calibrating: {what}", err=True)


def _be_quiet(what: str) -> None:
    pass


def _print(rows: Sequence[Row], machine: dict[str, object]) -> None:
    from rich.table import Table

    title = "{cores} cores, {system}, Python {python}, load average {load} at the end".format(**machine)
    table = Table("what", "at", "truth", "error p50", "p99", "max", "target late p50", "p99", "max", "run", title=title)
    for row in rows:
        late = [_ms(row.target_late_ms.get(name)) for name in ("p50", "p99", "max")]
        run = " ".join((row.verdict, *(note.partition(":")[0] for note in row.notes)))
        table.add_row(LABELS.get(row.measure, row.measure), row.at, _truth(row), *_errors(row), *late, run)
    console = stdout_console()
    console.print(table)
    console.print("ms, but for rates. The target's lateness is part of the error shown: what is beyond it is ours.")


def _truth(row: Row) -> str:
    return f"{row.truth:g} ms" if row.unit == "ms" else f"{row.truth:g}/s"


def _errors(row: Row) -> list[str]:
    if row.unit == "per_s":
        return [f"{row.error['whole'] / row.truth:+.3%}", "", ""]
    return [_ms(row.error.get(name), signed=True) for name in ("p50", "p99", "max")]


def _ms(value: float | None, *, signed: bool = False) -> str:
    return "-" if value is None else f"{value:+.2f}" if signed else f"{value:.2f}"
