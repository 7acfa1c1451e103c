"""Owns the options of `queryscope run` that say how the target is connected to; named as curl names them.

It must not know what they lead to.
"""

from collections.abc import Callable
from typing import TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., object])


def transport_options(command: Command) -> Command:
    """Adds them to a command."""
    options = (
        click.option("--insecure", is_flag=True, help="Do not check the server's certificate."),
        click.option("--cacert", metavar="FILE", help="Who vouches for the server, instead of the system's roots."),
        click.option("--cert", metavar="FILE", help="The client's certificate (PEM); with its key, or with --key."),
        click.option("--key", metavar="FILE", help="The key of --cert."),
        click.option("--http2", is_flag=True, help="Speak HTTP/2 (needs the extra http2); one connection a user."),
        click.option("--proxy", metavar="URL", help="An HTTP proxy, like http://127.0.0.1:3128."),
        click.option("--unix-socket", metavar="PATH", help="Connect to this socket; TARGET gives Host and path."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def transport_fields(options: dict[str, object]) -> dict[str, object]:
    """What the options say in a scenario."""
    tls = {"ca": options["cacert"], "cert": options["cert"], "key": options["key"]}
    return {"insecure": options["insecure"], "tls": tls, "unix": options["unix_socket"]} | (
        {"http": "2" if options["http2"] else "1.1", "proxy": options["proxy"]}
    )
