"""gunicorn's response to the current request: how it is found, whether its connection may be taken, that it is the last
one on its connection, and what its stream does not need of the request's environment.

Private parts of gunicorn are used here; ``private_parts.py`` looks them up. No streams, and nothing is written.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, Mapping, MutableMapping

from .private_parts import GEVENT_WORKER, HANDLER, ITEM, RESPONSE, THREAD_WORKER, Use, can_do

#: Headers of a body that is sent otherwise than it was made here, unless their value is "identity".
_CHANGED_BODY = {"content-encoding", "content-length", "transfer-encoding", "trailer"}


#: In a request's environment: the function that begins its response, as the server passed it to the application.
START_RESPONSE = "ssemux.start_response"


def force_close(environ: MutableMapping[str, Any] | None = None) -> None:
    """Let gunicorn say in the response's headers, which must not have been sent, that its connection closes.

    :param environ: the request's; ``START_RESPONSE`` is taken out of it.
    """
    start_response = None if environ is None else environ.pop(START_RESPONSE, None)
    if can_do(Use.ANNOUNCE_CLOSE):
        response = _find_owner(start_response) or _find_variables(GEVENT_WORKER, THREAD_WORKER).get(RESPONSE)
        if response is not None:
            response.force_close()


def _find_owner(start_response: Any) -> Any:
    """Return gunicorn's response whose method this is; None if a middleware passed another function.

    A look at the callers' variables finds the response as well, but Python keeps a frame object and a dictionary for
    it until the caller returns, which is 0.6 KB for as long as the stream is open.
    """
    found = getattr(start_response, "__self__", None)
    return found if type(found).__module__.startswith("gunicorn.") and hasattr(found, "force_close") else None


#: The latest ``wsgi.errors`` of a stream's request.
_shared_errors: Any = None


def shrink_environ(environ: MutableMapping[str, Any]) -> None:
    """Drop the parts of a request's environment that nothing needs while its stream is open: 0.6 KB.

    Early hints (103) do nothing once the response begins. gunicorn makes an object for ``wsgi.errors`` of each request,
    and all of them write to the same files, until a log is opened again.
    """
    global _shared_errors
    environ.pop("wsgi.early_hints", None)
    errors: Any = environ.get("wsgi.errors")
    if type(errors).__module__ == "gunicorn.http.wsgi" and hasattr(errors, "streams"):
        if _shared_errors is None or errors.streams != _shared_errors.streams:
            _shared_errors = errors
        environ["wsgi.errors"] = _shared_errors


def find_response(connection: Any, last: bytes, sent: int) -> tuple[Any, str]:
    """Return the response that our caller's body feeds, and why its connection may not be taken; "" if it may.

    It is safe if gunicorn wrote exactly what was made here, and if everything in between passes it on at once.

    :param last: the item that was given last.
    :param sent: bytes of all items.
    """
    variables = _find_variables(GEVENT_WORKER)
    response = variables.get(RESPONSE)
    if response is None:
        return None, "gunicorn is not what draws this response's items"
    if response.sock is not connection or not response.headers_sent:
        return None, "something holds this response back"
    if response.sent != sent or variables.get(ITEM) != last:
        return None, "something changes this response's body"
    if any(name.lower() in _CHANGED_BODY and value != "identity" for name, value in response.headers):
        return None, "something changed this response's headers"
    if response.status_code != 200 or response.upgrade:
        return None, "this response's status is %s" % response.status
    if not response.chunked and response.req.version > (1, 0):
        return None, "this response's framing is unknown"
    return response, ""


def _find_variables(*workers: str) -> Mapping[str, Any]:
    """Return the variables of the function in which gunicorn's worker handles the current request; {} elsewhere.

    :param workers: the modules of the workers that are looked for.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:  # each stream's opening walks here
        if frame.f_code.co_name == HANDLER and frame.f_globals.get("__name__") in workers:
            return frame.f_locals
        frame = frame.f_back
    return {}
