"""The arguments of the doctor's two commands, ``flask ssemux doctor`` and ``python -m flask_ssemux doctor``."""

from __future__ import annotations

from typing import Any, Callable

import click

HELP = """Find what is wrong with the stream at URL or, without URL, with the server side.

Use the URL that the browser uses, so that the request passes every hop. The command takes about one heartbeat, and
exits with 1 if a check failed.
"""

_ARGUMENTS = (
    click.argument("url", required=False),
    click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Send it with every request."),
    click.option(
        "--cookie",
        "cookies",
        multiple=True,
        metavar="NAME=VALUE",
        help="For example the session cookie of a user who may read the stream.",
    ),
    click.option(
        "--timeout", type=click.FloatRange(min=0.1), default=30.0, help="The longest wait for a response (30 s)."
    ),
    click.option("--insecure", is_flag=True, help="Accept any TLS certificate."),
    click.option("--ca", metavar="FILE", help="Trust the certificates in this file."),
    click.option("--connect-to", metavar="HOST:PORT", help="Connect to this hop instead of the URL's host."),
    click.option(
        "--config", metavar="FILE", help="Without URL: gunicorn's configuration file (default: ./gunicorn.conf.py)."
    ),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
)


def add_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the arguments to a function that becomes a command; they are passed by their names."""
    for argument in reversed(_ARGUMENTS):
        command = argument(command)
    return command
