"""Owns the options of commands that name a file to be written. It must not know what is written."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., object])


def file_option(*names: str, metavar: str, help_line: str) -> Callable[[Command], Command]:
    """An option that names a file to be written."""
    return click.option(*names, type=click.Path(path_type=Path), metavar=metavar, help=help_line)


def result_file_options(command: Command) -> Command:
    """The options of `run` that ask for files."""
    options = (
        file_option("--csv", metavar="FILE", help_line="A row for each second, as it closes."),
        file_option("--report", metavar="FILE.html", help_line="A report for people: one file that needs no network."),
        junit_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def junit_option(command: Command) -> Command:
    """`--junit`, alike wherever it is taken."""
    return file_option("--junit", metavar="FILE.xml", help_line="A test case for each promise, for build servers.")(
        command
    )
