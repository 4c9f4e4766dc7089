"""A client's way from its request to its open stream, in one function: ``_open_stream``. Every stream is opened here.

Each step stands in a file of its own and is taken once. Wrapped streams (old generators) begin in ``streaming.py``.
"""

from __future__ import annotations

import logging
from typing import Any, Iterable, MutableMapping

from flask import Request, Response, current_app, request

from ..errors import BrokerBehind, BrokerError, ClientError, ConfigurationError
from ..hub.hub import spread_retry
from ..hub.resume import BEHIND, NEW_CLIENT
from ..transports.gunicorn_response import shrink_environ
from ..transports.last_response import announce_close
from ..transports.long_poll import LongPoll
from ..transports.select import GENERATOR, choose_transport, find_client_socket, is_departure_noticed, make_transport
from ..worker import server
from ..worker.admission import NoRoom
from ..worker.capacity import draw_unnoticed_life
from ..worker.store_guard import SHORT
from ..worker.worker import Worker
from .opening_border import BUSY, IS_STREAM, IS_TURNED_AWAY, draw_busy_return
from .probe_source import ProbeSource
from .responses import make_plain_body, make_poll_answer, make_refusal, make_retry_later, make_stay_away, make_stream
from .stream_request import PollMode, StreamRequest
from .stream_source import StreamSource


def serve_stream(worker: Worker, source: StreamSource) -> Response:
    """Answer the current request for a stream; a refusal is an answer that clients understand."""
    http_request: Request = request._get_current_object()  # type: ignore[attr-defined]  # without its proxy's cost
    http_request.environ[IS_STREAM] = True
    if IS_TURNED_AWAY in http_request.environ:
        return make_retry_later(BUSY, draw_busy_return(worker))
    trouble = server.why_not(http_request.environ)
    if trouble:
        return _refuse(worker, trouble)
    try:
        return _open_stream(worker, source, http_request)
    except ClientError as error:
        return make_refusal(error)
    except NoRoom as error:
        return answer_no_room(worker, error)
    except BrokerBehind as error:  # its text may name the store, so clients do not get it
        worker.refusals.record(BEHIND, error=error)
        return make_retry_later(BEHIND, spread_retry(worker.options.retry))
    except BrokerError as error:
        return _refuse(worker, "the broker cannot be reached", error)


def _open_stream(worker: Worker, source: StreamSource, http_request: Request) -> Response:
    """Return the stream's response; ``serve_stream`` handles the errors with which the steps refuse it."""
    # What does the client ask for?
    asked = StreamRequest.of_answer(http_request) if source.is_answer else StreamRequest.parse(http_request)
    environ = asked.environ
    if asked.is_stopped:
        return make_stay_away()
    if asked.probe is not None:
        source = ProbeSource(asked.probe, current_app.secret_key)
    else:
        trouble = worker.store_guard.why_not(environ)
        if trouble:
            return _refuse(worker, SHORT, ConfigurationError(trouble))

    # Who is it, and may they read this? A revocation that comes after this line is not in the answers of the rules.
    running = worker.running()
    hub = running.hub
    revocations = hub.count_revocations()
    subscription = source.authorize(asked)
    reader, channels = subscription.reader, subscription.channels
    resume = subscription.resume or NEW_CLIENT
    if subscription.resume is None and channels and asked.last_ids:
        resume = hub.parse_last_ids(asked.last_ids)
    if subscription.is_over or channels and hub.must_stay_away(reader.user_id, channels, resume):
        return make_stay_away()
    if asked.is_head:
        return make_stream(iter(()))

    # Is there room? From here on, whatever fails gives it back, and ends the stream.
    choice = None
    if asked.poll is PollMode.NONE:
        wanted = GENERATOR if source.is_plain else worker.options.transport
        choice = choose_transport(environ, wanted, asked.override)
    permit = running.admission.admit(reader.user_id, choice is not None and choice.is_handed_over)
    try:
        if subscription.on_admitted is not None:
            subscription.on_admitted()
        stream = permit.stream = hub.open_stream(
            channels, reader.user_id, resume, subscription.make_snapshots,
            subscription.on_closed or running.on_stream_closed, subscription.new_channels, revocations,
            asked.channel_form or worker.options.channel_form, subscription.run,
        )  # fmt: skip
        if subscription.on_open is not None:
            subscription.on_open(running, stream)
        client = find_client_socket(environ)
        if asked.probe is None:
            running.register_stream(stream, environ, subscription.checked, permit.opening)
            if not is_departure_noticed(environ, client):
                running.limit_lifetime(stream, draw_unnoticed_life())
        if reader.ticket is not None:  # only now: a client that is refused comes back with the same ticket
            reader.ticket.use_up(running.broker)
        if asked.probe is None and worker.signals.follows_streams:
            running.announce_stream(stream)
        stream.sent_at = running.timer.clock()  # the server has a few seconds from now on to begin sending
        if choice is None:
            return make_poll_answer(LongPoll(stream, client, asked.poll is PollMode.WAIT, hub.opening_frame_count))
        transport = make_transport(choice, stream, client)
        return _make_response(environ, make_plain_body(transport) if source.is_plain else transport)
    except BaseException:
        permit.release()
        raise


def _make_response(environ: MutableMapping[str, Any], body: Iterable[bytes]) -> Response:
    shrink_environ(environ)
    response = make_stream(body)
    announce_close(environ, response.headers)
    return response


def answer_no_room(worker: Worker, error: NoRoom) -> Response:
    """Tell the client to come back later, or soon if another worker may have room."""
    worker.refusals.record(error.reason)
    return make_retry_later(error.reason, worker.running().drain.draw_retry() if error.is_stopping else None)


def _refuse(worker: Worker, reason: str, error: Exception | None = None) -> Response:
    """Tell the client to come back later, and log an error.

    :param error: what the log says instead of the reason.
    """
    worker.refusals.record(reason, "was refused", logging.ERROR, error)
    return make_retry_later(reason)
