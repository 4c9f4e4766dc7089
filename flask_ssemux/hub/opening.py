"""The opening of a stream: what it says before anything live, and what its client missed, page by page.

First what the client lost, who it is, and what is new; then its replay. A page is read when the client has taken the
one before, and there is room for it. Joining is the mux's; reading history is ``replay.py``'s. No sockets, no Flask.
"""

from __future__ import annotations

from typing import Callable, Iterable, Iterator, NamedTuple, Sequence

from ..brokers import Range, Record
from ..errors import BrokerUnavailable
from ..options import Options
from ..sse import encode
from ..sse.cursor import Cursor
from .replay import COPIES, Page, Replay
from .replay_turns import Share
from .stream import Stream

#: Makes the first events of new subscriptions: bodies, for these channels.
Snapshots = Callable[[Sequence[str]], Iterable[bytes]]

#: Seconds between two heartbeats of a stream that waits for its next page, at most.
WAIT_BEAT = 1.0


class Joined(NamedTuple):
    """How a stream joined its channels.

    :param head: all events after this place come live.
    :param seen: what its client says it saw last.
    :param void: why that is of no use; "" if it is, or if there is none.
    :param new: channels that are new to a client which has seen others.
    :param latest: the latest events of its channels, as of the head.
    """

    head: Cursor
    seen: Cursor | str | None
    void: str
    new: Sequence[str]
    latest: Sequence[Record]


class Opening:
    """The opening of one stream.

    :param snapshots: first events of channels that are new, or lost, to the client.
    :raises BrokerUnavailable: what the client missed cannot be read.
    """

    def __init__(self, replay: Replay, options: Options, stream: Stream, joined: Joined, snapshots: Snapshots) -> None:
        self._replay = replay
        self._options = options
        self._stream = stream
        self._joined = joined
        self._share: Share | None = None
        self._page = Page(b"", [], {})
        try:
            self._frames = self._make_frames(joined, snapshots)
        except BaseException:
            self._give_back()
            raise

    def begin(self) -> Iterator[bytes]:
        """What goes out, begun: from here on, whoever closes it gives back what it holds."""
        pages = self._pages()
        next(pages)
        return pages

    def _make_frames(self, joined: Joined, snapshots: Snapshots) -> bytes:
        """The frames before anything that the client missed."""
        head, seen, void, new, _ = joined
        stream, options = self._stream, self._options
        start, lost = head, list(stream.channels if void else ())
        if isinstance(seen, Cursor) and not void:
            missed = Range(seen.sequence, head.sequence)
            lost = self._begin_replay(dict.fromkeys((name for name in stream.channels if name not in new), missed))
            # With nothing to replay the client is up to date: its cursor moves on to the head.
            start = seen if self._page.data or self._page.left else head
        fresh = [channel for channel in stream.channels if seen is None or channel in lost or channel in new]
        parts = [encode.retry(options.retry, "ssemux")]
        parts += [reset(lost, void or "history")] if lost else []
        parts += _hello(options, start, list(snapshots(fresh)) + self._latest_of(fresh) if fresh else [])
        return b"".join(parts)

    def _pages(self) -> Iterator[bytes]:
        """Pages of bytes, drawn one at a time as the client takes them."""
        try:
            yield b""
            yield self._take_frames() + self._take_page()
            while self._page.left:
                yield from self._wait()
                if self._stream.is_over:  # it was cut off meanwhile
                    return
                self._page = self._read(self._page.left)
                yield self._take_page()
        except BrokerUnavailable as error:
            self._stream.abort("its replay could not be read: %s" % error)
        finally:
            self._give_back()

    def _begin_replay(self, ranges: dict[str, Range]) -> list[str]:
        """Read the first page, if there is room for it now; the channels whose past is lost to this client."""
        lost = self._replay.find_lost(ranges, self._joined.head.epoch)
        page = Page(b"", [], {name: places for name, places in ranges.items() if name not in lost})
        self._share = self._replay.allowance.ask_now(self._replay.page_bytes, self._cut)
        while self._share is not None and page.left and not page.data:
            page = self._read(page.left)
            if not page.data:
                lost += page.missing
                page = page._replace(missing=[])
        self._page = page
        if not page.data:
            self._give_back()
        return [channel for channel in self._stream.channels if channel in lost]

    def _wait(self) -> Iterator[bytes]:
        """Wait for room for the next page; heartbeats meanwhile."""
        self._give_back()
        self._stream.wait_for_room()  # no page is made for a client that reads nothing
        self._share = share = self._replay.allowance.ask(self._replay.page_bytes, self._cut)
        while not share.wait(min(WAIT_BEAT, self._options.heartbeat / 2)):
            yield encode.heartbeat(self._options.heartbeat_event)

    def _read(self, ranges: dict[str, Range]) -> Page:
        page = self._replay.read(ranges, self._joined.head.epoch)
        if self._share is not None:
            self._share.settle(max(1, COPIES * len(page.data)))
        return page

    def _cut(self) -> None:
        self._stream.abort("its client takes its replay too slowly, and others wait (SSEMUX_REPLAY_BYTES)")

    def _give_back(self) -> None:
        """The client has taken its page."""
        share, self._share = self._share, None
        if share is not None:
            share.give_back()

    def _take_frames(self) -> bytes:
        frames, self._frames = self._frames, b""
        return frames

    def _take_page(self) -> bytes:
        """The frames of the page; then, for channels whose next events are over a limit, their reset and latest."""
        data, missing, left = self._page
        self._page = Page(b"", [], left)
        return data + (reset(missing, "history") + b"".join(self._latest_of(missing)) if missing else b"")

    def _latest_of(self, channels: Sequence[str]) -> list[bytes]:
        return [record.body for record in self._joined.latest if record.channel in channels]


def _hello(options: Options, start: Cursor, first: list[bytes]) -> Iterator[bytes]:
    """The hello, then the snapshots and the latest events. The cursor comes with the last of them, so that a client
    that is cut off in between gets them again."""
    told = {"heartbeat": options.heartbeat, "timeout": options.client_timeout}
    yield encode.own_frame("hello", told, None if first else start)
    yield from first[:-1]
    yield from (encode.frame(body, str(start)) for body in first[-1:])


def reset(channels: Sequence[str], reason: str, cursor: Cursor | None = None) -> bytes:
    """``ssemux.reset``: these channels' past is lost to the client, and why.

    :param reason: ``history`` (it no longer reaches back), ``epoch`` (it began anew),
        ``future`` (the cursor is ahead of it), ``unknown`` (the cursor is none of ours).
    """
    return encode.own_frame("reset", {"channels": list(channels), "reason": reason}, cursor)
