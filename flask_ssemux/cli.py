"""The commands ``flask ssemux publish|tail|presence|disconnect|status|init-db|doctor``, for a shell beside the
application.

This module parses options and prints results. The work is done elsewhere.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager, nullcontext
from typing import Any, Iterator

import click
from flask.cli import AppGroup

from .brokers import Broker, Record, WorkerReport, absolute_url
from .brokers.urls import POSTGRES
from .doctor.arguments import HELP, add_arguments
from .errors import ConfigurationError, SSEMuxError
from .options import key_of, list_options
from .sse.cursor import Cursor
from .sse.encode import EVERYONE, check_channel
from .sse.trace_mark import remove_traceparent
from .state import ApplicationState, get_current_state
from .status.totals import compute_totals, describe_worker, format_worker, summarize_reports
from .status.work import format_feed, list_feeds
from .util.printable import make_printable
from .util.redact import without_password

#: Seconds between two polls for new events in ``tail``.
TAIL = 0.1


def make_commands() -> AppGroup:
    """Return the group of commands that ``init_app`` adds to ``app.cli``."""
    group = AppGroup("ssemux", help="Server-Sent Events: publish events, show streams, find problems.")
    for command in (publish, tail, presence, disconnect, status, init_db, doctor):
        group.add_command(command)
    return group


def _check_broker(state: ApplicationState, broker: Broker) -> None:
    for trouble in state.find_errors() + state.find_warnings():
        click.echo("Warning: " + trouble, err=True)
    if not broker.is_shared:
        raise ConfigurationError(
            "SSEMUX_BROKER=%r works within one process only, and this is another process; use 'sqlite:'"
            % state.options.broker
        )


@contextmanager
def _open_look(state: ApplicationState) -> Iterator[Broker]:
    """The broker of a command that only reads: it makes no file, which would belong to the user of the command."""
    broker = state.open_look()
    try:
        _check_broker(state, broker)
        yield broker
    finally:
        broker.close()


class _Command(click.Command):
    """A command that shows the errors of flask_ssemux as one line, without a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except SSEMuxError as error:
            raise click.ClickException(str(error)) from None


def _add_command(function: Any) -> Any:
    from flask.cli import with_appcontext

    return click.command(cls=_Command)(with_appcontext(function))


@_add_command
@click.argument("channel", required=False)
@click.argument("data", required=False)
@click.option("--user", help="Send to this user's streams instead of a channel.")
@click.option("--everyone", is_flag=True, help="Send to all streams.")
@click.option("--event", help="The event's name. The default is 'message'.")
@click.option("--json", "as_json", is_flag=True, help="Check that DATA is JSON before it is published.")
@click.option("--latest", is_flag=True, help="Replace the channel's earlier event with this name.")
def publish(
    channel: str | None,
    data: str | None,
    user: str | None,
    everyone: bool,
    event: str | None,
    as_json: bool,
    latest: bool,
) -> None:
    """Publish DATA to CHANNEL, and print the event's cursor.

    If DATA is missing, it is read from standard input.
    """
    state = get_current_state()
    _check_broker(state, state.worker.broker)
    if (user is not None) + everyone and channel is not None and data is None:
        channel, data = None, channel
    if (channel is not None) + (user is not None) + everyone != 1:
        raise click.UsageError("name the receivers: CHANNEL, or --user ID, or --everyone")
    text = sys.stdin.read() if data is None else data
    value = _parse_json(text) if as_json else text
    if user is not None:
        click.echo(state.send_to_user(user, value, event, latest=latest, on_error="raise"))
    else:
        receivers = EVERYONE if channel is None else channel
        click.echo(state.publish(receivers, value, event, latest=latest, on_error="raise"))


@_add_command
@click.argument("channels", nargs=-1)
@click.option("--after", metavar="CURSOR", help="Start after this event instead of now; 0 prints the whole history.")
@click.option(
    "--follow/--no-follow", default=True, help="Wait for events that are published from now on (the default)."
)
def tail(channels: tuple[str, ...], after: str | None, follow: bool) -> None:
    """Print events of CHANNELS as they are published, one frame each."""
    if not channels:
        raise click.UsageError("name the channels to follow, such as: flask ssemux tail jobs '*'")
    for channel in channels:
        check_channel(channel)
    as_shown = make_printable if sys.stdout.isatty() else str  # programs get the unchanged text
    with _open_look(get_current_state()) as broker:
        for cursor, record in _read_events(broker, channels, _parse_start(broker, after), follow):
            data = remove_traceparent(record.body).decode("utf-8").rstrip("\n")
            click.echo(as_shown("id: %s (%s)\n%s" % (cursor, record.channel, data)))


@_add_command
@click.option("--user", help="All streams of this user.")
@click.option("--channel", help="All streams that read this channel; with --user, only this user's.")
@click.option("--stop", is_flag=True, help="Tell the clients to stay away.")
@click.option("--reason", help="The reason that the clients receive.")
def disconnect(user: str | None, channel: str | None, stop: bool, reason: str | None) -> None:
    """End streams in every process on every machine. Their clients reconnect and are identified again."""
    state = get_current_state()
    _check_broker(state, state.worker.broker)
    if user is not None and channel is not None:
        if stop:
            raise click.UsageError("--stop works with --user or with --channel, but not with both")
        click.echo(state.revoke(user, channel, reason=reason or "revoked"))
    elif user is None and channel is None:
        raise click.UsageError("name the streams: --user ID, or --channel NAME, or both")
    else:
        click.echo(state.disconnect(user, channel=channel, stop=stop, reason=reason or "disconnected"))


@_add_command
@click.argument("channel")
@click.option("--json", "as_json", is_flag=True, help="Print users with their streams, and visitors, as JSON.")
def presence(channel: str, as_json: bool) -> None:
    """Show which users are on CHANNEL now, and with how many streams. The application must track this channel."""
    state = get_current_state()
    with _open_look(state) as broker:
        found = state.read_presence(channel, broker if broker.find_missing_file() is None else None)
    if as_json:
        visitors = found.pop(None, 0)
        click.echo(json.dumps({"users": found, "visitors": visitors}))
        return
    for user, streams in sorted(found.items(), key=lambda item: (item[0] is None, item[0])):
        click.echo("%-28s %d" % ("(anonymous)" if user is None else user, streams))


@_add_command
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Show the broker's state, the workers that serve streams, and the options with their values."""
    state = get_current_state()
    figures, reports = _read_figures(state)
    options = {key_of(name): value for name, value in vars(state.options).items()}
    options[key_of("broker")] = without_password(state.options.broker)
    publisher = _describe_publisher(state)
    if as_json:
        workers = [describe_worker(report) for report in reports]
        document = {"broker": figures, "publisher": publisher, "totals": compute_totals(reports), "workers": workers}
        click.echo(json.dumps({**document, "feeds": list_feeds(reports), "options": options}))
        return
    defaults = {**{key: default for key, default, _ in list_options()}, key_of("url"): "off"}
    rows = [*figures.items(), ("publisher", publisher), *summarize_reports(reports).items()]
    rows += [("worker", format_worker(report)) for report in reports]
    rows += [("feed", format_feed(feed)) for feed in list_feeds(reports)]
    for name, value in rows + list(options.items()):
        click.echo("%-28s %s" % (name, defaults[name] if value is None else value))


@_add_command
@click.option("--print", "as_sql", is_flag=True, help="Print the SQL for psql, and connect to nothing.")
@click.option("--from-version", type=int, default=0, help="With --print: the version of the tables that exist.")
@click.option("--url", help="Connect with this URL, such as one of a role that may make schemas.")
@click.option("--grant-to", metavar="ROLE", help="Also give ROLE the rights that the application needs.")
def init_db(as_sql: bool, from_version: int, url: str | None, grant_to: str | None) -> None:
    """Make the tables of SSEMUX_BROKER=postgresql://…, or bring them to this version."""
    options = get_current_state().options
    if not options.broker.startswith(POSTGRES):
        raise click.UsageError("only a broker on PostgreSQL has tables; SSEMUX_BROKER makes what it needs by itself")
    from .brokers.postgres import Address, init_database, write_script  # needs psycopg

    own = Address(options.broker, options.namespace)
    if as_sql:
        click.echo(write_script(own.schema, from_version, grant_to), nl=False)
        return
    address = own if url is None else own.replace_url(url)
    click.echo("The schema %s has version %d." % (address.schema, init_database(address, grant_to)))


@click.command(cls=_Command, help=HELP)
@click.pass_context
@add_arguments
def doctor(context: click.Context, **asked: Any) -> None:
    from .doctor.command import run_doctor  # not needed by a running application
    from .doctor.loading import load_application

    found = load_application(context)
    with nullcontext() if found.app is None else found.app.app_context():
        run_doctor(found, **asked)


def _read_figures(state: ApplicationState) -> tuple[dict[str, object], list[WorkerReport]]:
    """Return the broker's figures and the reports of the workers; before the first stream or event there are none."""
    with _open_look(state) as broker:
        missing = broker.find_missing_file()
        if missing is not None:
            return {"broker": "sqlite", "file": missing, "exists": False}, []
        return broker.get_figures(), broker.reports.read_reports()


def _describe_publisher(state: ApplicationState) -> str:
    """Return the call with which a process without the application publishes to this broker."""
    url = without_password(absolute_url(state.options.broker, state.worker.folder))
    namespace = state.options.namespace
    return "flask_ssemux.Publisher(%r%s)" % (url, ", namespace=%r" % namespace if namespace else "")


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError("DATA is not JSON: %s" % error) from None


def _parse_start(broker: Broker, after: str | None) -> Cursor:
    head = broker.history.get_newest_cursor()
    if after is None:
        return head
    cursor = Cursor.parse(after) if after != "0" else Cursor(head.epoch, 0)
    if cursor is None or cursor.epoch != head.epoch:
        raise click.UsageError("%r is not a cursor of this broker's history; the newest one is %s" % (after, head))
    return cursor


def _read_events(
    broker: Broker, channels: tuple[str, ...], start: Cursor, follow: bool
) -> Iterator[tuple[Cursor, Record]]:
    at = start
    while True:
        head = broker.history.get_newest_cursor()
        if head.epoch != at.epoch:
            raise click.ClickException("the history began anew; start the command again")
        page = broker.history.read_events(channels, at.sequence, head.sequence, 500)
        for channel in page.missing:
            click.echo("(events of %s after %s are no longer kept)" % (channel, at), err=True)
        for record in page.records:
            yield Cursor(head.epoch, record.sequence), record
        at = head if page.is_whole else Cursor(head.epoch, page.records[-1].sequence)
        if page.is_whole:
            if not follow:
                return
            time.sleep(TAIL)


#: What Flask finds by the package's entry point, without an application. The application's own commands are the same.
commands = make_commands()
