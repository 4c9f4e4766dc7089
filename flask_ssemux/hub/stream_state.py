"""The states of a stream, and which state may follow which. No stream, no bytes, no clock."""

from __future__ import annotations

from enum import Enum

from ..errors import WrongState


class StreamState(Enum):
    """Where a stream is in its life."""

    #: It has joined its channels. Its transport has taken nothing yet.
    OPENING = "opening"
    #: Its transport takes the opening frames and the events that its client missed.
    REPLAYING = "replaying"
    #: Its transport takes events as they are published.
    LIVE = "live"
    #: It accepts no more frames. Its transport sends the rest, or cuts the connection.
    CLOSING = "closing"
    #: Its connection no longer exists.
    CLOSED = "closed"

    def __str__(self) -> str:
        return str(self.value)


OPENING, REPLAYING, LIVE, CLOSING, CLOSED = StreamState

#: From each state, the states that may follow.
MOVES: dict[StreamState, tuple[StreamState, ...]] = {
    OPENING: (REPLAYING, CLOSING),
    REPLAYING: (LIVE, CLOSING),
    LIVE: (CLOSING,),
    CLOSING: (CLOSED,),
    CLOSED: (),
}


def check_move(state: StreamState, following: StreamState) -> StreamState:
    """Return the following state.

    :raises WrongState: it may not follow.
    """
    if following not in MOVES[state]:
        raise WrongState("a stream that is %s cannot become %s" % (state, following))
    return following
