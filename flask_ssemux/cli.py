"""``flask ssemux …``: publish, tail, presence, disconnect, status and doctor, from a shell beside the application.

Options are parsed and things are printed here; what is done is done elsewhere.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Iterator

import click
from flask.cli import AppGroup

from .brokers import Broker, Record, absolute_url
from .errors import ConfigurationError, SSEMuxError
from .options import key_of, table
from .sse.encode import EVERYONE, Cursor, check_channel
from .state import ApplicationState, current
from .status.totals import line, shown, summary, totals
from .util.printable import printable
from .util.redact import without_password

#: Seconds between two looks for news in ``tail``.
TAIL = 0.1


def commands() -> AppGroup:
    """The group that ``init_app`` adds to ``app.cli``."""
    group = AppGroup("ssemux", help="Server-Sent Events: publish, look, find out.")
    for command in (publish, tail, presence, disconnect, status, doctor):
        group.add_command(command)
    return group


def _shared(service: ApplicationState) -> Broker:
    for trouble in service.troubles() + service.doubts():
        click.echo("Warning: " + trouble, err=True)
    broker = service._broker()
    if not broker.shared:
        raise ConfigurationError(
            "SSEMUX_BROKER=%r stays in one process, which is not this one; use 'sqlite:'" % service.options.broker
        )
    return broker


class _Group(click.Command):
    """A command whose errors of ours are one line, not a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except SSEMuxError as error:
            raise click.ClickException(str(error)) from None


def _command(function: Any) -> Any:
    from flask.cli import with_appcontext

    return click.command(cls=_Group)(with_appcontext(function))


@_command
@click.argument("channel", required=False)
@click.argument("data", required=False)
@click.option("--user", help="Send to this user's streams instead of a channel.")
@click.option("--everyone", is_flag=True, help="Send to every stream.")
@click.option("--event", help="The event's name; without it clients see 'message'.")
@click.option("--json", "as_json", is_flag=True, help="DATA is JSON: check it before it goes out.")
@click.option("--latest", is_flag=True, help="It takes the place of the channel's event of this name before it.")
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

    Without DATA it is read from standard input.
    """
    service = current()
    _shared(service)
    if (user is not None) + everyone and channel is not None and data is None:
        channel, data = None, channel
    if (channel is not None) + (user is not None) + everyone != 1:
        raise click.UsageError("say where it goes: CHANNEL, or --user ID, or --everyone")
    text = sys.stdin.read() if data is None else data
    value = _parsed(text) if as_json else text
    if user is not None:
        click.echo(service.send_to_user(user, value, event, latest))
    else:
        click.echo(service.publish(EVERYONE if channel is None else channel, value, event, latest))


@_command
@click.argument("channels", nargs=-1)
@click.option("--after", metavar="CURSOR", help="Begin after this event instead of now; 0 for all that is kept.")
@click.option("--follow/--no-follow", default=True, help="Go on with what is published from now on (the default).")
def tail(channels: tuple[str, ...], after: str | None, follow: bool) -> None:
    """Print events of CHANNELS as they are published, one frame each."""
    if not channels:
        raise click.UsageError("name the channels to follow, such as: flask ssemux tail jobs '*'")
    broker = _shared(current())
    for channel in channels:
        check_channel(channel)
    as_told = printable if sys.stdout.isatty() else str  # programs get it as it is
    for cursor, record in _events(broker, channels, _start(broker, after), follow):
        click.echo(as_told("id: %s (%s)\n%s" % (cursor, record.channel, record.body.decode("utf-8").rstrip("\n"))))


@_command
@click.option("--user", help="All streams of this user.")
@click.option("--channel", help="All streams that read this channel; with --user, those of the user.")
@click.option("--stop", is_flag=True, help="Tell the clients to stay away.")
@click.option("--reason", help="What the clients are told.")
def disconnect(user: str | None, channel: str | None, stop: bool, reason: str | None) -> None:
    """End streams in every process and on every machine; their clients come back, and are asked anew who they are."""
    service = current()
    _shared(service)
    if user is not None and channel is not None:
        if stop:
            raise click.UsageError("--stop goes with --user or --channel, not with both")
        click.echo(service.revoke(user, channel, reason or "revoked"))
    elif user is None and channel is None:
        raise click.UsageError("say whose: --user ID, or --channel NAME, or both")
    else:
        click.echo(service.disconnect(user, channel, stop, reason or "disconnected"))


@_command
@click.argument("channel")
@click.option("--json", "as_json", is_flag=True, help="For programs: users and their streams, and visitors.")
def presence(channel: str, as_json: bool) -> None:
    """Show who is on CHANNEL now, and with how many streams; the application must track it."""
    service = current()
    _shared(service)
    found = service.presence(channel)
    if as_json:
        visitors = found.pop(None, 0)
        click.echo(json.dumps({"users": found, "visitors": visitors}))
        return
    for user, streams in sorted(found.items(), key=lambda item: (item[0] is None, item[0])):
        click.echo("%-28s %d" % ("(nobody)" if user is None else user, streams))


@_command
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(as_json: bool) -> None:
    """Show the broker's state, the workers that serve streams, and the options with their values."""
    service = current()
    broker = _shared(service)
    figures, reports = broker.figures(), broker.reports()
    options = {key_of(name): value for name, value in vars(service.options).items()}
    options[key_of("broker")] = without_password(service.options.broker)
    publisher = _publisher(service)
    if as_json:
        workers = [shown(report) for report in reports]
        told = {"broker": figures, "publisher": publisher, "totals": totals(reports), "workers": workers}
        click.echo(json.dumps({**told, "options": options}))
        return
    defaults = {key: default for key, default, _ in table()}
    rows = [*figures.items(), ("publisher", publisher), *summary(reports).items()]
    rows += [("worker", line(report)) for report in reports]
    for name, value in rows + list(options.items()):
        click.echo("%-28s %s" % (name, defaults[name] if value is None else value))


@_command
@click.argument("url", required=False)
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Send it with every request.")
@click.option("--cookie", "cookies", multiple=True, metavar="NAME=VALUE", help="Such as a session's, of who may read.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=30.0, help="Longest wait for an answer (30 s).")
@click.option("--insecure", is_flag=True, help="Take any TLS certificate.")
@click.option("--ca", metavar="FILE", help="Trust the certificates in it.")
@click.option("--connect-to", metavar="HOST:PORT", help="Ask this hop for the URL, whatever its host's address is.")
@click.option("--config", metavar="FILE", help="Without URL: gunicorn's configuration (./gunicorn.conf.py).")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(**asked: Any) -> None:
    """Find out what is wrong with the stream at URL, or, without URL, with the server side.

    URL is as a browser has it, through every hop. Takes about one heartbeat. Exits with 1 if a check failed.
    """
    from .doctor.command import run_doctor  # not needed by a running application

    run_doctor(**asked)


def _publisher(service: ApplicationState) -> str:
    """Return how a process without the application publishes here."""
    url = without_password(absolute_url(service.options.broker, service.worker.folder))
    namespace = service.options.namespace
    return "flask_ssemux.Publisher(%r%s)" % (url, ", namespace=%r" % namespace if namespace else "")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError("DATA is not JSON: %s" % error) from None


def _start(broker: Broker, after: str | None) -> Cursor:
    head = broker.head()
    if after is None:
        return head
    cursor = Cursor.parse(after) if after != "0" else Cursor(head.epoch, 0)
    if cursor is None or cursor.epoch != head.epoch:
        raise click.UsageError("%r is no cursor of this broker's history; its newest is %s" % (after, head))
    return cursor


def _events(broker: Broker, channels: tuple[str, ...], start: Cursor, follow: bool) -> Iterator[tuple[Cursor, Record]]:
    at = start
    while True:
        head = broker.head()
        if head.epoch != at.epoch:
            raise click.ClickException("the history began anew; start again")
        page = broker.read(channels, at.sequence, head.sequence, 500)
        for channel in page.missing:
            click.echo("(events of %s after %s are no longer kept)" % (channel, at), err=True)
        for record in page.records:
            yield Cursor(head.epoch, record.sequence), record
        at = head if page.is_whole else Cursor(head.epoch, page.records[-1].sequence)
        if page.is_whole:
            if not follow:
                return
            time.sleep(TAIL)
