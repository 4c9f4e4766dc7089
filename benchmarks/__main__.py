"""The command line: ``python -m benchmarks [delivery|idle|publish|plain]``."""

from __future__ import annotations

import os
import platform
import signal
import sys
from typing import Any

import click
import flask
import gevent
import gunicorn

from . import delivery as delivery_
from . import idle as idle_
from . import plain as plain_
from . import process, servers
from . import publish as publish_


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Measure flask_ssemux: the server on one core, the client on another. Without a command: delivery."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(_machine())
    if context.invoked_subcommand is None:
        context.invoke(delivery)


@main.command()
@click.option("--clients", default=2000, show_default=True, help="Streams that are open.")
@click.option("--events", default=100, show_default=True, help="Events, each to every stream.")
@click.option("--rate", default="10/s", show_default=True, help="Events a second.")
@click.option("--runs", default=3, show_default=True, help="Of each; the table has median, and lowest to highest.")
@click.option("--broker", default="memory:", show_default=True, help="SSEMUX_BROKER of ours.")
@click.option("--nap", default=1.0, show_default=True, help="Milliseconds between two looks of the client; 0 for none.")
def delivery(clients: int, events: int, rate: str, runs: int, broker: str, nap: float) -> None:
    """CPU for each event and client, beside a bare loop of sendall; memory and opening of a connection; latency."""
    contenders = [servers.FLOOR, servers.flask_ssemux(broker)]
    print(delivery_.measure(contenders, clients, events, _rate(rate), runs, nap / 1e3))


@main.command()
@click.option("--clients", default=2000, show_default=True, help="Streams that are open.")
@click.option("--heartbeat", default=20.0, show_default=True, help="SSEMUX_HEARTBEAT, in seconds.")
@click.option("--broker", default="sqlite:", show_default=True, help="SSEMUX_BROKER.")
def idle(clients: int, heartbeat: float, broker: str) -> None:
    """The longest silence of idle streams, and the CPU that they cost."""
    print(idle_.measure(clients, heartbeat, broker))


@main.command()
@click.option("--events", default=100, show_default=True, help="Events whose way is timed.")
@click.option("--rate", default="20/s", show_default=True, help="Events a second.")
@click.option("--appends", default=2000, show_default=True, help="Events of each round that is timed.")
def publish(events: int, rate: str, appends: int) -> None:
    """From publish to receipt, in the same worker and in another; and what a publish costs."""
    print(publish_.measure(events, _rate(rate), appends))


@main.command()
@click.option("--clients", default=10000, show_default=True, help="Streams that are open.")
@click.option("--events", default=20, show_default=True, help="Events, each to every stream.")
@click.option("--rate", default="1/s", show_default=True, help="Events a second.")
@click.option("--broker", default="sqlite:", show_default=True, help="SSEMUX_BROKER.")
@click.option("--transport", default="auto", show_default=True, help="SSEMUX_TRANSPORT.")
def plain(clients: int, events: int, rate: str, broker: str, transport: str) -> None:
    """How long a plain request takes while events go to many streams."""
    print(plain_.measure(clients, events, _rate(rate), broker, transport))


def _rate(text: str) -> float:
    try:
        found = float(text[:-2] if text.endswith("/s") else text)
    except ValueError:
        found = 0.0
    if found <= 0:
        raise click.BadParameter("%r: a number of events a second, as 10 or 10/s" % text)
    return found


def _machine() -> str:
    told: tuple[Any, ...] = (
        os.cpu_count(), platform.system(), platform.release(), platform.python_version(),
        _version("flask", flask), _version("gevent", gevent), _version("gunicorn", gunicorn),
        "server on core %d, client on core %d" % process.cores(),
    )  # fmt: skip
    return "%d cores, %s %s, Python %s, Flask %s, gevent %s, gunicorn %s; %s\n" % told


def _version(name: str, module: Any) -> str:
    try:
        from importlib.metadata import version

        return version(name)
    except Exception:
        return str(getattr(module, "__version__", "?"))


if __name__ == "__main__":
    main()
