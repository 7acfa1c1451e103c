"""Owns `queryscope lab`: the lab's own command line under this name, and what is measured with it.

It must not know a fault.
"""

import click


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def lab(arguments: tuple[str, ...]) -> int:
    """Start a target, or a network, with programmable faults (`queryscope lab http --help`, `lab proxy --help`).

    `queryscope lab calibrate` measures the instrument's own error against such targets.
    """
    if arguments[:1] == ("calibrate",):
        from queryscope.commands.calibrate import calibrate_command

        code = calibrate_command.main(list(arguments[1:]), prog_name="queryscope lab calibrate", standalone_mode=False)
        assert isinstance(code, int)
        return code
    from lab.cli import main

    return main(list(arguments), epilog="queryscope lab calibrate: measure the instrument's own error.")
