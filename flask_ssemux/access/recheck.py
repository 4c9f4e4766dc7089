"""A second look at streams that are open: who is their user now, and may they still read what they read?

Only for ``SSEMUX_RECHECK``. A stream's request is long over; what ``identify`` may need of it is kept, and asked in a
request context of its own, one stream after another in one thread, so that a database has one question of ours at a
time and no session is held in between. The rules are ``rules.py``'s; when to look is the heart's to say.
"""

from __future__ import annotations

import io
import json
import sys
import threading
import time
import zlib
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from flask import Flask
from werkzeug.exceptions import HTTPException

from ..aside import aside
from ..errors import ClientError
from ..options import log
from ..quiet import Quiet
from ..stream import CLOSED, Stream
from ..visit import again
from .rules import Rules, text_of

#: Of the interval: so often is looked whether somebody is due; and at least every ``LOOK`` seconds.
OFTEN = 0.1
LOOK = 1.0

#: Answers of an application that would not have let the stream begin; others, such as 429 and 503, say nothing of it.
NO = (301, 302, 303, 307, 308, 401, 403, 404)

#: What a WSGI environment has besides text (PEP 3333).
_REST = {"wsgi.version": (1, 0), "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False}


class Kept(NamedTuple):
    """What is kept of a stream's request.

    :param environ: the texts of its WSGI environment, packed: as they are they would take 3 KB and more.
    :param channels: those that ``authorize`` was asked for; None: ``allow_status`` was.
    :param due: when it is asked next.
    """

    environ: bytes
    channels: Sequence[str] | None
    due: float


class Recheck:
    """Asks again. A member of the heart.

    :param every: seconds from one look at a stream to the next.
    """

    def __init__(self, app: Flask, rules: Rules, every: float) -> None:
        self.slot: int | None = None
        self._app = app
        self._rules = rules
        self._every = every
        self._quiet = Quiet()
        self.forget()

    def forget(self) -> None:
        """In a forked child: these streams are the parent's."""
        self._lock = threading.Lock()
        self._kept: dict[Stream, Kept] = {}  # in the order in which they are due
        self._is_asking = False

    def begin(
        self, end: Callable[[Stream, str], None], clock: Callable[[], float], breathe: Callable[[], None]
    ) -> None:
        """Streams are going to join.

        :param end: ends a stream for a reason.
        :param clock: the heart's.
        :param breathe: lets others run.
        """
        self._end = end
        self._clock = clock
        self._breathe = breathe

    def joined(self, stream: Stream, environ: Mapping[str, Any], channels: Sequence[str] | None) -> None:
        with self._lock:
            self._kept[stream] = Kept(_packed(environ), channels, self._clock() + self._every)

    def left(self, stream: Stream) -> None:
        with self._lock:
            self._kept.pop(stream, None)

    def beat(self, now: float) -> float:
        with self._lock:
            first = next(iter(self._kept.values()), None)
            begins = first is not None and first.due <= now and not self._is_asking
            self._is_asking |= begins
        if begins:
            aside("ssemux-recheck", self._ask_all, now)
        return now + min(LOOK, self._every * OFTEN)

    @property
    def is_asking(self) -> bool:
        return self._is_asking

    # -- the thread ----------------------------------------------------------

    def _ask_all(self, now: float) -> None:
        """All that are due."""
        try:
            stream, kept = self._next(now)
            while stream is not None and kept is not None:
                why = self._why_no_more(stream, kept)
                if why:
                    self._end(stream, why)
                self._breathe()
                stream, kept = self._next(now)
        finally:  # a rule may even raise what is no Exception, as gevent's Timeout: the next look goes on
            self._is_asking = False

    def _next(self, now: float) -> tuple[Stream | None, Kept | None]:
        """The one that is due first, which comes last from now on."""
        with self._lock:
            for stream, kept in self._kept.items():
                if kept.due > now:
                    break
                del self._kept[stream]
                self._kept[stream] = kept._replace(due=now + self._every)
                return stream, kept
        return None, None

    def _why_no_more(self, stream: Stream, kept: Kept) -> str | None:
        """Why this stream must end; None if it may go on, or if nobody can tell."""
        if stream.state is CLOSED:
            return None
        try:
            environ = {**_REST, **_unpacked(kept.environ), "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr}
            environ.update(again(stream))
            with self._app.request_context(environ):
                # Within the context: Flask keeps one open for its debugger, if an error leaves it.
                try:
                    return self._answer(stream, kept)
                except Exception as error:
                    self._tell(error)
        except Exception as error:  # of what tears the context down
            self._tell(error)
        return None

    def _answer(self, stream: Stream, kept: Kept) -> str | None:
        try:
            # What runs before a request may be what finds its user: flask.g.user, as in Flask's tutorial.
            answer = self._app.preprocess_request()
            if answer is not None:
                return _reason(self._app.make_response(answer).status_code)
            user = self._rules.user()
            if text_of(user) != stream.user_id:
                return "its user is another one now"
            if kept.channels is None:
                self._rules.check_status()
            else:
                self._rules.check(user, kept.channels)
        except ClientError:
            return "its user may not read it any more"
        except HTTPException as error:
            return _reason(error.code)
        return None

    def _tell(self, error: Exception) -> None:
        more = self._quiet.count(type(error).__name__, time.monotonic())
        if more is not None:
            log.error("a stream could not be asked again, and stays open: %r%s", error, more, exc_info=error)


def _packed(environ: Mapping[str, Any]) -> bytes:
    texts = {name: value for name, value in environ.items() if isinstance(value, str)}
    return zlib.compress(json.dumps(texts).encode("ascii"), 1)


def _unpacked(packed: bytes) -> dict[str, str]:
    found: dict[str, str] = json.loads(zlib.decompress(packed))
    return found


def _reason(status: int | None) -> str:
    """Why such an answer ends a stream.

    :raises RuntimeError: it does not.
    """
    if status not in NO:
        raise RuntimeError("the application answers %s" % status)
    return "the application answers %s now" % status
