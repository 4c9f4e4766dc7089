"""The routes of streams: from a request to a response that streams, or says why not.

Everything that needs Flask's request happens here, before the first byte; the
stream itself holds nothing of it. Rules are asked, not made, here.
"""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Sequence

from flask import Blueprint, Response, current_app, jsonify, request

from ..access import tickets
from ..access.patterns import Pattern
from ..access.rules import Rules, check_query, named, personal, text_of
from ..errors import BadRequest, BrokerBehind, BrokerError, ClientError, ConfigurationError
from ..hub.hub import spread_retry
from ..hub.stream import Stream
from ..sse import encode
from ..state import ApplicationState, current
from ..transports.last_answer import announce_close
from ..transports.long_poll import LongPoll
from ..transports.select import is_departure_noticed, may_be_handed_over, open_transport
from ..worker import server
from ..worker.admission import NoRoom
from ..worker.capacity import draw_unnoticed_life
from ..worker.tenancy import SHORT
from ..worker.worker import Worker
from .probe import PARAMETER, Plan, Probe

#: To the letter: with "; charset=utf-8", which Flask adds for a mimetype, at least one tunnel buffers.
CONTENT_TYPE = "text/event-stream"

#: On every answer of a stream's URL, errors too.
HEADERS = {
    "Cache-Control": "no-cache, no-transform",
    # nginx: "proxy_buffering off" for this answer alone (ngx_http_proxy_module).
    "X-Accel-Buffering": "no",
}

#: Where clients say what they saw last, beside the header: WHATWG's name, then polyfills' and peers'.
LAST_ID_PARAMETERS = ("lastEventId", "Last-Event-Id", "last_event_id", "evs_last_event_id")

#: Which of the channels are new to a client that comes back: no history of them, but their snapshot.
NEW_PARAMETER = "new"

#: What asks for a whole answer in place of a stream: when there is something new, or whatever there is now.
POLL_PARAMETER = "poll"
POLLS = ("1", "true", "now")

#: Of the answer to a poll, which a cache could keep.
POLL_CACHING = "no-store"

#: What a page imports, and what that imports where streams are held back; by endpoint.
CLIENT = {"client": "ssemux.js", "client_poll": "ssemux-poll.js"}

#: Seconds after which a client that found no room comes back, spread.
COME_BACK = (10.0, 30.0)


#: What clients hear of a history that began anew a moment ago.
BEHIND = "the history began anew, and this worker has yet to hear of it"


def blueprint(worker: Worker, rules: Rules, options: Sequence[Mapping[str, Any]] = ({},)) -> Blueprint:
    """``GET /events``: the client's own channels and those that it names; and the browser's client.

    :param options: of each rule that a URL needs; see ``hosts.rule_options``.
    """
    made = Blueprint("ssemux", __name__)
    url = worker.options.url

    def add_view(path: str, endpoint: str, view: Callable[..., Response]) -> None:
        name_view(view, "ssemux_" + endpoint)
        for more in options:
            made.add_url_rule(path, endpoint, view, **more)

    add_view(url, "events", answering(worker, lambda: _events(worker, rules)))
    for endpoint, name in CLIENT.items():
        add_view("%s/%s" % (url.rstrip("/"), name), endpoint, _client(name))
    return made


def name_view(view: Callable[..., Response], name: str) -> None:
    """Give a view a name of its own.

    Other extensions know a view by its module and its name: Flask-WTF and Flask-Limiter read both, and what exempts
    one view would exempt all that share them.
    """
    view.__name__ = view.__qualname__ = name.replace(".", "_")


def fixed(patterns: Sequence[Pattern], own: bool, public: bool, check: Callable[[], None]) -> Callable[..., Response]:
    """The view of a stream whose channels the application names. It serves whatever application is the current one.

    :param own: whether it also has the client's own channel and everyone's.
    :param public: whether everyone may read the channels that no rule is for.
    :param check: raises where the stream must not be served.
    """

    def view(**values: Any) -> Response:
        check()
        service = current()
        return answer(service.worker, lambda: _fixed(service, [pattern.fill(values) for pattern in patterns]))

    def _fixed(service: ApplicationState, channels: list[str]) -> Response:
        worker, rules = service.worker, service.rules
        taken = worker.running().hub.count_revocations()
        user = rules.user()
        user_id = text_of(user)
        asked = [channel for channel in channels if rules.has_rule(channel)] if public else channels
        rules.check(user, asked)
        return _stream(worker, rules, Asked(user_id, asked, taken), channels + (personal(user_id) if own else []))

    return view


def answering(worker: Worker, view: Callable[..., Response]) -> Callable[..., Response]:
    """A view whose refusals are answers that a client understands."""
    return lambda **values: answer(worker, lambda: view(**values))


def answer(worker: Worker, view: Callable[[], Response]) -> Response:
    """What a view answers, or its refusal as an answer that a client understands."""
    try:
        trouble = server.why_not(request.environ)
        if trouble:
            worker.refusals.record(trouble, "was refused", logging.ERROR)
            return come_back(trouble)
        check_query(request.environ.get("QUERY_STRING", ""))
        if encode.STOP_ID in last_ids():
            return stay_away()
        if PARAMETER in request.args:
            return _probe(worker, request.args[PARAMETER])
        return _refuse_rival(worker) or view()
    except ClientError as error:
        return _refusal(error)
    except BrokerBehind as error:  # which may name the store
        worker.refusals.record(BEHIND, error=error)
        return come_back(BEHIND, spread_retry(worker.options.retry))
    except BrokerError as error:
        worker.refusals.record("the broker cannot be reached", "was refused", logging.ERROR, error)
        return come_back("the broker cannot be reached")


def _refuse_rival(worker: Worker) -> Response | None:
    """Tell the client to come back if another application has the store; return None if none has."""
    trouble = "" if worker.tenancy is None else worker.tenancy.why_not(request.environ)
    if not trouble:
        return None
    worker.refusals.record(SHORT, "was refused", logging.ERROR, ConfigurationError(trouble))
    return come_back(SHORT)


def finish(response: Response) -> Response:
    """The headers that keep every hop from holding an answer back."""
    is_poll = response.headers.get("Cache-Control") == POLL_CACHING
    for name, value in HEADERS.items():
        response.headers[name] = value
    if is_poll:
        response.headers["Cache-Control"] = POLL_CACHING
    if response.is_streamed:
        # Not every compressor heeds "no-transform", and Caddy's (2.6) never flushes: what a client had missed did not
        # arrive, if it was more than 512 bytes. What names an encoding is left alone.
        response.headers.setdefault("Content-Encoding", "identity")
    return response


def streaming_response(source: Iterable[bytes]) -> Response:
    """A response that streams these bytes."""
    # Passed through: no wrapper of Werkzeug's around each item, and nothing for a compressor.
    return finish(current_app.response_class(source, content_type=CONTENT_TYPE, direct_passthrough=True))


def come_back(why: str, milliseconds: int | None = None) -> Response:
    """A whole stream that only says when to come back. Browsers never reconnect after 4xx or 5xx."""
    pause = int(random.uniform(*COME_BACK) * 1000) if milliseconds is None else milliseconds
    return finish(current_app.response_class(encode.retry(pause, why), content_type=CONTENT_TYPE))


def stay_away() -> Response:
    """204, after which no browser comes back by itself (WHATWG HTML 9.2.3): its user's streams were ended for good."""
    return finish(current_app.response_class(status=204))


def send_away(worker: Worker, error: NoRoom) -> Response:
    """There is no room here: come back later; or, where this worker stops, soon, to another one."""
    worker.refusals.record(error.reason)
    return come_back(error.reason, spread_retry(worker.options.retry) if error.is_stopping else None)


class Asked(NamedTuple):
    """What the application's rules were asked.

    :param user_id: who ``identify`` said it is.
    :param channels: those that ``authorize`` was asked for; None: ``allow_status`` was.
    :param taken: how many orders had come before: what comes later is not in its answers.
    """

    user_id: str | None
    channels: list[str] | None
    taken: int


def _events(worker: Worker, rules: Rules) -> Response:
    taken = worker.running().hub.count_revocations()
    user = rules.user()
    user_id = text_of(user)
    channels = named(request.args.getlist("channel"), user_id)
    rules.check(user, channels)
    asked = Asked(user_id, channels, taken)
    return _stream(worker, rules, asked, channels + personal(user_id), request.args.getlist(NEW_PARAMETER))


def _client(name: str) -> Callable[[], Response]:
    """The view of a module for browsers."""

    def view() -> Response:
        return asset(Path(__file__).parents[1].joinpath("static") / name, "text/javascript")

    return view


def asset(file: Path, content_type: str) -> Response:
    """A file for browsers. They keep it, and ask each time whether it is still the one: a deploy is noticed."""
    response = current_app.response_class(file.read_bytes(), content_type=content_type + "; charset=utf-8")
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    response.make_conditional(request)
    return response


def _stream(worker: Worker, rules: Rules, asked: Asked, channels: Sequence[str], new: Sequence[str] = ()) -> Response:
    user_id, running, seen = asked.user_id, worker.running(), last_ids()
    hub = running.hub
    if hub.is_to_stay_away(user_id, channels, seen) or hub.is_held_off(user_id, channels, seen):
        return stay_away()
    return joined(
        worker,
        asked,
        lambda: hub.open_stream(channels, user_id, seen, rules.snapshots, running.on_stream_closed, new, asked.taken),
    )


def joined(worker: Worker, asked: Asked, opens: Callable[[], Stream]) -> Response:
    """A stream of whoever this is, or a poll of it, told to all who look after it."""
    ticket = tickets.presented()

    def joins(stream: Stream) -> None:
        running = worker.running()
        running.register_stream(stream, request.environ, asked.channels)
        if not is_departure_noticed(request.environ):
            running.limit_lifetime(stream, draw_unnoticed_life())
        if ticket is not None:  # only now: who is sent away comes back with it
            ticket.use(worker.broker)

    return served(worker, asked.user_id, opens, polling(), joins)


def polling() -> str:
    """How the client polls; "" if it wants a stream.

    :raises BadRequest: in no way that is known here.
    """
    asked = request.args.get(POLL_PARAMETER, "")
    if asked and asked not in POLLS:
        raise BadRequest("poll=%r is no way to poll; poll=1 waits for an event, poll=now does not" % asked)
    return asked


def _probe(worker: Worker, token: str) -> Response:
    """The stream of a probe, in place of the one that the URL has; its token is all that is asked."""
    plan = Plan.of(token, current_app.secret_key)

    def opened() -> Stream:
        running = worker.running()
        hub, timer = running.hub, running.timer
        stream = hub.open_stream((), None, on_closed=running.on_stream_closed)
        probe = Probe(plan, stream, timer.clock, hub.end_stream)
        timer.remove(stream)  # no heartbeat may end the silence that is to be survived
        timer.add(probe, probe.due)
        return stream

    return served(worker, None, opened)


def served(
    worker: Worker,
    user_id: str | None,
    opens: Callable[[], Stream],
    poll: str = "",
    joins: Callable[[Stream], None] = lambda _: None,
) -> Response:
    """A stream, if there is a place for it: its own as soon as it is open, and given back at its end.

    :param joins: takes it when it is open; it is no more if that raises.
    """
    if request.method == "HEAD":
        return streaming_response(iter(()))
    is_handed_over = not poll and may_be_handed_over(request.environ, worker.options.transport)
    running = worker.running()
    try:
        permit = running.admission.admit(user_id, is_handed_over)
    except NoRoom as error:
        return send_away(worker, error)
    try:
        stream = permit.attach(opens())
        joins(stream)
        stream.sent_at = running.timer.clock()  # from here on it is awaited that the server begins to send it
        if poll:
            return _polled(LongPoll(stream, request.environ, poll != "now", running.hub.opening_frame_count))
        response = streaming_response(open_transport(stream, request.environ, worker.options.transport))
        announce_close(request.environ, response.headers)
        return response
    except BaseException:
        permit.release()
        raise


def _polled(source: LongPoll) -> Response:
    response = streaming_response(source)
    response.headers["Cache-Control"] = POLL_CACHING
    return response


def last_ids() -> list[str]:
    """What the client says it saw last, in all the ways it said it."""
    said = [request.headers.get("Last-Event-ID", "")]
    for name in LAST_ID_PARAMETERS:
        said += request.args.getlist(name)
    return said


def _refusal(error: ClientError) -> Response:
    told = {"error": error.code, "message": str(error)}
    if error.channel is not None:
        told["channel"] = error.channel
    response = jsonify(told)
    response.status_code = error.status
    return finish(response)
