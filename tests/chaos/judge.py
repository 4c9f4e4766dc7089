"""The judge: what was published, what each client saw, and which promises that breaks.

Pure: lists in, faults out. No sockets, no clock, no randomness, and nothing of flask_ssemux, whose work it judges.
Times are seconds on one clock, whichever.

What is promised to a client, from its first hello on:

* each accepted event of its channels comes once, in the order of the cursors, as it was published;
* an event whose publishing failed comes once or not at all;
* nothing comes of another channel, and nothing that nobody published;
* `ssemux.reset` comes only where the history was really lost: its life, the epoch, is another one after it, and there
  are no more lives than stores that were lost. It excuses what was published to its channels before it came.
"""

from __future__ import annotations

import json
from typing import Iterable, NamedTuple, Sequence

LOST, DOUBLE, DISORDER, STRANGE, RESET, LIFE, SILENT = (
    "lost", "double", "disorder", "strange", "reset", "life", "silent",
)  # fmt: skip

#: Lost events of one client that are told one by one.
TOLD = 5


class Event(NamedTuple):
    """What somebody tried to publish. Payloads are unique."""

    channel: str
    payload: str
    cursor: str | None
    """None: it was not accepted, as far as its publisher knows."""
    started: float
    """When its publisher began, so that nothing of it can be older."""


class Seen(NamedTuple):
    """An event as a client got it."""

    name: str
    id: str | None
    """The id that it carries itself."""
    data: str
    at: float


class Story(NamedTuple):
    """All that one client saw, over all its connections."""

    who: str
    channels: frozenset[str]
    seen: Sequence[Seen]
    stayed: bool
    """Whether it was there at the end. Who left must have everything up to its last id."""


class Fault(NamedTuple):
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind.upper()}: {self.text}"


class Place(NamedTuple):
    epoch: str
    sequence: int


def place_of(cursor: str) -> Place:
    epoch, _, sequence = cursor.rpartition("-")
    return Place(epoch, int(sequence))


def judge(published: Iterable[Event], stories: Iterable[Story], lives: int = 1) -> list[Fault]:
    """All that went wrong.

    :param lives: how many lives the history had: one, and one more for each time that its store was lost.
    """
    ledger = Ledger(published)
    readers = [Reader(story, ledger, lives) for story in stories]
    faults = ledger.faults + [fault for reader in readers for fault in reader.faults]
    epochs = ledger.epochs.union(*(reader.epochs for reader in readers))
    if len(epochs) > lives:
        faults.append(Fault(LIFE, f"the history had {lives} lives, but these were told: {sorted(epochs)}"))
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
        self.epochs = {place_of(cursor).epoch for cursor in self.accepted}

    def _accept(self, event: Event, cursor: str) -> None:
        other = self.accepted.setdefault(cursor, event)
        if other is not event:
            text = f"two events were accepted as {cursor}: {brief(other)} and {brief(event)}"
            self.faults.append(Fault(DOUBLE, text))


class Reader:
    """Walks through one client's story."""

    def __init__(self, story: Story, ledger: Ledger, lives: int) -> None:
        self.story, self.ledger, self.lives = story, ledger, lives
        self.faults: list[Fault] = []
        self.epochs: set[str] = set()
        self.first: Seen | None = None
        self._place: Place | None = None
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
            self._move(number, seen, place_of(seen.id))
        if self.first is None and seen.name == "ssemux.hello" and seen.id is not None:
            self.first = seen

    def _take_reset(self, number: int, seen: Seen) -> None:
        self._reset = seen
        self._resets.append((seen.at, set(json.loads(seen.data)["channels"])))
        if self.lives == 1 or self._place is None:
            self._fault(RESET, number, f"a reset, where no history was lost: {seen.data}")

    def _move(self, number: int, seen: Seen, place: Place) -> None:
        before, reset = self._place, self._reset
        if before is not None and place.epoch != before.epoch:
            if reset is None:
                self._fault(LIFE, number, f"the history's life changes from {before.epoch} without a reset")
            if place.epoch in self.epochs:
                self._fault(LIFE, number, f"the history's old life {place.epoch} comes back")
        elif before is not None:
            if reset is not None and self.lives > 1:
                self._fault(RESET, number, f"a reset, and the history goes on in the same life: {reset.data}")
            own = seen.name.startswith("ssemux.")
            if place.sequence < before.sequence or (place.sequence == before.sequence and not own):
                self._fault(DISORDER, number, f"{seen.id} comes after {before.epoch}-{before.sequence}")
        self._place, self._reset = place, None
        self.epochs.add(place.epoch)

    def _take_event(self, number: int, seen: Seen) -> None:
        event = self.ledger.by_payload.get(seen.data)
        if seen.id is None:
            self._fault(STRANGE, number, f"an event without an id: {seen.data[:80]!r}")
        elif event is None:
            self._fault(STRANGE, number, f"{seen.id} was published by nobody: {seen.data[:80]!r}")
        elif event.channel not in self.story.channels:
            self._fault(STRANGE, number, f"{seen.id} is of channel {event.channel!r}, which this client does not read")
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
            told = "\n    ".join(self._tell_loss(event) for event in lost[:TOLD])
            text = f"{self._name()}: {len(lost)} of {len(due)} events never came:\n    {told}"
            self.faults.append(Fault(LOST, text))

    def _is_due(self, event: Event) -> bool:
        if event.channel not in self.story.channels or not self._is_after_first(event):
            return False
        if any(event.started < at and event.channel in channels for at, channels in self._resets):
            return False
        place, last = place_of(event.cursor or ""), self._place
        return self.story.stayed or (last is not None and place.epoch == last.epoch and place <= last)

    def _is_after_first(self, event: Event) -> bool:
        """In the life of the first hello its place tells; in another life only the time can."""
        assert self.first is not None and self.first.id is not None
        first, place = place_of(self.first.id), place_of(event.cursor or "")
        return place > first if place.epoch == first.epoch else event.started > self.first.at

    def _tell_loss(self, event: Event) -> str:
        place = place_of(event.cursor or "")
        later = (
            number
            for number, seen in enumerate(self.story.seen)
            if seen.id is not None and place_of(seen.id).epoch == place.epoch and place_of(seen.id) > place
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
