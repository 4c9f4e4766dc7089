"""What a client of ``flask_ssemux.testing`` brings along in its request's WSGI environment.

Who it is, and a clock. Servers put text there, whatever a client sends; this is an object, so it comes from within
the process or not at all. Nothing here but how it is found.
"""

from __future__ import annotations

import weakref
from typing import Any, Callable, Mapping

from .stream import Stream

#: Where it is in the environment.
KEY = "flask_ssemux.test_request"


class RequestOverride:
    """A request that was made in this process.

    :param clock: of the application's streams.
    :param who: its user, in place of what ``identify`` says: a tuple of one; an empty one where ``identify`` is asked.
    """

    def __init__(self, clock: Callable[[], float], who: tuple[()] | tuple[Any]) -> None:
        self.clock = clock
        self.who = who
        #: Weak, since a strong one would keep the stream's entry in ``_visits`` for ever.
        self._stream: weakref.ref[Stream] | None = None

    @property
    def stream(self) -> Stream | None:
        """Its stream, once it is open."""
        return None if self._stream is None else self._stream()

    def opened(self, stream: Stream) -> None:
        self._stream = weakref.ref(stream)
        _visits[stream] = self

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> RequestOverride | None:
        """The visit that this request is, or None."""
        found = environ.get(KEY)
        return found if isinstance(found, cls) else None


def again(stream: Stream) -> dict[str, RequestOverride]:
    """For the environment of whoever asks again who reads this stream: what its own had."""
    visit = _visits.get(stream)
    return {} if visit is None else {KEY: visit}


_visits: weakref.WeakKeyDictionary[Stream, RequestOverride] = weakref.WeakKeyDictionary()
