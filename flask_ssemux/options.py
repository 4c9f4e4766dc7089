"""Every option once: its name, default, unit, limits, and where the default comes from.

``Options.resolve`` reads all of them, from ``app.config``, then the environment, then the defaults, and refuses invalid
values. A ``Publisher``, which has no application, reads single options with ``read_option``. Nothing else in the
package reads ``SSEMUX_*``. No Flask and no gevent.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from dataclasses import dataclass, field, fields
from typing import Any, Callable, Mapping

from .brokers.namespace import ALLOWED, check_namespace
from .brokers.urls import OTHER_FORMS, SCHEMES, describe_schemes
from .errors import ConfigurationError, InvalidEvent
from .sse import encode
from .util.parse_value import OFF, make_choice_parser, parse_seconds, parse_whole_number
from .util.redact import redact_value

log = logging.getLogger("flask_ssemux")

PREFIX = "SSEMUX_"
OVER_USER_LIMIT = ("refuse", "oldest")
TRANSPORTS = ("auto", "generator", "handoff")
ON_ERROR = ("raise", "log")
TRACING = ("auto", "off")


def _parse_url(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and value.strip().lower() in OFF):
        return None
    if not isinstance(value, str) or not re.fullmatch(r"(/[^/<>?#\s]+)+", value):
        raise ValueError
    return value


def _parse_broker(value: Any) -> str:
    """Return the URL without the spaces and the line feed that files of secrets end with."""
    if not isinstance(value, str):
        raise ValueError
    url = value.strip()
    if url.startswith(tuple(OTHER_FORMS)):
        raise ConfigurationError(describe_schemes(url))
    if not url.startswith(SCHEMES):
        raise ValueError
    return url


def _parse_event_name(value: Any) -> str:
    try:
        return encode.check_event_name(value)
    except InvalidEvent as error:
        raise ValueError(str(error)) from None


def _option(
    default: Any,
    convert: Callable[[Any], Any],
    allowed: str,
    about: str,
    low: float | None = None,
    high: float | None = None,
    shown: str | None = None,
    is_secret: bool = False,
) -> Any:
    rule = {
        "convert": convert, "allowed": allowed, "about": about,
        "low": low, "high": high, "shown": shown, "is_secret": is_secret,
    }  # fmt: skip
    return field(default=default, metadata=rule, repr=not is_secret)


def _number(default: int | None, low: int, high: int, unit: str, about: str, shown: str | None = None) -> Any:
    return _option(default, parse_whole_number, "%s from %d to %d" % (unit, low, high), about, low, high, shown)


@dataclass(frozen=True)
class Options:
    """The options of one application, converted and checked. Times are in seconds."""

    url: str | None = _option(
        "/events",
        _parse_url,
        "a path such as '/events', without variables and without a slash at its end, or off",
        "where the blueprint is mounted; `off` for an application that serves no multiplexed stream yet: its streams "
        "are wrapped views, and those of `add_stream`",
    )
    broker: str = _option(
        "sqlite:",
        _parse_broker,
        "one of " + ", ".join(SCHEMES),
        "the store that keeps the history and carries events between processes; `sqlite:` is a file in "
        "the application's instance folder, `redis://host:6379/0` or `postgresql://host/db` serves several machines",
        is_secret=True,
    )
    namespace: str | None = _option(
        None,
        check_namespace,
        ALLOWED,
        "the name of the application's part of the store: applications with different namespaces are separate, those "
        "with the same namespace share their events; without a namespace, a second application on the same store is "
        "refused",
        shown="off",
    )
    # The shortest idle limits of common hops are 30 s (HAProxy's sample configurations), 55 s (Heroku) and 60 s
    # (nginx's proxy_read_timeout, AWS ALB).
    heartbeat: float = _option(
        20.0,
        parse_seconds,
        "seconds from 0.05 to 3600",
        "the longest silence on a stream, in seconds",
        low=0.05,
        high=3600,
        shown="20 s",
    )
    # The ``heartbeatTimeout`` that clients of old systems, with event-source-polyfill, are set to.
    client_timeout: float = _option(
        120.0,
        parse_seconds,
        "seconds from 0.1 to 86400",
        "how long a client waits for data before it reconnects; a `SSEMUX_HEARTBEAT` of more than half of it is "
        "refused at start, one of more than a third is warned about",
        low=0.1,
        high=86400,
        shown="120 s",
    )
    # Without the field Chromium waits 3 s and Firefox 5 s.
    retry: int = _number(
        3000, 1, 3600000, "milliseconds",
        "the `retry:` field: how long a client waits before it reconnects; varied by ±50 % from stream to stream, so "
        "that not all clients of a worker that is gone come back at the same moment",
        shown="3000 ms",
    )  # fmt: skip
    return_within: float = _option(
        60.0,
        parse_seconds,
        "seconds from 1 to 3600",
        "the maximum time within which the clients of a worker that stops come back; the worker chooses a shorter time "
        "if it has few streams",
        low=1,
        high=3600,
        shown="60 s",
    )
    history_seconds: float = _option(
        3600.0,
        parse_seconds,
        "seconds from 0 to 31536000",
        "how long events are kept for replay",
        low=0,
        high=31536000,
        shown="3600 s",
    )
    history_events: int = _number(
        10000, 1, 10000000, "a number",
        "how many events of each channel are kept for replay",
    )  # fmt: skip
    # A disk or a Redis of 1 GB holds it with the keys and indexes around it; 256 bytes an event are a million events.
    history_bytes: int = _number(
        256 * 1024**2, 65536, 549755813888, "bytes",
        "how many bytes of events the store keeps for replay, over all channels; the oldest are deleted first",
        shown="256 MiB",
    )  # fmt: skip
    queue_events: int = _number(
        1000, 10, 1000000, "a number",
        "how many events may wait for one client; beyond that its stream is closed, and it reconnects and is sent "
        "what it missed",
    )  # fmt: skip
    queue_bytes: int = _number(
        1024 * 1024, 1024, 1073741824, "bytes",
        "how many bytes may wait for one client; beyond that the same happens",
        shown="1 MiB",
    )  # fmt: skip
    replay_bytes: int = _number(
        64 * 1024 * 1024, 1048576, 549755813888, "bytes",
        "the memory for all replays of a worker: half of it for history that clients share, half for data that "
        "clients have not read yet. A client whose next data does not fit waits for its turn and is sent heartbeats",
        shown="64 MiB",
    )  # fmt: skip
    max_event_bytes: int = _option(
        256 * 1024,
        parse_whole_number,
        "bytes from 64 to 536870912, and at most half of SSEMUX_QUEUE_BYTES",
        "`publish` refuses a larger event",
        low=64,
        high=512 * 1024**2,
        shown="256 KiB",
    )
    # 80 %: the rest is kept for ordinary pages, which otherwise hang once streams hold every slot.
    max_streams: int | None = _number(
        None, 1, 10000000, "a number",
        "the maximum number of streams of one worker. Streams never use up the server capacity: room for one ordinary "
        "request is always left (a stream that uses `handoff` takes no capacity). A client that finds no room is told "
        "to come back in 10 to 30 s",
        shown="80 % of the file limit and of the server capacity (`worker_connections`, threads)",
    )  # fmt: skip
    max_streams_per_user: int = _number(
        32, 1, 1000000, "a number",
        "the maximum number of streams of one user, over all workers",
    )  # fmt: skip
    over_user_limit: str = _option(
        "refuse",
        make_choice_parser(OVER_USER_LIMIT),
        "one of " + ", ".join(OVER_USER_LIMIT),
        "what happens when a user at that limit opens one more stream: `refuse` tells the new client to come back "
        "later, `oldest` ends the user's oldest stream",
    )
    # A run of a language model's tokens takes 0.3 % of a core (docs/performance.md); in threads, each has its own.
    max_runs: int = _number(
        200, 1, 1000000, "a number",
        "the maximum number of runs (`start_run`) of one worker; one more raises `TooManyRuns`",
    )  # fmt: skip
    max_runs_per_owner: int = _number(
        32, 1, 1000000, "a number",
        "the maximum number of runs of one owner, over all workers",
    )  # fmt: skip
    # As for runs: with 200 feeds that yield each second, a worker has a few per cent of a core to do.
    max_feeds: int = _number(
        200, 1, 1000000, "a number",
        "the maximum number of feeds (`mux.feed`) that one worker runs; further ones are left to other workers, or "
        "wait until one ends",
    )  # fmt: skip
    lifetime: float | None = _option(
        None,
        parse_seconds,
        "seconds from 1 to 31536000, or off",
        "a stream ends cleanly after this time (varied between 80 and 100 %), and its client reconnects and resumes: "
        "this rebalances workers and calls `identify` again; it does not apply to views under `streaming`, which "
        "cannot resume",
        low=1,
        high=31536000,
        shown="off",
    )
    recheck: float | None = _option(
        None,
        parse_seconds,
        "seconds from 1 to 31536000, or off",
        "`identify` and `authorize` are called again for every open stream, about this often; the stream ends if its "
        "user has changed or may no longer read one of its channels",
        low=1,
        high=31536000,
        shown="off",
    )
    heartbeat_event: str | None = _option(
        None,
        _parse_event_name,
        "an event's name, or off",
        "the name of an event without `id` that is sent with each heartbeat, for pages that want to notice "
        "heartbeats with the native `EventSource`",
        shown="off",
    )
    # Clients of old systems know the heartbeat as a frame; some of them split the stream at empty lines.
    heartbeat_form: str = _option(
        "frame",
        make_choice_parser(encode.HEARTBEAT_FORMS),
        "one of " + ", ".join(encode.HEARTBEAT_FORMS),
        "how a heartbeat ends: `frame` with an empty line, `line` without one, for clients that report an empty "
        "message at each empty line (`docs/client.md` names them); views under `streaming` always use `line`",
    )
    # Copies of ssemux.js that pages have bundled, or that tabs loaded long ago, read the field only.
    channel_form: str = _option(
        "field",
        make_choice_parser(encode.CHANNEL_FORMS),
        "one of " + ", ".join(encode.CHANNEL_FORMS),
        "how a frame names its channel: `field` is the line `channel: name`, `comment` the line `: channel: name`, for "
        "parsers that report an unknown field as an error; a client can choose for itself, by `channel_form` in its "
        "query (`docs/client.md`)",
    )
    transport: str = _option(
        "auto",
        make_choice_parser(TRANSPORTS),
        "one of " + ", ".join(TRANSPORTS),
        "how frames get onto the socket: `handoff` (gunicorn's gevent worker with plain HTTP/1.x; a stream needs no "
        "greenlet) or `generator` (every server); `auto` uses `handoff` where it is safe",
    )
    on_error: str = _option(
        "raise",
        make_choice_parser(ON_ERROR),
        "one of " + ", ".join(ON_ERROR),
        "what `publish` does if an event is not accepted: `raise` raises the error, `log` logs it and returns None; "
        "the argument `on_error` overrides it",
    )
    tracing: str = _option(
        "auto",
        make_choice_parser(TRACING),
        "one of " + ", ".join(TRACING),
        "whether publishing and fan-out make spans of OpenTelemetry: `auto`, if the application has configured a "
        "tracer provider (`docs/tracing.md`), or `off`",
    )

    @classmethod
    def resolve(cls, config: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Options:
        """Return the options from ``app.config``, the environment, and the defaults, in that order.

        :param config: ``app.config``; keys that begin with ``SSEMUX_`` are read.
        :param environ: the environment; None means ``os.environ``.
        :raises ConfigurationError: names the option, the value, and what is allowed.
        """
        environ = os.environ if environ is None else environ
        _refuse_unknown(config, environ)
        found = {}
        for option in fields(cls):
            key = key_of(option.name)
            for source in (config, environ):
                if key in source:
                    found[option.name] = _convert(key, source[key], option)
                    break
        made = cls(**found)
        _check_heartbeat(made)
        _check_sizes(made)
        return made


def key_of(name: str) -> str:
    """Return the name of an option for users: ``heartbeat`` is ``SSEMUX_HEARTBEAT``."""
    return PREFIX + name.upper()


def list_options() -> list[tuple[str, str, str]]:
    """Return a row for each option: its key, its default as it is shown, and what it is."""
    return [(key_of(o.name), o.metadata["shown"] or "%s" % o.default, o.metadata["about"]) for o in fields(Options)]


def read_option(name: str, environ: Mapping[str, str]) -> Any:
    """Return one option from the environment, or its default. For a process without an application.

    :param name: of the field of ``Options``.
    :raises ConfigurationError: names the option, the value, and what is allowed.
    """
    (option,) = [option for option in fields(Options) if option.name == name]
    key = key_of(name)
    return _convert(key, environ[key], option) if key in environ else option.default


def _refuse_unknown(config: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Refuse unknown options in the configuration. The environment may be shared, so there they cause a warning."""
    known = [option.name for option in fields(Options)]
    for source in (config, environ):
        for key in source:
            name = key[len(PREFIX) :].lower()
            if key.startswith(PREFIX) and (name not in known or key != key_of(name)):
                near = [key_of(match) for match in difflib.get_close_matches(name, known, n=1)]
                hint = "did you mean %s?" % near[0] if near else "known are " + ", ".join(map(key_of, known))
                if source is config:
                    raise ConfigurationError("there is no option %s; %s" % (key, hint))
                log.warning("the environment has %s, and there is no such option; %s", key, hint)


def _convert(key: str, value: Any, option: Any) -> Any:
    rule = option.metadata
    word = "" if value is None else str(value).strip().lower()
    if option.default is None and (word in OFF or (word == "0" and rule["shown"] == "off")):
        return None
    try:
        converted = rule["convert"](value)
        if isinstance(converted, (int, float)) and not rule["low"] <= converted <= rule["high"]:
            raise ValueError
    except ConfigurationError as error:
        raise ConfigurationError("%s=%r: %s" % (key, _show_value(value, rule), error)) from None
    except (ValueError, OverflowError):
        raise ConfigurationError("%s=%r: must be %s" % (key, _show_value(value, rule), rule["allowed"])) from None
    return converted


def _show_value(value: Any, rule: Mapping[str, Any]) -> Any:
    return redact_value(value) if rule["is_secret"] else value


def _check_heartbeat(options: Options) -> None:
    margin = options.client_timeout / options.heartbeat
    text = (
        "SSEMUX_HEARTBEAT=%g with SSEMUX_CLIENT_TIMEOUT=%g leaves room for only %.1f heartbeats in a "
        "client's time-out" % (options.heartbeat, options.client_timeout, int(margin * 10) / 10)
    )
    if margin < 2:
        raise ConfigurationError(
            "%s: at least 2 are needed, 6 are usual; set SSEMUX_HEARTBEAT to at most %g"
            % (text, options.client_timeout / 2)
        )
    if margin < 3:
        log.warning(
            "%s: a single late heartbeat cuts the stream; set SSEMUX_HEARTBEAT to at most %g",
            text, options.client_timeout / 3,
        )  # fmt: skip


def _check_sizes(options: Options) -> None:
    if options.max_event_bytes > options.queue_bytes / 2:
        raise ConfigurationError(
            "SSEMUX_MAX_EVENT_BYTES=%d is over half of SSEMUX_QUEUE_BYTES=%d: two such events would close "
            "every stream that they reach; raise SSEMUX_QUEUE_BYTES" % (options.max_event_bytes, options.queue_bytes)
        )
