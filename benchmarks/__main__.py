"""The command line: ``python -m benchmarks``, then what to measure; ``--help`` says what there is."""

from __future__ import annotations

import os
import platform
import resource
import signal
import sys
from typing import Any

import click
import flask
import gevent
import gunicorn

from . import churn as churn_
from . import compare as compare_
from . import compare_report, contenders, document, install, process, redis_server
from . import delivery as delivery_
from . import history as history_
from . import idle as idle_
from . import limits as limits_
from . import parts as parts_
from . import plain as plain_
from . import publish as publish_
from . import replay as replay_


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Measure flask_ssemux: the server on one core, the client on another. Without a command: compare."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(_machine() + "\n")
    if context.invoked_subcommand is None:
        context.invoke(compare)


_TRANSPORT = click.option("--transport", default="", help="SSEMUX_TRANSPORT of ours; without, its default.")
_WRITE = click.option("--write", type=click.Path(exists=True, file_okay=False), help="A folder: renew its document.")


@main.command()
@click.option("--quick", is_flag=True, help="To see that everything works: small numbers, some 3 minutes.")
@click.option("--rounds", type=int, help="Of the first table.")
@click.option("--clients", type=int, help="Connections of the first table.")
@click.option("--load", type=float, help="Deliveries a second.")
@click.option("--heavy", type=float, help="Deliveries a second of the heavy load.")
@click.option("--seconds", type=float, help="Of each measurement, at least.")
@click.option("--sweep", help="Numbers of connections, as 500,2000.")
@click.option("--sizes", help="Bytes of events, as 130,4096.")
@click.option("--only", help="Contenders whose name has one of these words, as ssemux,nchan.")
@click.option("--again", is_flag=True, help="Tables and pictures of the last run, without measuring.")
@_WRITE
def compare(quick: bool, only: str | None, again: bool, write: str | None, **changes: Any) -> None:
    """Ours, five peers and the floor on the same load: some 20 minutes. Brings the peers to build/bench first."""
    if again:
        found = compare_.load(_KEPT)
    else:
        plan = compare_.QUICK if quick else compare_.Plan()
        for name in ("sweep", "sizes"):
            changes[name] = changes[name] and tuple(int(number) for number in changes[name].split(","))
        plan = plan._replace(**{name: value for name, value in changes.items() if value})
        found = compare_.measure(plan, _machine(), only.split(",") if only else [""])
        compare_.save(found, _KEPT)
    print(compare_report.text(found))
    if write:
        compare_report.write(found, write)


#: Of the last comparison.
_KEPT = os.path.join(install.FOLDER, "compare.json")


@main.command()
@click.option("--clients", default=2000, show_default=True, help="Streams that are open.")
@click.option("--events", default=100, show_default=True, help="Events, each to every stream.")
@click.option("--rate", default="10/s", show_default=True, help="Events a second.")
@click.option("--runs", default=3, show_default=True, help="Of each; the table has median, and lowest to highest.")
@click.option("--broker", default="memory:", show_default=True, help="SSEMUX_BROKER of ours.")
@_TRANSPORT
@click.option("--nap", default=1.0, show_default=True, help="Milliseconds between two looks of the client; 0 for none.")
def delivery(clients: int, events: int, rate: str, runs: int, broker: str, transport: str, nap: float) -> None:
    """CPU for each event and client, beside a bare loop of sendall; memory and opening of a connection; latency."""
    found = [contenders.FLOOR, contenders.flask_ssemux(broker, transport)]
    print(delivery_.measure(found, clients, events, _rate(rate), runs, nap / 1e3))


@main.command()
@click.option("--connections", default=200_000, show_default=True, help="That come and go.")
@click.option("--streams", default=500, show_default=True, help="Open at a time.")
@click.option("--transport", default="auto,generator", show_default=True, help="SSEMUX_TRANSPORT, one after another.")
@click.option("--broker", default="memory:", show_default=True, help="SSEMUX_BROKER.")
@_WRITE
def churn(connections: int, streams: int, transport: str, broker: str, write: str | None) -> None:
    """A day of connections that come and go, against one worker: is its memory flat? Some 4 minutes each."""
    found = [
        churn_.measure(contenders.flask_ssemux(broker, name), connections, streams) for name in transport.split(",")
    ]
    print("\n\n".join(found))
    if write:
        document.fill(os.path.join(write, "benchmarks.md"), "churn", "\n\n".join([_machine(), *found]))


@main.command()
@click.option("--clients", default=2000, show_default=True, help="Streams that are open.")
@click.option("--heartbeat", default=20.0, show_default=True, help="SSEMUX_HEARTBEAT, in seconds.")
@click.option("--broker", default="sqlite:", show_default=True, help="SSEMUX_BROKER.")
@_TRANSPORT
@_WRITE
def idle(clients: int, heartbeat: float, broker: str, transport: str, write: str | None) -> None:
    """The longest silence of idle streams, and the CPU that they cost."""
    _show(idle_.measure(clients, heartbeat, broker, transport), write, "performance.md", "idle")


@main.command()
@click.option("--streams", default=100, show_default=True, help="That one user opens at once.")
@click.option("--limit", default=32, show_default=True, help="SSEMUX_MAX_STREAMS_PER_USER.")
@click.option("--seconds", default=6.0, show_default=True, help="Without streams, and with them.")
@click.option("--broker", default="sqlite:", show_default=True, help="SSEMUX_BROKER.")
@_WRITE
def limits(streams: int, limit: int, seconds: float, broker: str, write: str | None) -> None:
    """How long pages take while one user opens far too many streams."""
    _show(limits_.measure(streams, limit, seconds, broker), write, "access.md", "limits", is_pinned=False)


@main.command()
@click.option("--events", default=100, show_default=True, help="Events whose way is timed.")
@click.option("--rate", default="20/s", show_default=True, help="Events a second.")
@click.option("--appends", default=2000, show_default=True, help="Events of each round that is timed.")
def publish(events: int, rate: str, appends: int) -> None:
    """From publish to receipt, in the same worker and in another; and what a publish costs."""
    print(publish_.measure(events, _rate(rate), appends))


@main.command()
@click.option("--events", default=1_000_000, show_default=True, help="Events that pass through each store.")
@click.option("--seconds", default=60.0, show_default=True, help="SSEMUX_HISTORY_SECONDS.")
@click.option("--limit", default=10_000, show_default=True, help="SSEMUX_HISTORY_EVENTS, of each channel.")
@click.option("--engine", type=click.Choice([*history_.ENGINES, "all"]), default="all", show_default=True)
@_WRITE
def history(events: int, seconds: float, limit: int, engine: str, write: str | None) -> None:
    """Disk and memory of the store while a million events pass through it."""
    text, found = [_machine(), "History: %g s, %d events of a channel." % (seconds, limit)], {}
    for name in history_.ENGINES if engine == "all" else [engine]:
        if name == "redis" and not redis_server.is_here():
            text.append("**redis**: missing, there is no redis-server on this machine.")
            continue
        found[name] = history_.measure(name, events, seconds, limit)
        text.append("**%s**, %.0f s:" % (name, found[name][-1].seconds))
        text.append(history_.report(found[name]))
    print("\n\n".join(text[1:]))
    if write:
        history_.draw(found, os.path.join(write, "history.svg"))
        text.append("![events kept, disk and memory, over the events published](history.svg)")
        document.fill(os.path.join(write, "history.md"), "history", "\n\n".join(text))


@main.command()
@click.option("--engine", type=click.Choice([*replay_.ENGINES, "all"]), default="all", show_default=True)
@click.option("--case", "number", type=click.IntRange(1, len(replay_.CASES)), help="One of the cases, by its number.")
@_WRITE
def replay(engine: str, number: int | None, write: str | None) -> None:
    """Clients that return to a long history, and what that costs all others. Some 3 minutes for each engine."""
    engines = replay_.ENGINES if engine == "all" else (engine,)
    cases = replay_.CASES if number is None else (replay_.CASES[number - 1],)
    _show(replay_.measure(engines, cases), write, "performance.md", "replay", is_pinned=False)


@main.command()
@click.option("--clients", default=10000, show_default=True, help="Streams that are open.")
@click.option("--events", default=20, show_default=True, help="Events, each to every stream.")
@click.option("--rate", default="1/s", show_default=True, help="Events a second.")
@click.option("--broker", default="sqlite:", show_default=True, help="SSEMUX_BROKER.")
@click.option("--transport", default="auto", show_default=True, help="SSEMUX_TRANSPORT.")
@_WRITE
def plain(clients: int, events: int, rate: str, broker: str, transport: str, write: str | None) -> None:
    """How long a plain request takes while events go to many streams."""
    _show(plain_.measure(clients, events, _rate(rate), broker, transport), write, "performance.md", "plain")


@main.command()
@click.option("--clients", default=2000, show_default=True, help="Streams that are open.")
@click.option("--events", default=100, show_default=True, help="Events, each to every stream.")
@click.option("--rate", default="10/s", show_default=True, help="Events a second.")
@_WRITE
def parts(clients: int, events: int, rate: str, write: str | None) -> None:
    """Where the microseconds of a delivery go, by part, for both transports. Some 40 s."""
    _show(parts_.measure(clients, events, _rate(rate)), write, "performance.md", "parts")


def _show(found: str, write: str | None, page: str, place: str, is_pinned: bool = True) -> None:
    print(found)
    if write:
        document.fill(os.path.join(write, page), place, "\n\n".join([_machine(is_pinned), found]))


def _rate(text: str) -> float:
    try:
        found = float(text[:-2] if text.endswith("/s") else text)
    except ValueError:
        found = 0.0
    if found <= 0:
        raise click.BadParameter("%r: a number of events a second, as 10 or 10/s" % text)
    return found


def _machine(is_pinned: bool = True) -> str:
    told: tuple[Any, ...] = (
        os.cpu_count(), platform.system(), platform.release(), platform.python_version(),
        _version("flask", flask), _version("gevent", gevent), _version("gunicorn", gunicorn),
        "server on core %d, client on core %d" % process.cores() if is_pinned else "nothing pinned to a core",
    )  # fmt: skip
    return "%d cores, %s %s, Python %s, Flask %s, gevent %s, gunicorn %s; %s" % told


def _version(name: str, module: Any) -> str:
    try:
        from importlib.metadata import version

        return version(name)
    except Exception:
        return str(getattr(module, "__version__", "?"))


if __name__ == "__main__":
    main()
