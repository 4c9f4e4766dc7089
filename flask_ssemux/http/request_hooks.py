"""What runs with each request of an application: headers against buffering, and tickets that no log may show.

The first request also checks the streams that were registered. Nothing is decided about a stream here.
"""

from __future__ import annotations

from typing import Callable

from flask import Request, Response, current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from ..access import tickets
from ..errors import ConfigurationError
from ..options import log
from ..state import ApplicationState
from .responses import add_stream_headers


def make_after_request(state: ApplicationState) -> Callable[[Response], Response]:
    """Return the function that adds headers against buffering to every answer of a stream's URL, errors included.

    The application's rules are complete when it answers its first request, so they are checked then.
    """

    def after_request(response: Response) -> Response:
        if not state.is_checked:
            _check_streams(state)
        current = _get_request()
        state.worker.store_guard.note_request(current.environ)
        return add_stream_headers(response) if _is_stream(state, current) else response

    return after_request


def make_teardown(state: ApplicationState) -> Callable[[BaseException | None], None]:
    """Return the function that hides tickets from the server's access log, after failed requests too."""

    def teardown(error: BaseException | None) -> None:
        current = _get_request()
        if tickets.may_show_ticket(current.environ):
            is_stream_url = current.routing_exception is not None or _is_stream(state, current)
            tickets.hide_tickets(current.environ, is_stream_url)

    return teardown


def _get_request() -> Request:
    """Return the current request itself: each access through its proxy looks for it again."""
    return request._get_current_object()  # type: ignore[attr-defined,no-any-return]


def _is_stream(state: ApplicationState, current: Request) -> bool:
    """Return whether a request is for a stream's URL, with whatever method."""
    endpoint = current.endpoint or _find_endpoint_of_get(current)
    return endpoint in state.endpoints or current_app.view_functions.get(str(endpoint)) in state.views


def _find_endpoint_of_get(current: Request) -> str | None:
    """Return the endpoint that serves GET at this URL, if the request's method is not allowed here."""
    if not isinstance(current.routing_exception, MethodNotAllowed):
        return None
    try:
        adapter = current_app.create_url_adapter(current)
        return str(adapter.match(method="GET")[0]) if adapter else None
    except HTTPException:
        return None


def _check_streams(state: ApplicationState) -> None:
    """Log what is wrong with the application's streams, once; if it is being debugged or tested, raise it.

    :raises ConfigurationError: the application is being debugged or tested, and a stream must not be served.
    """
    errors = state.find_errors()
    if errors and (current_app.debug or current_app.testing):
        raise ConfigurationError(errors[0])
    state.is_checked = True
    for error in errors:
        log.error("%s", error)
    for warning in state.find_warnings():
        log.warning("%s", warning)
