"""What the log says of wrapped streams that get less than their view expects: each line once for each view or server.

Only the texts. ``wrapped_generator.py`` finds out when one applies.
"""

from __future__ import annotations

import functools
from typing import Any, Callable

from ..options import log

#: How many different lines each function logs at most.
LINES = 100


def _log_once(function: Callable[..., None]) -> Callable[..., None]:
    """Return a function that does nothing for values that it was called with before, by whichever thread."""
    known: dict[tuple[Any, ...], object] = {}

    @functools.wraps(function)
    def call(*values: Any) -> None:
        mine = object()
        if len(known) < LINES and known.setdefault(values, mine) is mine:  # setdefault is atomic
            function(*values)

    return call


@_log_once
def warn_of_replacement(name: str) -> None:
    """Log a warning, once for each view."""
    log.warning(
        "the wrapped stream %r gets no heartbeats while its generator sleeps: something (for example an after_request "
        "function) put its body into another response, and flask_ssemux cannot write beside that one; change the "
        "response that @streaming made instead of replacing it", name
    )  # fmt: skip


@_log_once
def warn_of_encoding(name: str) -> None:
    """Log a warning, once for each view."""
    log.warning(
        "the wrapped stream %r gets no heartbeats while its generator sleeps: something (for example an after_request "
        "function) compresses its body, and flask_ssemux cannot write beside that; leave responses alone whose "
        "Content-Encoding is identity, as that of @streaming", name
    )  # fmt: skip


@_log_once
def warn_of_silence(error: str) -> None:
    """Log a warning, once for each error."""
    log.warning(
        "wrapped streams get no heartbeats here while their generator sleeps, because this server cannot write beside "
        "it (%s): use gunicorn or uWSGI with gevent, or SSEMux.add_stream", error
    )  # fmt: skip


@_log_once
def warn_of_no_events(name: str) -> None:
    """Log a warning, once for each view. The body is not quoted, since it may be private."""
    log.warning(
        "the view %r says that its response is text/event-stream, but the body is no event stream: its first line has "
        "none of the fields data, event, id and retry, so EventSource shows nothing of it. It is passed on unchanged, "
        "without heartbeats. Yield 'data: ...\\n\\n' for each event; or, if the page reads the text by itself, return "
        "Response(..., mimetype='text/plain')", name
    )  # fmt: skip


@_log_once
def warn_of_html(name: str, content_type: str) -> None:
    """Log a warning, once for each view."""
    log.warning(
        "the view %r yields events, but says that its response is %s, which EventSource refuses. It is passed on "
        "unchanged, without heartbeats: return Response(..., mimetype='text/event-stream')", name, content_type
    )  # fmt: skip
