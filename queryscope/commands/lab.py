"""Owns `queryscope lab`: the lab's own command line under this name. It must not know a fault."""

import click


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def lab(arguments: tuple[str, ...]) -> int:
    """Start a target, or a network, with programmable faults (`queryscope lab http --help`, `lab proxy --help`)."""
    from lab.cli import main

    return main(list(arguments))
