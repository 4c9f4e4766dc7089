"""The opening frames of a stream: retry, hello, reset, snapshots and latest events; then its replay, page by page.

A page of the replay is read when the client has taken the page before, and when there is room for it. A stream joins
its channels in ``subscriptions.py``, and the history is read in ``replay.py``. No sockets, no Flask.
"""

from __future__ import annotations

import functools
import random
from typing import Callable, Iterable, Iterator, NamedTuple, Sequence

from ..brokers import Range, Record
from ..errors import BrokerUnavailable
from ..options import Options
from ..sse import encode
from ..sse.cursor import Cursor
from ..sse.trace_mark import remove_traceparent
from .allowance import Share
from .replay import COPIES, Page, Replay
from .resume import ResetReason, ResumePoint
from .stream import Stream

#: Makes the first events of new subscriptions: bodies, for these channels.
Snapshots = Callable[[Sequence[str]], Iterable[bytes]]

#: How many different values of ``retry`` the streams of a worker have.
RETRY_STEPS = 101

#: The maximum number of seconds between two heartbeats of a stream that waits for its next page.
WAIT_HEARTBEAT = 1.0


class Joined(NamedTuple):
    """A stream that has joined its channels.

    :param head: all events after this cursor come live.
    :param resume: where its client resumes from.
    :param new_channels: channels that a client with a cursor has not read before.
    :param latest: the latest events of its channels, as of the head.
    """

    stream: Stream
    head: Cursor
    resume: ResumePoint
    new_channels: Sequence[str]
    latest: Sequence[Record]


def open_pages(replay: Replay, options: Options, joined: Joined, snapshots: Snapshots | None = None) -> Iterator[bytes]:
    """Return what one stream sends before its first live event. Each page is made when the client takes it.

    :param snapshots: makes the first events of channels that are new, or lost, to the client.
    :raises BrokerUnavailable: what the client missed cannot be read.
    """
    if joined.resume.cursor is None:
        lost = joined.stream.channels if joined.resume.reset else ()
        return iter((_add_second_frame(_make_frames(options, joined, joined.head, lost, snapshots)),))
    return _ReplayPages(replay, options, joined, snapshots).start_pages()


def _make_frames(
    options: Options, joined: Joined, start: Cursor, lost: Sequence[str], snapshots: Snapshots | None
) -> bytes:
    """Return the frames before the events that the client missed.

    :param start: the cursor at which the client then is.
    :param lost: the channels whose missed events are lost.
    """
    channels, resume = joined.stream.channels, joined.resume
    if resume.cursor is not None:
        channels = tuple(name for name in channels if name in lost or name in joined.new_channels)
    first = list(snapshots(channels)) if snapshots is not None and channels else []
    first += [remove_traceparent(record.body) for record in joined.latest if record.channel in channels]
    reset = make_reset(lost, resume.reset or ResetReason.HISTORY) if lost else b""
    # No empty line before the first frame's end: some clients report an empty message for it.
    return _make_retry(options.retry, random.randrange(RETRY_STEPS)) + reset + _make_hello(options, start, first)


def _add_second_frame(frames: bytes) -> bytes:
    """Return the opening frames with the beginning of another one, if there is only one."""
    return frames + encode.OPENED if encode.count_frames(frames) == 1 else frames


class _ReplayPages:
    """The pages of a client that comes back with a cursor."""

    def __init__(self, replay: Replay, options: Options, joined: Joined, snapshots: Snapshots | None) -> None:
        self._replay = replay
        self._options = options
        self._stream = joined.stream
        self._joined = joined
        self._share: Share | None = None
        self._page = Page(b"", [], {})
        try:
            self._frames = self._begin(snapshots)
        except BaseException:
            self._give_back_share()
            raise

    def start_pages(self) -> Iterator[bytes]:
        """Return the pages. Closing them gives back what they hold, even before the first one is drawn."""
        pages = self._make_pages()
        next(pages)
        return pages

    def _begin(self, snapshots: Snapshots | None) -> bytes:
        """Read the first page, if there is room for it now, and return the frames before it."""
        _, head, resume, new_channels, _ = self._joined
        assert resume.cursor is not None
        missed = Range(resume.cursor.sequence, head.sequence)
        lost = self._begin_replay(
            dict.fromkeys((name for name in self._stream.channels if name not in new_channels), missed)
        )
        # If there is nothing to replay, the client is up to date, and its cursor moves on to the head.
        start = resume.cursor if self._page.data or self._page.left else head
        return _make_frames(self._options, self._joined, start, lost, snapshots)

    def _make_pages(self) -> Iterator[bytes]:
        """Yield pages of bytes, which are drawn one at a time when the client takes them."""
        try:
            yield b""
            frames, page = self._take_frames(), self._take_page()
            yield frames + page if page else _add_second_frame(frames)
            while self._page.left:
                yield from self._wait_for_room()
                if self._stream.is_over:  # it was cut off meanwhile
                    return
                self._page = self._read_page(self._page.left)
                yield self._take_page()
        except BrokerUnavailable as error:
            self._stream.abort("its replay could not be read: %s" % error)
        finally:
            self._give_back_share()

    def _begin_replay(self, ranges: dict[str, Range]) -> list[str]:
        """Read the first page, if there is room for it now. Return the channels whose missed events are lost."""
        lost = self._replay.find_lost(ranges, self._joined.head.epoch)
        page = Page(b"", [], {name: bounds for name, bounds in ranges.items() if name not in lost})
        self._share = self._replay.allowance.request_now(self._replay.page_bytes, self._cut_client)
        while self._share is not None and page.left and not page.data:
            page = self._read_page(page.left)
            if not page.data:
                lost += page.missing
                page = page._replace(missing=[])
        self._page = page
        if not page.data:
            self._give_back_share()
        return [channel for channel in self._stream.channels if channel in lost]

    def _wait_for_room(self) -> Iterator[bytes]:
        """Wait for room for the next page, and yield heartbeats meanwhile."""
        self._give_back_share()
        self._stream.wait_for_room()  # no page is made for a client that reads nothing
        self._share = share = self._replay.allowance.request(self._replay.page_bytes, self._cut_client)
        while not share.wait(min(WAIT_HEARTBEAT, self._options.heartbeat / 2)):
            yield make_heartbeat(self._options)

    def _read_page(self, ranges: dict[str, Range]) -> Page:
        page = self._replay.read_page(ranges, self._joined.head.epoch)
        if self._share is not None:
            self._share.resize(max(1, COPIES * len(page.data)))
        return page

    def _cut_client(self) -> None:
        self._stream.abort("its client takes its replay too slowly, and others wait (SSEMUX_REPLAY_BYTES)")

    def _give_back_share(self) -> None:
        share, self._share = self._share, None
        if share is not None:
            share.give_back()

    def _take_frames(self) -> bytes:
        frames, self._frames = self._frames, b""
        return frames

    def _take_page(self) -> bytes:
        """Return the frames of the page, then a reset and the latest events of channels that lost events after it."""
        data, missing, left = self._page
        self._page = Page(b"", [], left)
        if missing:
            data += make_reset(missing, ResetReason.HISTORY) + b"".join(self._list_latest(missing))
        return data

    def _list_latest(self, channels: Sequence[str]) -> list[bytes]:
        return [remove_traceparent(record.body) for record in self._joined.latest if record.channel in channels]


def _make_hello(options: Options, start: Cursor, first: list[bytes]) -> bytes:
    """Return the hello, then the snapshots and the latest events.

    The cursor comes with the last of them, so that a client that is cut off in between gets them again.
    """
    *frames, last = [_make_hello_body(options.heartbeat, options.client_timeout), *first]
    return b"".join([*frames, encode.make_frame(last, "%s-%d" % start)])


@functools.lru_cache(maxsize=8)
def _make_hello_body(heartbeat: float, client_timeout: float) -> bytes:
    return encode.make_own_frame("hello", {"heartbeat": heartbeat, "timeout": client_timeout})


@functools.lru_cache(maxsize=4 * RETRY_STEPS)
def _make_retry(milliseconds: int, step: int) -> bytes:
    """Return the ``retry`` of one stream, one of ``RETRY_STEPS`` values within ±50 %.

    The clients of a worker that is killed all lose their streams at the same moment, and nobody tells them when to
    come back.
    """
    return encode.make_retry(max(1, milliseconds // 2 + milliseconds * step // (RETRY_STEPS - 1)), "ssemux")


def make_heartbeat(options: Options) -> bytes:
    """Return what ends a silence, in the form that the application has chosen."""
    return encode.make_heartbeat(options.heartbeat_event, options.heartbeat_form == "frame")


def make_reset(channels: Sequence[str], reason: ResetReason, cursor: Cursor | None = None) -> bytes:
    """Return the frame ``ssemux.reset``: the client has lost events of these channels."""
    return encode.make_own_frame("reset", {"channels": list(channels), "reason": reason.value}, cursor)
