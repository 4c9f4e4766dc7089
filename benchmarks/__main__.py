"""The command line: ``python -m benchmarks``, followed by what to measure. ``--help`` lists the commands."""

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

from . import applications as applications_
from . import churn as churn_
from . import compare as compare_
from . import compare_report, contenders, document, install, process, redis_server, scale_report, stores
from . import cores as cores_
from . import delivery as delivery_
from . import history as history_
from . import idle as idle_
from . import limits as limits_
from . import opening as opening_
from . import parts as parts_
from . import plain as plain_
from . import postgres as postgres_
from . import publish as publish_
from . import replay as replay_
from . import route as route_
from . import runs as runs_
from . import rush as rush_
from . import scale as scale_
from . import storm as storm_
from . import users as users_


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Measure flask_ssemux, with the server on one core and the client on another. The default command is compare."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(_describe_machine() + "\n")
    if context.invoked_subcommand is None:
        context.invoke(compare)


_TRANSPORT = click.option("--transport", default="", help="SSEMUX_TRANSPORT of flask_ssemux.")
_WRITE = click.option(
    "--write", type=click.Path(exists=True, file_okay=False), help="Write the figures to the document in this folder."
)


@main.command()
@click.option("--quick", is_flag=True, help="Small numbers, to see that everything works; about 3 minutes.")
@click.option("--rounds", type=int, help="Rounds of the first table.")
@click.option("--clients", type=int, help="Connections of the first table.")
@click.option("--load", type=float, help="Deliveries a second.")
@click.option("--heavy", type=float, help="Deliveries a second of the heavy load.")
@click.option("--seconds", type=float, help="The minimum of seconds for each measurement.")
@click.option("--sweep", help="Numbers of connections, for example 500,2000.")
@click.option("--sizes", help="Sizes of events in bytes, for example 130,4096.")
@click.option("--only", help="Only servers whose name contains one of these words, for example ssemux,nchan.")
@click.option(
    "--again", is_flag=True, help="Print the tables and draw the pictures of the last run again, without measuring."
)
@_WRITE
def compare(quick: bool, only: str | None, again: bool, write: str | None, **changes: Any) -> None:
    """Compare flask_ssemux, six peers and the floor under the same load; about 20 minutes.

    The peers are first installed in build/bench.
    """
    if again:
        found = compare_.load_result(_KEPT)
    else:
        plan = compare_.QUICK if quick else compare_.Plan()
        for name in ("sweep", "sizes"):
            changes[name] = changes[name] and tuple(int(number) for number in changes[name].split(","))
        plan = plan._replace(**{name: value for name, value in changes.items() if value})
        found = compare_.measure_all(plan, _describe_machine(), only.split(",") if only else [""])
        compare_.save_result(found, _KEPT)
    print(compare_report.make_tables(found))
    if write:
        compare_report.write_document(found, write)


#: The results of the last comparison.
_KEPT = os.path.join(install.FOLDER, "compare.json")


@main.command()
@click.option("--clients", default=2000, show_default=True, help="Streams that are open.")
@click.option("--events", default=100, show_default=True, help="Events, each to every stream.")
@click.option("--rate", default="10/s", show_default=True, help="Events a second.")
@click.option(
    "--runs", default=3, show_default=True, help="Runs of each server; the table shows the median and the range."
)
@click.option("--broker", default="memory:", show_default=True, help="SSEMUX_BROKER of flask_ssemux.")
@_TRANSPORT
@click.option(
    "--nap", default=1.0, show_default=True, help="Milliseconds that the client sleeps between two reads; 0 for none."
)
def delivery(clients: int, events: int, rate: str, runs: int, broker: str, transport: str, nap: float) -> None:
    """Measure a delivery's CPU time and latency, and a connection's memory and opening, beside a bare sendall loop."""
    ours = contenders.flask_ssemux(broker, transport)
    plain = contenders.without_gunicorn_conf(contenders.flask_ssemux(broker, "generator"))
    found = [contenders.FLOOR, ours, plain]
    print(delivery_.measure_delivery(found, clients, events, _parse_rate(rate), runs, nap / 1e3))


@main.command()
@click.option("--connections", default=200_000, show_default=True, help="The number of connections that come and go.")
@click.option("--streams", default=500, show_default=True, help="Streams that are open at a time.")
@click.option(
    "--transport",
    default="auto,generator",
    show_default=True,
    help="Values of SSEMUX_TRANSPORT, measured one after another.",
)
@click.option("--broker", default="memory:", show_default=True, help="SSEMUX_BROKER.")
@_WRITE
def churn(connections: int, streams: int, transport: str, broker: str, write: str | None) -> None:
    """Open and close many connections to one worker, and check that its memory does not grow; about 4 minutes each."""
    found = [
        churn_.measure_churn(contenders.flask_ssemux(broker, name), connections, streams)
        for name in transport.split(",")
    ]
    print("\n\n".join(found))
    if write:
        document.fill_figures(os.path.join(write, "benchmarks.md"), "churn", "\n\n".join([_describe_machine(), *found]))


@main.command()
@click.option("--counts", default="1,50", show_default=True, help="Numbers of applications in one process.")
@click.option("--seconds", default=15.0, show_default=True, help="Seconds of each measurement.")
@click.option("--broker", default="sqlite:", show_default=True, help="SSEMUX_BROKER.")
@_WRITE
def applications(counts: str, seconds: float, broker: str, write: str | None) -> None:
    """Measure the CPU time of idle applications that share a process; 3 minutes."""
    found = applications_.measure_applications(list(map(int, counts.split(","))), broker, seconds)
    _print_and_write(found, write, "performance.md", "applications", is_pinned=False)


@main.command()
@click.option("--clients", default=2000, show_default=True, help="Streams that are open.")
@click.option("--heartbeat", default=20.0, show_default=True, help="SSEMUX_HEARTBEAT, in seconds.")
@click.option("--broker", default="sqlite:", show_default=True, help="SSEMUX_BROKER.")
@_TRANSPORT
@_WRITE
def idle(clients: int, heartbeat: float, broker: str, transport: str, write: str | None) -> None:
    """Measure the longest silence of idle streams, and the CPU time that they cost."""
    _print_and_write(idle_.measure_idle_streams(clients, heartbeat, broker, transport), write, "performance.md", "idle")


@main.command()
@click.option("--streams", default=100, show_default=True, help="Streams that one user opens at the same time.")
@click.option("--limit", default=32, show_default=True, help="SSEMUX_MAX_STREAMS_PER_USER.")
@click.option(
    "--seconds", default=6.0, show_default=True, help="Seconds of measuring, first without streams and then with them."
)
@click.option("--broker", default="sqlite:", show_default=True, help="SSEMUX_BROKER.")
@_WRITE
def limits(streams: int, limit: int, seconds: float, broker: str, write: str | None) -> None:
    """Measure how long pages take while one user opens far too many streams."""
    _print_and_write(
        limits_.measure_user_limit(streams, limit, seconds, broker), write, "access.md", "limits", is_pinned=False
    )


@main.command()
@click.option("--streams", default=1000, show_default=True, help="Streams that each server opens in each round.")
@click.option("--rounds", default=7, show_default=True, help="The table shows the median and the range.")
@click.option("--broker", default=",".join(contenders.BROKERS), show_default=True, help="Values of SSEMUX_BROKER.")
@_WRITE
def opening(streams: int, rounds: int, broker: str, write: str | None) -> None:
    """Measure the CPU time of opening a stream, beside a bare Flask view with a generator; about 2 minutes."""
    found = opening_.measure_opening(streams, rounds, broker.split(","))
    _print_and_write(found, write, "performance.md", "opening")


@main.command()
@click.option("--rate", default="178/s", show_default=True, help="Publishes a second beside pgbench.")
@click.option("--seconds", default=8, show_default=True, help="Seconds of each round of pgbench.")
@click.option("--rounds", default=5, show_default=True, help="The table shows the median and the range.")
@click.option("--commit", default="off", show_default=True, help="synchronous_commit of what stores events.")
@_WRITE
def postgres(rate: str, seconds: int, rounds: int, commit: str, write: str | None) -> None:
    """Measure publishing over PostgreSQL, and what it costs the application's transactions; 5 minutes."""
    found = postgres_.measure_postgres(_parse_rate(rate), seconds, rounds, commit)
    _print_and_write(found, write, "postgres.md", "postgres", is_pinned=False)


@main.command()
@click.option("--events", default=100, show_default=True, help="Events whose latency is measured.")
@click.option("--rate", default="20/s", show_default=True, help="Events a second.")
@click.option("--appends", default=2000, show_default=True, help="Events of each round for the cost of a publish.")
@_WRITE
def publish(events: int, rate: str, appends: int, write: str | None) -> None:
    """Measure the latency from publish to receipt, the cost of a publish, and publishes a second; 1.5 minutes."""
    found = publish_.measure_publishing(events, _parse_rate(rate), appends)
    _print_and_write(found, write, "brokers.md", "publish", is_pinned=False)


@main.command()
@click.option("--clients", default=2000, show_default=True, help="Streams that are open.")
@click.option("--events", default=100, show_default=True, help="Events, each to every stream.")
@click.option("--rate", default="10/s", show_default=True, help="Events a second.")
@click.option("--rounds", default=3, show_default=True, help="The table shows the median and the range.")
@click.option("--broker", default="sqlite:,redis:", show_default=True, help="Values of SSEMUX_BROKER.")
@_WRITE
def cores(clients: int, events: int, rate: str, rounds: int, broker: str, write: str | None) -> None:
    """Measure two workers on two cores beside one worker, and nchan; about 5 minutes."""
    found = cores_.measure_cores(clients, events, _parse_rate(rate), rounds, broker.split(","))
    _print_and_write(found, write, "benchmarks.md", "cores", is_pinned=False)


@main.command()
@click.option("--streams", default=5000, show_default=True, help="Streams that open at the same moment.")
@click.option("--broker", default=",".join(contenders.ALL_BROKERS), show_default=True, help="Values of SSEMUX_BROKER.")
@_WRITE
def rush(streams: int, broker: str, write: str | None) -> None:
    """Measure thousands of streams that open at once, and what publishers wait for meanwhile; 1 minute."""
    _print_and_write(rush_.measure_rush(streams, broker.split(",")), write, "performance.md", "rush")


@main.command()
@click.option("--streams", default=9000, show_default=True, help="Streams that are open.")
@click.option("--seconds", default=90.0, show_default=True, help="The maximum for which their return is awaited.")
@click.option("--what", type=click.Choice(list(storm_.DISASTERS)), default="deploy", show_default=True)
@_WRITE
def storm(streams: int, seconds: float, what: str, write: str | None) -> None:
    """Measure a deploy, a crash or a rolling restart with many streams: when they are back, how long pages take."""
    _print_and_write(storm_.measure_storm(streams, seconds, what), write, "performance.md", what)


@main.command()
@click.option("--users", "count", default=2000, show_default=True, help="Streams, each of a user of its own.")
@click.option("--events", default=20_000, show_default=True, help="Events of the burst.")
@click.option("--pace", default=2.0, show_default=True, help="Milliseconds between two events that are paced.")
@click.option("--rounds", default=3, show_default=True, help="The table shows the median and the range.")
@click.option("--peers", default="nchan,better-sse,pushpin", show_default=True, help="The other servers.")
@click.option("--broker", default=",".join(contenders.BROKERS), show_default=True, help="Values of SSEMUX_BROKER.")
@_WRITE
def users(count: int, events: int, pace: float, rounds: int, peers: str, broker: str, write: str | None) -> None:
    """Measure events that go to one user each, in a burst and paced, beside three peers; about 7 minutes."""
    others, brokers = ([name for name in names.split(",") if name] for names in (peers, broker))
    found = users_.measure_user_events(count, events, pace / 1e3, rounds, others, brokers)
    _print_and_write(found, write, "benchmarks.md", "users")


@main.command()
@click.option("--events", default=1_000_000, show_default=True, help="Events that pass through each store.")
@click.option("--seconds", default=60.0, show_default=True, help="SSEMUX_HISTORY_SECONDS.")
@click.option("--limit", default=10_000, show_default=True, help="SSEMUX_HISTORY_EVENTS, of each channel.")
@click.option("--engine", type=click.Choice([*history_.ENGINES, "all"]), default="all", show_default=True)
@_WRITE
def history(events: int, seconds: float, limit: int, engine: str, write: str | None) -> None:
    """Measure disk and memory of the store while a million events pass through it."""
    text, found = [_describe_machine(), "History: %g s, %d events of a channel." % (seconds, limit)], {}
    for name in history_.ENGINES if engine == "all" else [engine]:
        if name == "redis" and not redis_server.is_installed():
            text.append("**redis**: missing, because there is no redis-server on this machine.")
            continue
        found[name] = history_.measure_history(name, events, seconds, limit)
        text.append("**%s**, %.0f s:" % (name, found[name][-1].seconds))
        text.append(history_.make_table(found[name]))
    print("\n\n".join(text[1:]))
    if write:
        history_.draw_picture(found, os.path.join(write, "history.svg"))
        text.append("![events kept, disk and memory, over the events published](history.svg)")
        document.fill_figures(os.path.join(write, "history.md"), "history", "\n\n".join(text))


@main.command()
@click.option("--engine", type=click.Choice([*replay_.ENGINES, "all"]), default="all", show_default=True)
@click.option(
    "--case",
    "number",
    type=click.IntRange(1, len(replay_.CASES)),
    help="The number of one case; the default is all cases.",
)
@_WRITE
def replay(engine: str, number: int | None, write: str | None) -> None:
    """Measure clients that replay a long history, and how they affect others; about 3 minutes for each engine."""
    engines = replay_.ENGINES if engine == "all" else (engine,)
    cases = replay_.CASES if number is None else (replay_.CASES[number - 1],)
    _print_and_write(replay_.measure_replay(engines, cases), write, "performance.md", "replay", is_pinned=False)


@main.command()
@click.option("--clients", default=10000, show_default=True, help="Streams that are open.")
@click.option("--events", default=20, show_default=True, help="Events, each to every stream.")
@click.option("--rate", default="1/s", show_default=True, help="Events a second.")
@click.option("--broker", default="sqlite:", show_default=True, help="SSEMUX_BROKER.")
@click.option("--transport", default="auto", show_default=True, help="SSEMUX_TRANSPORT.")
@_WRITE
def plain(clients: int, events: int, rate: str, broker: str, transport: str, write: str | None) -> None:
    """Measure how long an ordinary request takes while events go to many streams."""
    _print_and_write(
        plain_.measure_requests(clients, events, _parse_rate(rate), broker, transport), write, "performance.md", "plain"
    )


@main.command()
@click.option("--clients", default=2000, show_default=True, help="Streams that are open.")
@click.option("--events", default=100, show_default=True, help="Events, each to every stream.")
@click.option("--rate", default="10/s", show_default=True, help="Events a second.")
@_WRITE
def parts(clients: int, events: int, rate: str, write: str | None) -> None:
    """Measure the parts of a delivery's CPU time, for both transports; about 40 s."""
    _print_and_write(parts_.measure_parts(clients, events, _parse_rate(rate)), write, "performance.md", "parts")


@main.command()
@click.option("--runs", "count", default=100, show_default=True, help="Runs at the same time.")
@click.option("--rate", default="100/s", show_default=True, help="Tokens a second of each run.")
@click.option("--seconds", default=20.0, show_default=True, help="Seconds of each measurement.")
@click.option("--broker", default="sqlite:,redis:,postgresql:", show_default=True, help="Values of SSEMUX_BROKER.")
@click.option("--readers", default="0,1", show_default=True, help="Numbers of readers of each run.")
@_WRITE
def runs(count: int, rate: str, seconds: float, broker: str, readers: str, write: str | None) -> None:
    """Measure the CPU time and the memory of a worker that executes many runs; about 4 minutes."""
    numbers = [int(number) for number in readers.split(",")]
    found = runs_.measure_runs(count, _parse_rate(rate), seconds, broker.split(","), numbers)
    _print_and_write(found, write, "performance.md", "runs")


@main.command()
@click.option("--workers", default="10,25,50,100", show_default=True, help="Numbers of simulated workers, growing.")
@click.option("--users", default=10_000, show_default=True, help="Users of each worker.")
@click.option("--seconds", default=3.0, show_default=True, help="Seconds of each measurement.")
@click.option("--engine", type=click.Choice([*stores.STORES, "all"]), default="all", show_default=True)
@_WRITE
def scale(workers: str, users: int, seconds: float, engine: str, write: str | None) -> None:
    """Measure one store and up to 100 simulated workers with a million users; 3 minutes for each engine."""
    counts = sorted(int(count) for count in workers.split(","))
    for name in stores.STORES if engine == "all" else [engine]:
        if stores.STORES[name][0]():
            result = scale_.measure_scale(name, counts, users, seconds, _describe_cores())
            print(scale_report.make_tables([result]))
            scale_report.save_result(result)
        else:
            print("**%s**: missing, because it is not installed on this machine." % name)
    if write:
        scale_report.write_document(scale_report.load_results(), write)


@main.command()
@click.option("--broker", default="sqlite:", show_default=True, help="SSEMUX_BROKER: memory: or sqlite:.")
def route(broker: str) -> None:
    """Count the changes of file on the way from a request to its stream, and list them. No time is measured."""
    print(route_.measure_route(broker))


def _print_and_write(found: str, write: str | None, page: str, place: str, is_pinned: bool = True) -> None:
    print(found)
    if write:
        document.fill_figures(os.path.join(write, page), place, "\n\n".join([_describe_machine(is_pinned), found]))


def _parse_rate(text: str) -> float:
    try:
        found = float(text[:-2] if text.endswith("/s") else text)
    except ValueError:
        found = 0.0
    if found <= 0:
        raise click.BadParameter("%r is not a number of events a second; write 10 or 10/s" % text)
    return found


def _describe_cores() -> str:
    told = (os.cpu_count(), platform.system(), platform.release(), platform.python_version(), *process.choose_cores())
    return "%d cores, %s %s, Python %s; the store on core %d, all workers and publishers on core %d" % told


def _describe_machine(is_pinned: bool = True) -> str:
    told: tuple[Any, ...] = (
        os.cpu_count(), platform.system(), platform.release(), platform.python_version(),
        _get_version("flask", flask), _get_version("gevent", gevent), _get_version("gunicorn", gunicorn),
        "server on core %d, client on core %d" % process.choose_cores() if is_pinned else "nothing pinned to a core",
    )  # fmt: skip
    return "%d cores, %s %s, Python %s, Flask %s, gevent %s, gunicorn %s; %s" % told


def _get_version(name: str, module: Any) -> str:
    try:
        from importlib.metadata import version

        return version(name)
    except Exception:
        return str(getattr(module, "__version__", "?"))


if __name__ == "__main__":
    main()
