"""A model of who may read what and what each stream receives: a second opinion, written from the README. It shares no
code with the package.

A policy is data: the rules' patterns in their order, and grants, `[rule's number, user, {variable: value}]`. A variable
is a whole part of a channel between colons, or follows a few letters, so that patterns overlap in every way.
"""

from __future__ import annotations

import re
from typing import Dict, List, NamedTuple, Sequence, Tuple

Values = Dict[str, str]
Asked = List[Tuple[int, Values]]


class Policy(NamedTuple):
    rules: list[str]
    grants: list[list]

    def rule_of(self, channel: str) -> tuple[int | None, Values]:
        """Return the first rule whose pattern matches the channel."""
        for number, pattern in enumerate(self.rules):
            values = match(pattern, channel)
            if values is not None:
                return number, values
        return None, {}

    def answer(self, user: str | None, named: Sequence[str]) -> tuple[int, Asked]:
        """Return the status of a stream's answer, and what its rules were asked."""
        own = own_channels(user)
        if any(channel == "" or channel.startswith("ssemux.") for channel in named):
            return 400, []
        if any(is_personal(channel) and channel not in own for channel in named):
            return 403, []
        asked: Asked = []
        for channel in dict.fromkeys(named):
            if channel in own:
                continue
            number, values = self.rule_of(channel)
            if number is None:
                return 403, asked
            asked.append((number, values))
            if [number, user, values] not in self.grants:
                return (401 if user is None else 403), asked
        return 200, asked


def match(pattern: str, channel: str) -> Values | None:
    parts, pieces = pattern.split(":"), channel.split(":")
    if len(parts) != len(pieces) or is_personal(channel):
        return None
    values = {}
    for part, piece in zip(parts, pieces):
        start, bracket, name = part.partition("<")
        if not bracket:
            if part != piece:
                return None
            continue
        rest = piece[len(start) :]
        if not piece.startswith(start) or not rest:
            return None
        values[name.rstrip(">")] = rest
    return values


def is_personal(channel: str) -> bool:
    return channel == "*" or channel.startswith("user:")


def own_channels(user: str | None) -> list[str]:
    return ["*"] if user is None else ["*", "user:" + user]


class Event(NamedTuple):
    """An event that was published."""

    sequence: int
    channel: str
    number: int


class Seen(NamedTuple):
    """An event as a stream received it."""

    sequence: int
    channel: str | None
    number: int


def parse_sequence(cursor: str) -> int:
    return int(cursor.partition("-")[2])


def seen(frame) -> Seen:
    return Seen(parse_sequence(frame.own_id), frame.fields.get("channel"), int(re.findall(r"\d+", frame.data)[0]))


class Wish(NamedTuple):
    """What a stream asked for, and when.

    :param channels: the channels that it may read.
    :param new: those of them of which it wants no event from before it connected.
    :param head: the newest sequence when it connected.
    """

    channels: Sequence[str]
    new: Sequence[str] = ()
    head: int = 0


def judge(got: Sequence[Seen], wish: Wish, events: Sequence[Event], start: int = 0) -> str | None:
    """Return what is wrong with what a stream received: an event that is forbidden, doubled, or missing; None if
    nothing is.

    :param start: the sequence of the last event that its client had received.
    """
    channels, new, head = wish
    by_number = {event.number: event for event in events}
    for one in got:
        event = by_number[one.number]
        if event.channel not in channels:
            return "an event of %r, which it may not read: %r" % (event.channel, one)
        if one.sequence != event.sequence or one.channel != (None if is_personal(event.channel) else event.channel):
            return "%r was sent as %r" % (event, one)
    due = [e for e in events if e.channel in channels and e.sequence > (head if e.channel in new else start)]
    allowed_early = [e.number for e in events if e.channel in new and start < e.sequence <= head]
    received = [one.number for one in got if one.number not in allowed_early]
    if received != [event.number for event in due]:
        return "it has %r, and should have %r" % (received, [event.number for event in due])
    return None
