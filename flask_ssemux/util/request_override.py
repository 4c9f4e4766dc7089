"""The user and the clock that ``flask_ssemux.testing`` passes to the application in a request's WSGI environment.

Servers put only text there, whatever a client sends. This is an object, so it can only come from the same process.
Only the object, and how it is found again; what is done with it is decided by the callers.
"""

from __future__ import annotations

import weakref
from typing import Any, Callable, Mapping

#: Where the object is in the environment.
ENVIRON_KEY = "flask_ssemux.test_request"


class RequestOverride:
    """What a test sets for one request.

    :param clock: the clock of the application's streams.
    :param user: a tuple with the user, which replaces what ``identify`` returns; an empty tuple if ``identify`` is
        called.
    """

    def __init__(self, clock: Callable[[], float], user: tuple[()] | tuple[Any]) -> None:
        self.clock = clock
        self.user = user
        #: Weak: a strong reference would keep the stream's entry in ``_overrides`` until the process ends.
        self._stream: weakref.ref[Any] | None = None

    @property
    def stream(self) -> Any:
        """The stream that the request opened; None if it has opened none yet."""
        return None if self._stream is None else self._stream()

    def set_stream(self, stream: Any) -> None:
        """Remember which stream the request opened."""
        self._stream = weakref.ref(stream)
        _overrides[stream] = self


def find_override(environ: Mapping[str, Any]) -> RequestOverride | None:
    """Return the override in a WSGI environment, or None."""
    found = environ.get(ENVIRON_KEY)
    return found if isinstance(found, RequestOverride) else None


def repeat_override(stream: object) -> dict[str, RequestOverride]:
    """Return what belongs into the environment of a request that asks again who reads this stream."""
    override = _overrides.get(stream)
    return {} if override is None else {ENVIRON_KEY: override}


_overrides: weakref.WeakKeyDictionary[object, RequestOverride] = weakref.WeakKeyDictionary()
