"""A wrapped stream: an old view's generator as it is.

It sends heartbeats, and makes sure that the client receives the end of the stream.

What is sent beside the generator's own bytes is lines that end in a single line feed, and only where a frame of the
generator has ended: no client reports anything then, not even an empty message. ``wrapped_body.py`` says which clients
get such lines at all.

The generator runs where it always ran, in its request's own greenlet or thread, with whatever context it has.
Heartbeats are written beside it while it sleeps or waits. ``streaming.py`` puts it into the response of a view.
"""

from __future__ import annotations

import threading
from typing import Any, Callable, Iterator

from ..hub.limits import CHECK_AGAIN, WRITE_BYTES, WRITE_TIMEOUT
from ..options import log
from ..sse import encode
from ..transports.client_socket import ClientSocket
from ..transports.client_watch import get_client_watch, unwatch_client
from ..util import forks
from ..util.background import run_in_background
from ..util.threads import greenlets_are_threads, try_acquire
from ..worker.capacity import UNNOTICED
from ..worker.drain import DRAIN_SECONDS
from ..worker.running import RunningWorker
from .responses import CONTENT_TYPE
from .wrapped_body import Additions, BodyBeginning, remove_mark
from .wrapped_warnings import warn_of_encoding, warn_of_html, warn_of_no_events, warn_of_replacement, warn_of_silence

#: The ends of a frame, in the forms of WHATWG HTML 9.2.5.
FRAME_ENDS = (b"\n\n", b"\n\r\n", b"\r\r\n", b"\r\r")


class WrappedGenerator:
    """An old generator as a WSGI iterator, with heartbeats written beside it.

    Two things write to the client: the server, which writes the generator's items, and the heartbeats. A heartbeat may
    be written only while the generator works (``_is_inside``), and only with ``_turn`` held, so they never mix.

    :param source: the body of the view's response.
    :param client: the other end of the connection.
    :param name: of the view, for the log.
    :param additions: what the body may contain beside the generator's items.
    :param content_type: of the response.
    """

    def __init__(
        self,
        source: Any,
        running: RunningWorker,
        client: ClientSocket,
        name: str = "",
        additions: Additions = Additions.OPENING_AT_ONCE,
        content_type: str = CONTENT_TYPE,
    ) -> None:
        self._name = name
        self._additions = additions
        self._content_type = content_type
        #: Whether the body is an event stream; None until its beginning shows this.
        self._is_events: bool | None = None if additions is not Additions.NOTHING else False
        #: None when nothing more is to be found out from the beginning of the body.
        self._beginning: BodyBeginning | None = BodyBeginning()
        self._has_yielded = False
        self.timer_slot: int | None = None
        self.write: Callable[[bytes], Any] | None = None
        self._source = source
        self._items: Iterator[Any] | None = None
        self._running = running
        self._client = client
        self._options = running.options
        self._interrupt: Callable[[], None] = _do_nothing
        self._watched = -1
        self._greenlet: Any = None
        self._turn = threading.Lock()
        self._is_inside = False
        self._is_over = False
        #: When the timer first saw that the stream is over.
        self._ended_at: float | None = None
        self._is_thrown = False
        self._is_disowned = False
        #: The last lines, if the worker ends the stream.
        self._last = b""
        #: What is left of the item that is being sent: a large one is sent in pieces, each in the time for a write.
        self._pieces: Iterator[bytes] = iter(())
        #: The last bytes that were sent.
        self._tail = b""
        self._sent_at = running.timer.clock()
        self._has_server = False
        #: Whether the application encodes what is drawn from here, so that nothing may be written beside it.
        self._is_encoded = False
        #: When the stream ends at the latest, if the server does not say when a client has left.
        self.ends_at = float("inf")

    # -- the server's side -------------------------------------------------

    def use_write(self, write: Callable[[bytes], Any] | None) -> None:
        """Take the server's ``write``; some servers have none."""
        self._has_server = True
        if self._is_encoded:
            return
        self.write = write
        if write is None and self.is_event_stream:
            warn_of_silence("it has no write()")

    def add_nothing(self, content_type: str) -> None:
        """Pass the body on as it is: its type is no longer that of an event stream."""
        self._additions, self._is_events, self._content_type = Additions.NOTHING, False, content_type
        self.ends_at = float("inf")

    def write_nothing(self) -> None:
        """Write nothing beside the items: the application compresses them after they are drawn from here."""
        self._is_encoded = True
        warn_of_encoding(self._name)

    def __iter__(self) -> WrappedGenerator:
        return self

    def __next__(self) -> bytes:
        try:
            data = self._next_bytes()
        except BaseException:
            self.close()
            raise
        if not data:
            self.close()  # some middleware does not pass the server's call on
            raise StopIteration
        return data

    def _next_bytes(self) -> bytes:
        """Return what is sent next; b"" at the end."""
        if self._items is None:
            self._begin_items()
            if self._additions is Additions.OPENING_AT_ONCE:
                return self._note_sent(self._make_opening())
            if self._additions is Additions.OPENING_WITH_EVENT and self.write is not None:
                self.write(b"")  # the headers, by PEP 3333
        while True:
            piece = next(self._pieces, b"")
            if piece:
                piece = piece if self._beginning is None else self._check_beginning(piece)
                if piece:
                    return self._note_sent(piece)
            if self._is_over:
                return self._take_last()
            self._pieces = _split_item(self._draw_item())

    def _make_opening(self) -> bytes:
        return encode.make_retry(self._options.retry, "ssemux")

    def _check_beginning(self, item: bytes) -> bytes:
        """Find out whether the body is an event stream, and return what is sent with this item."""
        assert self._beginning is not None
        if self._may_begin():
            item = remove_mark(item)  # something of ours comes before it
        is_first, self._has_yielded = not self._has_yielded, self._has_yielded or bool(item)
        found = self._beginning.add_item(item)
        if found is None:
            return item
        self._beginning = None
        if self._additions is Additions.NOTHING:
            if found and self._content_type.startswith(("text/html", "text/plain")):
                warn_of_html(self._name, self._content_type)
            return item
        self._is_events = found
        if not found:
            self.ends_at = float("inf")
            warn_of_no_events(self._name)
        with_opening = found and is_first and self._additions is Additions.OPENING_WITH_EVENT
        return self._make_opening() + item if with_opening else item

    def _take_last(self) -> bytes:
        """Return the last lines once, if they can follow what was sent, and the client may come back."""
        last, self._last = self._last, b""
        return last if self._is_between_frames() and self._additions is not Additions.HEARTBEATS else b""

    def close(self) -> None:
        """The server is done with the response (PEP 3333): close the generator, so that its ``finally`` runs."""
        if self._is_disowned:
            return
        self._is_over = True
        self._running.streams.remove_wrapped(self)
        watched, self._watched = self._watched, -1
        unwatch_client(watched)
        self._client.close()
        source, self._source = self._source, ()
        if hasattr(source, "close"):
            source.close()

    def disown(self) -> None:
        """In a forked child: the generator is the parent's. Under gevent it goes on here after its wait, but only to
        its next item."""
        self._is_over = self._is_thrown = self._is_disowned = True
        self._interrupt = _do_nothing
        self.write = None
        self._watched = -1
        self._client.disown()

    def _begin_items(self) -> None:
        self._items = iter(self._source)
        if greenlets_are_threads():
            from gevent import get_hub, getcurrent

            gevent_hub, greenlet = get_hub(), getcurrent()
            self._greenlet = greenlet
            self._watched = get_client_watch().add_client(self._client.file, self)
            self._interrupt = lambda: gevent_hub.loop.run_callback(self._throw_exit, greenlet)
        self._client.watch_departure(self)
        self._running.streams.add_wrapped(self, min(self._sent_at + self._options.heartbeat / 4, self.ends_at))
        if not self._has_server and self.is_event_stream:
            warn_of_replacement(self._name)

    def _draw_item(self) -> bytes:
        """Return the generator's next item; b"" if it has ended."""
        self._is_inside = True
        try:
            return _encode_item(self._next_item())
        except StopIteration:
            self._is_over = True
        except GeneratorExit:  # thrown by ``_throw_exit``, or raised by the generator itself
            self._is_over = True
        except Exception:
            self._is_over = True
            if not self._may_add():  # the server answers 500, or cuts the body, so that its end is not taken for whole
                raise
            log.exception("the generator of a wrapped stream raised; the stream ends")
        finally:
            self._is_inside = False
            self._sent_at = self._running.timer.clock()
            self.await_heartbeat()
        return b""

    def _next_item(self) -> Any:
        assert self._items is not None
        born = forks.generation
        try:
            return next(self._items)
        finally:
            forks.halt_copy(born)

    def _may_add(self) -> bool:
        """Return whether the body may contain something of ours now."""
        return bool(self._is_events) or self._may_begin()

    def _may_begin(self) -> bool:
        """Return whether something of ours may be the first in the body."""
        return not self._has_yielded and self._additions in (Additions.OPENING_AT_ONCE, Additions.OPENING_WITH_EVENT)

    def _is_between_frames(self) -> bool:
        return self._may_begin() or self._tail.endswith(FRAME_ENDS)

    def _note_sent(self, data: bytes) -> bytes:
        self._tail = (self._tail + data)[-4:]
        self._sent_at = self._running.timer.clock()
        return data

    # -- the timer's side --------------------------------------------------

    @property
    def sent_at(self) -> float:
        return self._sent_at

    @property
    def is_event_stream(self) -> bool:
        return self._is_events is not False

    def run_due_work(self, now: float) -> float | None:
        """Send a heartbeat if one is due, end a write that hangs, and return when to call this again."""
        if self._is_over or self._client.has_client_left():
            return self._await_close(now)
        if now >= self.ends_at:
            self.end_cleanly(self._running.hub.make_last_frame(UNNOTICED))
        due = self._sent_at + self._options.heartbeat
        if now < due:
            return min(due, self.ends_at)
        if self._is_inside and not self._may_add():
            return now + self._options.heartbeat
        if self._is_inside and try_acquire(self._turn):
            try:
                run_in_background("ssemux-beat", self._write_heartbeat)
            except BaseException:  # no thread can be started, for example
                self._turn.release()
                raise
            return min(now + self._options.heartbeat, max(self.ends_at, now))
        if now >= self._sent_at + self._options.heartbeat + WRITE_TIMEOUT:
            self._client.cut_connection()
            return self._await_close(now)
        return now + min(self._options.heartbeat, WRITE_TIMEOUT) / 4

    def _await_close(self, now: float) -> float:
        """The stream is over: its server should notice this and close it; if the server does not, close it here.

        A generator that works cannot be closed by others. A client that has not left gets ``DRAIN_SECONDS`` to read
        what its server still writes, the end included.
        """
        self._end_items()
        if self._ended_at is None:
            self._ended_at = now
        elif not self._is_inside and (now >= self._ended_at + DRAIN_SECONDS or self._client.has_client_left()):
            self._client.cut_connection()
            run_in_background("ssemux-end", self.close)
        return now + CHECK_AGAIN

    def await_heartbeat(self) -> None:
        """Wait until a heartbeat that is being written is written."""
        with self._turn:
            pass

    def end_cleanly(self, last: bytes) -> None:
        """End the stream with these last lines, if they can be sent there.

        A body that is no event stream goes on to its own end, as the response of any other view: its client would take
        what it has for the whole.
        """
        if not self.is_event_stream:
            return
        self._last = last
        self._end_items()

    def abort(self, reason: str = "") -> None:
        """End the stream at once.

        :param reason: not used here; the timer gives one to every stream that it ends.
        """
        self._client.cut_connection()
        self._end_items()

    def handle_departure(self) -> None:
        self._end_items()

    def _end_items(self) -> None:
        self._is_over = True
        self._interrupt()

    def _throw_exit(self, greenlet: Any) -> None:
        """Called in gevent's hub: end the generator where it sleeps, as ``close`` would end it where it yields."""
        if self._is_inside and not self._is_thrown:  # once, since its clean-up may wait too
            self._is_thrown = True
            greenlet.throw(GeneratorExit)

    def _write_heartbeat(self) -> None:
        """Called with the turn taken by ``run_due_work``, and gives the turn back."""
        try:
            heartbeat = self._make_heartbeat()
            if heartbeat and self._is_inside and self.write is not None:
                _act_for(self._greenlet)
                self.write(heartbeat)
                self._sent_at = self._running.timer.clock()
        except OSError:
            self._end_items()
        except SystemError as error:  # uWSGI's, whose write() works in the request's own thread only
            self.write = None
            warn_of_silence(str(error))
        except Exception as error:  # waitress's, which is not an OSError
            log.debug("the client of a wrapped stream left: %s", error)
            self._end_items()
        finally:
            self._turn.release()

    def _make_heartbeat(self) -> bytes:
        """Return the heartbeat; b"" if there can be none at this place in the generator's bytes."""
        if not self._is_between_frames():
            return b""
        event = None if self._additions is Additions.HEARTBEATS else self._options.heartbeat_event
        return encode.make_heartbeat(event, has_empty_line=False)


def _encode_item(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode("utf-8")
    if not isinstance(item, bytes):
        raise TypeError(
            "the generator of a wrapped stream yields text or bytes, not a value of type %s: make text of it first, "
            "for an event with 'data: %%s\\n\\n' %% json.dumps(...)" % type(item).__name__
        )
    return item


def _split_item(item: bytes) -> Iterator[bytes]:
    if len(item) <= WRITE_BYTES:
        return iter((item,))
    return (item[start : start + WRITE_BYTES] for start in range(0, len(item), WRITE_BYTES))


def _act_for(greenlet: Any) -> None:
    """uWSGI finds the request that ``write`` belongs to by the current greenlet; name the generator's request here."""
    request = getattr(greenlet, "uwsgi_wsgi_req", None)
    if request is not None:
        from gevent import getcurrent

        getcurrent().uwsgi_wsgi_req = request


def _do_nothing() -> None:
    """In threads, a generator that sleeps cannot be interrupted."""
