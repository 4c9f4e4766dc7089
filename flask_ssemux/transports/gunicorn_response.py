"""gunicorn's response to the current request: how it is found, whether its connection may be taken, and that it is the
last one on its connection.

Private parts of gunicorn are used here; ``private_parts.py`` looks them up. No streams, and nothing is written.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, Mapping

from .private_parts import GEVENT_WORKER, HANDLER, ITEM, RESPONSE, THREAD_WORKER, Use, can_do

#: Headers of a body that is sent otherwise than it was made here, unless their value is "identity".
_CHANGED_BODY = {"content-encoding", "content-length", "transfer-encoding", "trailer"}


def force_close() -> None:
    """Let gunicorn say in the response's headers, which must not have been sent, that its connection closes."""
    if can_do(Use.ANNOUNCE_CLOSE):
        response = _find_variables(GEVENT_WORKER, THREAD_WORKER).get(RESPONSE)
        if response is not None:
            response.force_close()


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
