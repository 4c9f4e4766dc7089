"""What a client of ``flask_ssemux.testing`` brings along in its request's WSGI environment.

Who it is, and a clock. Servers put text there, whatever a client sends; this is an object, so it comes from within
the process or not at all. Nothing else than finding it.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping

from .stream import Stream

#: Where it is in the environment.
KEY = "flask_ssemux.visit"


class Visit:
    """A request that was made in this process.

    :param clock: of the application's streams.
    :param who: its user, in place of what ``identify`` says: a tuple of one; an empty one where ``identify`` is asked.
    """

    def __init__(self, clock: Callable[[], float], who: tuple[()] | tuple[Any]) -> None:
        self.clock = clock
        self.who = who
        #: Its stream, once it is open.
        self.stream: Stream | None = None

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> Visit | None:
        """The visit that this request is, or None."""
        found = environ.get(KEY)
        return found if isinstance(found, cls) else None
