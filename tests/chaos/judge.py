"""The judge: which promises are broken, given what was published and what each client saw.

Pure: lists in, faults out. It uses no sockets, no clock, no randomness, and nothing of flask_ssemux, whose work it
judges. All times are seconds on one clock, no matter which.

What is promised to a client, from its first hello on:

* each accepted event of its channels comes once, in the order of the cursors, with the data that was published;
* an event whose publishing failed comes once or not at all;
* no event of another channel comes, and none that was not published;
* `ssemux.reset` comes only if the history was really lost: its epoch is a later one, and there are no more epochs than
  the stores that were lost account for. It excuses the events that were published to its channels before it came.
"""

from __future__ import annotations

import json
from typing import Iterable, NamedTuple, Sequence

LOST, DOUBLE, DISORDER, STRANGE, RESET, EPOCH, SILENT = (
    "lost", "double", "disorder", "strange", "reset", "epoch", "silent",
)  # fmt: skip

#: Lost events of one client that are reported individually.
MAX_REPORTED = 5


class Event(NamedTuple):
    """What an actor tried to publish. Payloads are unique."""

    channel: str
    payload: str
    cursor: str | None
    """None if the event was not accepted, as far as its publisher knows."""
    started: float
    """When its publisher began to send it: nothing of it can be older."""


class Seen(NamedTuple):
    """An event as a client received it."""

    name: str
    id: str | None
    """The id of its own frame, if any."""
    data: str
    at: float


class Story(NamedTuple):
    """All that one client received, over all its connections."""

    who: str
    channels: frozenset[str]
    seen: Sequence[Seen]
    stayed: bool
    """Whether the client was there at the end. A client that left must have everything up to its last id."""


class Fault(NamedTuple):
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind.upper()}: {self.text}"


class Cursor(NamedTuple):
    epoch: str
    sequence: int


def parse_cursor(cursor: str) -> Cursor:
    epoch, _, sequence = cursor.rpartition("-")
    return Cursor(epoch, int(sequence))


def judge(published: Iterable[Event], stories: Iterable[Story], epoch_count: int = 1) -> list[Fault]:
    """Return all faults.

    :param epoch_count: how many epochs the history had: one, and one more for each time that its store was lost.
    """
    ledger = Ledger(published)
    readers = [Reader(story, ledger, epoch_count) for story in stories]
    faults = ledger.faults + [fault for reader in readers for fault in reader.faults]
    epochs = ledger.epochs.union(*(reader.epochs for reader in readers))
    if len(epochs) > epoch_count:
        faults.append(Fault(EPOCH, f"the history had {epoch_count} epochs, but these were seen: {sorted(epochs)}"))
    return faults


class Ledger:
    """What was published, by cursor and by payload."""

    def __init__(self, published: Iterable[Event]) -> None:
        self.accepted: dict[str, Event] = {}
        self.by_payload: dict[str, Event] = {}
        self.faults: list[Fault] = []
        for event in published:
            assert event.payload not in self.by_payload, f"a payload was published twice: {event}"
            self.by_payload[event.payload] = event
            if event.cursor is not None:
                self._accept(event, event.cursor)
        self.epochs = {parse_cursor(cursor).epoch for cursor in self.accepted}

    def _accept(self, event: Event, cursor: str) -> None:
        other = self.accepted.setdefault(cursor, event)
        if other is not event:
            text = f"two events were accepted as {cursor}: {brief(other)} and {brief(event)}"
            self.faults.append(Fault(DOUBLE, text))


class Reader:
    """Walks through one client's story."""

    def __init__(self, story: Story, ledger: Ledger, epoch_count: int) -> None:
        self.story, self.ledger, self.epoch_count = story, ledger, epoch_count
        self.faults: list[Fault] = []
        self.epochs: set[str] = set()
        self.first: Seen | None = None
        self._cursor: Cursor | None = None
        self._reset: Seen | None = None
        self._resets: list[tuple[float, set[str]]] = []
        self._ids: set[str] = set()
        self._payloads: set[str] = set()
        for number, seen in enumerate(story.seen):
            self._walk(number, seen)
        self._look_for_losses()

    def _walk(self, number: int, seen: Seen) -> None:
        if seen.name == "ssemux.reset":
            self._take_reset(number, seen)
        if not seen.name.startswith("ssemux."):
            self._take_event(number, seen)
        if seen.id is not None:
            self._move(number, seen, parse_cursor(seen.id))
        if self.first is None and seen.name == "ssemux.hello" and seen.id is not None:
            self.first = seen

    def _take_reset(self, number: int, seen: Seen) -> None:
        self._reset = seen
        self._resets.append((seen.at, set(json.loads(seen.data)["channels"])))
        if self.epoch_count == 1 or self._cursor is None:
            self._fault(RESET, number, f"a reset, where no history was lost: {seen.data}")

    def _move(self, number: int, seen: Seen, cursor: Cursor) -> None:
        before, reset = self._cursor, self._reset
        if before is not None and cursor.epoch != before.epoch:
            if reset is None:
                self._fault(EPOCH, number, f"the epoch changes from {before.epoch} without a reset")
            if cursor.epoch in self.epochs:
                self._fault(EPOCH, number, f"the old epoch {cursor.epoch} comes back")
        elif before is not None:
            if reset is not None and self.epoch_count > 1:
                self._fault(RESET, number, f"a reset, and the history continues in the same epoch: {reset.data}")
            own = seen.name.startswith("ssemux.")
            if cursor.sequence < before.sequence or (cursor.sequence == before.sequence and not own):
                self._fault(DISORDER, number, f"{seen.id} comes after {before.epoch}-{before.sequence}")
        self._cursor, self._reset = cursor, None
        self.epochs.add(cursor.epoch)

    def _take_event(self, number: int, seen: Seen) -> None:
        event = self.ledger.by_payload.get(seen.data)
        if seen.id is None:
            self._fault(STRANGE, number, f"an event without an id: {seen.data[:80]!r}")
        elif event is None:
            self._fault(STRANGE, number, f"{seen.id} was published by nobody: {seen.data[:80]!r}")
        elif event.channel not in self.story.channels:
            self._fault(STRANGE, number, f"{seen.id} is of {event.channel!r}, a channel that this client does not read")
        elif event.cursor not in (None, seen.id):
            self._fault(STRANGE, number, f"{brief(event)} comes as {seen.id}")
        if seen.id in self._ids or seen.data in self._payloads:
            self._fault(DOUBLE, number, f"{seen.id} comes a second time: {seen.data[:80]!r}")
        self._ids.add(seen.id or "")
        self._payloads.add(seen.data)

    def _look_for_losses(self) -> None:
        if self.first is None:
            if self.story.stayed:
                self.faults.append(Fault(SILENT, f"{self.story.who}: it never got a hello"))
            return
        due = [event for event in self.ledger.accepted.values() if self._is_due(event)]
        lost = [event for event in due if event.cursor not in self._ids]
        if lost:
            reported = "\n    ".join(self._describe_loss(event) for event in lost[:MAX_REPORTED])
            text = f"{self._name()}: {len(lost)} of {len(due)} events never came:\n    {reported}"
            self.faults.append(Fault(LOST, text))

    def _is_due(self, event: Event) -> bool:
        if event.channel not in self.story.channels or not self._is_after_first(event):
            return False
        if any(event.started < at and event.channel in channels for at, channels in self._resets):
            return False
        cursor, last = parse_cursor(event.cursor or ""), self._cursor
        return self.story.stayed or (last is not None and cursor.epoch == last.epoch and cursor <= last)

    def _is_after_first(self, event: Event) -> bool:
        """Compare cursors within the first hello's epoch; in another epoch only the time can tell."""
        assert self.first is not None and self.first.id is not None
        first, cursor = parse_cursor(self.first.id), parse_cursor(event.cursor or "")
        return cursor > first if cursor.epoch == first.epoch else event.started > self.first.at

    def _describe_loss(self, event: Event) -> str:
        cursor = parse_cursor(event.cursor or "")
        later = (
            number
            for number, seen in enumerate(self.story.seen)
            if seen.id is not None and parse_cursor(seen.id).epoch == cursor.epoch and parse_cursor(seen.id) > cursor
        )
        number = next(later, len(self.story.seen))
        return f"{brief(event)}; it saw {self._around(number)}"

    def _fault(self, kind: str, number: int, text: str) -> None:
        self.faults.append(Fault(kind, f"{self._name()}: {text}; it saw {self._around(number)}"))

    def _around(self, number: int) -> str:
        part = self.story.seen[max(0, number - 4) : number + 3]
        return ", ".join(f"{seen.id or '-'} {seen.name}@{seen.at:.2f}" for seen in part) or "nothing"

    def _name(self) -> str:
        return f"{self.story.who} ({', '.join(sorted(self.story.channels))})"


def brief(event: Event) -> str:
    return f"{event.cursor} on {event.channel} ({event.payload[:24]!r}, begun at {event.started:.2f})"
