"""A stream's states, queue, wake-up and heartbeats. Time is passed in, so nothing waits."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flask_ssemux.errors import WrongState
from flask_ssemux.hub.limits import BEGIN_TIMEOUT, CHECK_AGAIN, WRITE_BYTES, WRITE_TIMEOUT, StreamLimits
from flask_ssemux.hub.stream import Stream
from flask_ssemux.hub.stream_state import CLOSED, CLOSING, LIVE, MOVES, OPENING, REPLAYING

HEARTBEAT = b": heartbeat\n\n"
STATES = [OPENING, REPLAYING, LIVE, CLOSING, CLOSED]
LEGAL = [
    (OPENING, REPLAYING),
    (OPENING, CLOSING),
    (REPLAYING, LIVE),
    (REPLAYING, CLOSING),
    (LIVE, CLOSING),
    (CLOSING, CLOSED),
]
ILLEGAL = [(one, other) for one in STATES for other in STATES if (one, other) not in LEGAL]


class Calls(list):
    """A function that counts its calls."""

    def __call__(self, *arguments):
        self.append(arguments)


class Peer:
    """A connection that counts how often it was cut off."""

    def __init__(self):
        self.cut_connection = Calls()


def new(events=10, size=1000, heartbeat=20.0, now=0.0):
    stream = Stream(("*",), "ann", StreamLimits(events, size, heartbeat, HEARTBEAT), now)
    stream.connection, stream.on_closed = Peer(), Calls()
    return stream


def live(**limits):
    stream = new(**limits)
    stream.opening = iter(())
    stream.take_bytes(0.0)
    return stream


def parked(**limits):
    stream, wake = live(**limits), Calls()
    assert stream.park_transport(wake)
    return stream, wake


def drained(stream, now=0.0):
    return b"".join(iter(lambda: stream.take_bytes(now), b""))


# -- the table of moves ------------------------------------------------------


def in_state(state):
    stream = new()
    stream.state = state
    return stream


@pytest.mark.parametrize("one, other", LEGAL)
def test_legal_moves(one, other):
    stream = in_state(one)
    stream._set_state(other)
    assert stream.state == other


@pytest.mark.parametrize("one, other", ILLEGAL)
def test_illegal_moves_name_both(one, other):
    stream = in_state(one)
    with pytest.raises(WrongState) as caught:
        stream._set_state(other)
    assert str(caught.value) == "a stream that is %s cannot become %s" % (one, other)
    assert stream.state == one


def test_the_table_has_every_state():
    assert list(MOVES) == STATES


def test_a_stream_passes_through_all_states():
    stream = new()
    stream.opening = iter([b"a"])
    states = [stream.state]
    for move in (
        stream.take_bytes,
        stream.take_bytes,
        lambda now: stream.close("done"),
        lambda now: stream.mark_closed("left"),
    ):
        move(0.0)
        states.append(stream.state)
    assert states == STATES
    assert stream.reason == "done"


@pytest.mark.parametrize("state", [OPENING, REPLAYING, LIVE])
@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_stream_may_end_at_any_time(state, end):
    stream = in_state(state)
    getattr(stream, end)("why")
    assert (stream.state, stream.reason) == (CLOSING, "why")


# -- offer, take, park -------------------------------------------------------


def test_an_empty_stream_has_nothing_to_take():
    assert live().take_bytes(0.0) == b""


def test_frames_go_out_in_order_and_once():
    stream = live()
    for frame in (b"a", b"b", b"c"):
        stream.offer(frame)
    assert (stream.queue_size, stream.take_bytes(0.0), stream.take_bytes(0.0), stream.queue_size) == (
        (3, 3),
        b"abc",
        b"",
        (0, 0),
    )


def test_a_single_frame_is_not_copied():
    stream, frame = live(), b"x" * 100
    stream.offer(frame)
    assert stream.take_bytes(0.0) is frame


def test_frames_are_joined_up_to_about_one_write():
    stream = live(size=10**9)
    part = WRITE_BYTES // 2 + 1
    for _ in range(5):
        stream.offer(b"x" * part)
    assert [len(stream.take_bytes(0.0)) for _ in range(4)] == [2 * part, 2 * part, part, 0]


def test_parking_is_refused_while_something_waits():
    stream, wake = live(), Calls()
    stream.offer(b"a")
    assert not stream.park_transport(wake)
    stream.offer(b"b")
    assert wake == []


def test_parking_is_refused_after_the_end():
    stream, wake = live(), Calls()
    stream.close("done")
    assert not stream.park_transport(wake)
    assert wake == []


def test_an_offer_wakes_once():
    stream, wake = parked()
    stream.offer(b"a")
    stream.offer(b"b")
    assert wake == [()]


def test_a_transport_that_is_woken_finds_the_frame():
    stream, found = live(), []
    stream.park_transport(lambda: found.append(stream.take_bytes(0.0)))
    stream.offer(b"a")
    assert found == [b"a"]


def test_a_refused_frame_does_not_wake():
    stream, wake = parked()
    stream.last_sequence = 5
    stream.offer(b"a", 5)
    assert wake == []


@pytest.mark.parametrize("end", ["close", "abort", "mark_closed"])
def test_every_end_wakes_once(end):
    stream, wake = parked()
    getattr(stream, end)("why")
    assert wake == [()]
    assert stream.is_over


def test_closing_with_a_last_frame_wakes_once():
    stream, wake = parked()
    stream.close("why", b"last")
    assert (wake, stream.is_over, stream.take_bytes(0.0), stream.is_over) == ([()], False, b"last", True)


# -- last_sequence -----------------------------------------------------------


@pytest.mark.parametrize("sequence, taken", [(1, b""), (5, b""), (6, b"x"), (None, b"x")])
def test_events_that_the_client_has_or_will_replay_are_refused(sequence, taken):
    stream = live()
    stream.last_sequence = 5
    stream.offer(b"x", sequence)
    assert stream.take_bytes(0.0) == taken


# -- opening pages -----------------------------------------------------------


def test_the_opening_pages_go_before_live_frames():
    stream = new()
    stream.opening = iter([b"1", b"2"])
    stream.offer(b"live")
    assert [stream.take_bytes(0.0) for _ in range(4)] == [b"1", b"2", b"live", b""]


def test_pages_are_drawn_one_at_a_time():
    stream, drawn = new(), []
    stream.opening = (drawn.append(page) or b"%d" % page for page in range(3))
    stream.take_bytes(0.0)
    assert drawn == [0]


def test_an_empty_page_is_not_the_end():
    stream = new()
    stream.opening = iter([b"", b"1", b"", b"2"])
    assert [stream.take_bytes(0.0) for _ in range(3)] == [b"1", b"2", b""]


def test_a_stream_is_live_after_the_last_page():
    stream = new()
    stream.opening = iter([b"1"])
    stream.take_bytes(0.0)
    assert (stream.state, stream.has_replay_left()) == (REPLAYING, True)
    stream.take_bytes(0.0)
    assert (stream.state, stream.has_replay_left()) == (LIVE, False)


def test_making_a_page_may_end_the_stream():
    stream = new()

    def pages():
        yield b"1"
        stream.abort("the broker is away")

    stream.opening = pages()
    assert drained(stream) == b"1"
    assert (stream.state, stream.is_over, stream.reason) == (CLOSING, True, "the broker is away")


def test_a_clean_end_during_the_replay_still_replays():
    stream = new()
    stream.opening = iter([b"1", b"2"])
    stream.offer(b"live")
    stream.close("drain", b"last")
    assert not stream.is_over
    assert drained(stream) == b"12livelast"
    assert (stream.is_over, stream.state) == (True, CLOSING)


# -- overflow ----------------------------------------------------------------


def test_a_queue_may_be_full():
    stream = live(events=3, size=6)
    for _ in range(3):
        stream.offer(b"ab")
    assert (stream.state, stream.queue_size) == (LIVE, (3, 6))


@pytest.mark.parametrize(
    "events, size, frame, reason",
    [
        (3, 1000, b"ab", "its client reads too slowly: 4 frames, 8 bytes waited"),
        (100, 6, b"ab", "its client reads too slowly: 4 frames, 8 bytes waited"),
        (100, 6, b"x" * 7, "its client reads too slowly: 1 frames, 7 bytes waited"),
    ],
)
def test_one_frame_more_ends_the_stream(events, size, frame, reason):
    stream = live(events=events, size=size)
    while stream.state is LIVE:
        stream.offer(frame)
    assert (stream.reason, stream.is_over, stream.connection.cut_connection) == (reason, True, [()])
    assert stream.take_bytes(0.0) == b""


def test_an_overflow_wakes():
    stream, wake = parked(size=5)
    stream.offer(b"x" * 6)
    assert (wake, stream.is_over) == ([()], True)


def test_taking_frames_makes_room():
    stream = live(events=2, size=4)
    for _ in range(100):
        stream.offer(b"ab")
        stream.offer(b"cd")
        assert stream.take_bytes(0.0) == b"abcd"
    assert stream.state is LIVE


@pytest.mark.parametrize("end", ["abort", "mark_closed"])
def test_nothing_waits_in_a_stream_that_was_dropped(end):
    stream = live()
    stream.offer(b"abc")
    getattr(stream, end)("why")
    assert stream.queue_size == (0, 0)


# -- close, abort, mark_closed ------------------------------------------------------


def test_a_clean_end_sends_what_waits_and_then_the_last_frame():
    stream = live()
    stream.offer(b"a")
    stream.close("drain", b"last")
    stream.offer(b"too late")
    assert (drained(stream), stream.is_over, stream.connection.cut_connection) == (b"alast", True, [])


def test_the_first_clean_end_counts():
    stream = live()
    stream.close("first", b"1")
    stream.close("second", b"2")
    assert (drained(stream), stream.reason) == (b"1", "first")


def test_an_abort_drops_what_waits():
    stream = live()
    stream.offer(b"a")
    stream.abort("cut")
    stream.offer(b"b")
    assert (drained(stream), stream.is_over, stream.connection.cut_connection) == (b"", True, [()])


def test_an_abort_drops_the_replay():
    stream = new()
    stream.opening = iter([b"1", b"2"])
    stream.abort("cut")
    assert (drained(stream), stream.is_over) == (b"", True)


def test_an_abort_cuts_a_clean_end_short():
    stream = live()
    stream.close("drain", b"last")
    stream.abort("cut")
    assert (drained(stream), stream.is_over, stream.reason, stream.connection.cut_connection) == (
        b"",
        True,
        "drain",
        [()],
    )


@pytest.mark.parametrize("before", [[], ["close"], ["abort"], ["close", "abort"], ["mark_closed"]])
def test_mark_closed_calls_on_closed_once(before):
    stream = live()
    for end in before + ["mark_closed", "mark_closed"]:
        getattr(stream, end)("why")
    assert (stream.on_closed, stream.state) == ([(stream,)], CLOSED)


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_stream_that_ends_is_not_closed_yet(end):
    stream = live()
    getattr(stream, end)("why")
    assert stream.on_closed == []


def test_a_stream_can_be_closed_before_it_begins():
    stream = new()
    stream.opening = iter([b"1"])
    stream.mark_closed("left")
    assert (stream.state, stream.on_closed, stream.is_over) == (CLOSED, [(stream,)], True)


def test_a_closed_stream_has_no_connection_to_cut():
    stream = live()
    cut_connection = stream.connection.cut_connection
    stream.mark_closed("left")
    stream.abort("cut")
    assert cut_connection == []


def test_a_closed_stream_accepts_nothing():
    stream = live()
    stream.mark_closed("left")
    stream.offer(b"a")
    stream.close("again", b"last")
    assert (drained(stream), stream.state, stream.reason) == (b"", CLOSED, "left")


# -- the clock ---------------------------------------------------------------


def test_no_heartbeat_before_a_silence():
    """The next check is at a random time, so that streams with the same event do not send heartbeats at one moment."""
    dues = set()
    for _ in range(50):
        stream, wake = parked()
        dues.add(stream.run_due_work(7.9))
        assert wake == []
    assert len(dues) > 40 and all(8.0 <= due <= 20.0 for due in dues)


def test_a_heartbeat_ends_a_silence():
    stream, wake = parked()
    assert (
        28.0 <= stream.run_due_work(20.0) <= 39.5
    )  # its next silence, checked a little early, so that it is never late by the width of a tick
    assert (wake, stream.take_bytes(20.0)) == ([()], HEARTBEAT)


def test_a_check_may_end_a_silence_early():
    stream, wake = parked()
    assert 18.0 <= stream.run_due_work(10.0) <= 29.5
    assert (wake, stream.take_bytes(10.0)) == ([()], HEARTBEAT)


@pytest.mark.parametrize("first", [10.0, 13.0, 20.0, 1e6])
def test_a_stream_finds_its_own_time_and_keeps_it(first):
    stream, wake = parked()
    beats = [first]
    for _ in range(6):
        beats.append(stream.run_due_work(beats[-1] + 0.2))  # the timer calls a moment later, never earlier
        stream.take_bytes(beats[-2])
        stream.park_transport(wake)
    gaps = [after - before for before, after in zip(beats, beats[1:])]
    assert all(8.0 <= gap <= 19.7 + 1e-6 for gap in gaps)
    assert gaps[2:] == pytest.approx([19.5] * 4)


def test_silence_counts_from_what_was_sent_last():
    stream, wake = parked()
    stream.offer(b"a")
    stream.take_bytes(12.0)
    stream.park_transport(wake)
    assert 20.0 <= stream.run_due_work(19.0) <= 32.0
    assert wake == [()]
    stream.run_due_work(32.0)
    assert wake == [(), ()]


def test_pages_end_a_silence_too():
    stream = new()
    stream.opening = iter([b"1"])
    stream.take_bytes(12.0)
    stream.take_bytes(13.0)
    stream.park_transport(Calls())
    assert 20.0 <= stream.run_due_work(19.0) <= 32.0


def test_taking_nothing_is_not_sending():
    stream = live()
    stream.take_bytes(19.0)
    stream.park_transport(Calls())
    stream.run_due_work(20.0)
    assert stream.take_bytes(20.0) == HEARTBEAT


def test_a_closed_stream_needs_no_check():
    stream = live()
    stream.mark_closed("left")
    assert stream.run_due_work(20.0) is None


def test_no_heartbeat_while_a_write_is_under_way():
    stream = live()
    assert stream.run_due_work(20.0) == 25.0
    assert stream.take_bytes(20.0) == b""


@pytest.mark.parametrize("heartbeat, pause", [(20.0, 5.0), (3600.0, 7.5), (1.0, 0.25)])
def test_a_write_is_checked_several_times_within_its_limit(heartbeat, pause):
    assert live(heartbeat=heartbeat).run_due_work(100.0) == 100.0 + pause


def test_a_write_that_does_not_end_is_cut():
    stream = live()
    stream.offer(b"a")
    stream.run_due_work(100.0)
    stream.run_due_work(100.0 + WRITE_TIMEOUT - 0.1)
    assert (stream.state, stream.connection.cut_connection) == (LIVE, [])
    assert stream.run_due_work(100.0 + WRITE_TIMEOUT) == 131.0
    assert (stream.connection.cut_connection, stream.reason) == ([()], "its client has taken nothing for 30 s")


def test_the_write_limit_is_what_the_documentation_says():
    assert WRITE_TIMEOUT == 30.0


def test_a_write_that_ended_starts_the_limit_again():
    stream = live()
    stream.run_due_work(100.0)
    stream.offer(b"a")
    stream.take_bytes(120.0)
    stream.run_due_work(125.0)
    stream.run_due_work(154.9)
    assert stream.state is LIVE
    stream.run_due_work(155.0)
    assert stream.is_over


def test_waiting_is_not_writing():
    stream, _ = parked(heartbeat=3600.0)
    for now in range(0, 300, 10):
        assert 1440.0 <= stream.run_due_work(float(now)) <= 3600.0
    assert stream.state is LIVE


def test_a_wait_between_two_writes_starts_the_limit_again():
    stream = live(heartbeat=3600.0)
    stream.run_due_work(0.0)
    stream.park_transport(Calls())
    stream.run_due_work(29.0)
    stream.offer(b"a")
    assert stream.run_due_work(31.0) is not None
    assert stream.state is LIVE


def test_a_clean_end_that_the_client_does_not_take_is_cut():
    stream = live()
    stream.close("drain", b"last")
    stream.run_due_work(0.0)
    stream.run_due_work(30.0)
    assert stream.connection.cut_connection == [()]


def test_a_stream_whose_response_never_begins_is_closed_within_seconds():
    """A late check is not the last one: the event loop was blocked, and the transport had no chance to run."""
    stream = new()
    stream.opening = iter([b"1"])
    assert stream.run_due_work(2.0) == BEGIN_TIMEOUT == 3.0
    assert stream.run_due_work(9.0) == 9.0 + CHECK_AGAIN == 10.0
    assert stream.state is OPENING
    assert (stream.run_due_work(10.0), stream.state, stream.reason) == (None, CLOSED, "its response never began")
    assert drained(stream) == b"" and stream.on_closed == [(stream,)]


def test_a_stream_that_begins_late_continues():
    stream = new()
    stream.opening = iter([b"1"])
    stream.run_due_work(9.0)
    assert stream.take_bytes(9.5) == b"1"
    stream.run_due_work(10.0)
    assert stream.state is REPLAYING


@pytest.mark.parametrize("state", [OPENING, REPLAYING, LIVE])
def test_a_stream_that_was_cut_off_and_not_closed_by_its_server_is_closed_within_seconds(state):
    stream = live() if state is LIVE else new()
    stream.opening = iter([b"1", b"2"])
    if state is REPLAYING:
        stream.take_bytes(0.0)
    stream.abort("its client left")
    stream.abort("again")
    assert stream.run_due_work(20.0) == 21.0
    stream.abort("and again")
    assert (stream.run_due_work(21.0), stream.state, stream.reason) == (None, CLOSED, "its client left")
    assert stream.on_closed == [(stream,)]


# -- written to at once --------------------------------------------------------


class Pipe:
    """A writer whose client takes a limited number of bytes."""

    def __init__(self, room=10**9):
        self.room, self.out, self.ends, self.cuts = room, b"", [], 0

    def write(self, stream, frame):
        stream.enqueue(frame) if stream.queue else self.send(stream, frame)

    def send(self, stream, data):
        sent, self.room = data[: self.room], self.room - min(self.room, len(data))
        self.out += sent
        if len(sent) < len(data):
            stream.enqueue(data[len(sent) :])

    def drain(self, stream):
        """Let the client take everything."""
        for size in range(1, 100):
            data = b"".join(stream.queue or ())[:size]
            self.out += data
            stream.remove_sent_bytes(len(data))
            stream.sent_at = self.now

    def end_stream(self, stream, last):
        self.ends.append(last)

    def cut_stream(self, stream):
        self.cuts += 1


def written(room=10**9, **limits):
    stream, pipe = live(**limits), Pipe(room)
    assert stream.hand_over(pipe, 7)
    return stream, pipe


def test_a_writer_gets_each_frame_at_once_and_nothing_waits():
    stream, pipe = written()
    stream.last_sequence = 5
    for sequence in (4, 5, 6, None, 7):
        stream.offer(b"<%s>" % str(sequence).encode(), sequence)
    assert (pipe.out, stream.queue_size, stream.queue, stream.file) == (b"<6><None><7>", (0, 0), None, 7)


@pytest.mark.parametrize(
    "prepare", [lambda s: s.offer(b"a"), lambda s: s.close("end"), lambda s: setattr(s, "opening", iter([b"1"]))]
)
def test_a_stream_with_something_to_take_is_not_handed_over(prepare):
    stream = live()
    prepare(stream)
    assert not stream.hand_over(Pipe(), 7) and stream.file == -1


def test_what_the_client_does_not_take_waits_in_order():
    stream, pipe = written(room=4)
    for frame in (b"abcdef", b"gh", b"ijk"):
        stream.offer(frame)
    assert (pipe.out, stream.queue_size) == (b"abcd", (3, 7))
    pipe.now = 3.0
    pipe.drain(stream)
    assert (pipe.out, stream.queue_size) == (b"abcdefghijk", (0, 0))


def test_a_writer_whose_client_is_too_slow_is_cut():
    stream, pipe = written(room=0, events=2)
    for _ in range(3):
        stream.offer(b"abc")
    assert (pipe.cuts, pipe.ends, stream.state, stream.queue_size) == (1, [], CLOSING, (0, 0))
    assert stream.reason == "its client reads too slowly: 3 frames, 9 bytes waited"
    stream.offer(b"more")
    assert pipe.out == b""


def test_a_writer_gets_a_clean_end_once():
    stream, pipe = written()
    stream.close("drain", b"last")
    stream.close("again", b"more")
    stream.offer(b"late")
    assert (pipe.ends, pipe.cuts, pipe.out, stream.is_over) == ([b"last"], 0, b"", True)
    stream.mark_closed("it was")
    assert (stream.state, stream.on_closed) == (CLOSED, [(stream,)])


def test_a_writer_that_cannot_write_may_end_the_stream_within_its_end():
    stream, pipe = written()
    pipe.end_stream = lambda stream, last: stream.abort("its client left")
    stream.close("drain", b"last")
    assert (stream.state, pipe.cuts, stream.reason) == (CLOSING, 1, "drain")


def test_a_writer_sends_one_heartbeat_for_each_silence():
    stream, pipe = written()
    assert 28.0 <= stream.run_due_work(20.0) <= 39.5
    assert 47.5 <= stream.run_due_work(39.5) <= 59.0
    assert pipe.out == HEARTBEAT * 2
    stream.offer(b"a")
    stream.sent_at = 58.0
    assert 66.0 <= stream.run_due_work(59.0) <= 78.0
    assert pipe.out == HEARTBEAT * 2 + b"a"


def test_a_client_that_takes_nothing_of_what_waits_is_cut():
    stream, pipe = written(room=1)
    stream.offer(b"ab")
    assert stream.run_due_work(100.0) == 105.0
    pipe.room = 1
    assert stream.run_due_work(100.0 + WRITE_TIMEOUT - 0.1) is not None
    assert (pipe.out, pipe.cuts) == (b"a", 0)  # no heartbeat is appended to what already waits
    stream.run_due_work(100.0 + WRITE_TIMEOUT)
    assert (pipe.cuts, stream.reason) == (1, "its client has taken nothing for 30 s")


# -- lifetime ----------------------------------------------------------------


def with_lifetime(ends_at, **limits):
    stream, wake = parked(**limits)
    stream.ends_at, stream.last_frame = ends_at, b"retry: 1\n\n"
    return stream, wake


def test_the_lifetime_is_checked_in_time():
    assert with_lifetime(7.0)[0].run_due_work(5.0) == 7.0
    assert 8.0 <= with_lifetime(70.0)[0].run_due_work(5.0) <= 20.0


def test_the_lifetime_is_checked_in_time_while_a_write_hangs():
    stream = live()
    stream.ends_at, stream.last_frame = 7.0, b"bye"
    stream.offer(b"a")
    assert (stream.run_due_work(5.0), stream.run_due_work(6.0)) == (7.0, 7.0)


def test_a_lifetime_ends_cleanly():
    stream, wake = with_lifetime(7.0)
    stream.run_due_work(7.0)
    assert (wake, drained(stream), stream.is_over) == ([()], b"retry: 1\n\n", True)
    assert stream.reason == "its lifetime is over"


def test_a_lifetime_ends_once():
    stream, _ = with_lifetime(7.0)
    stream.run_due_work(7.0)
    stream.run_due_work(8.0)
    assert drained(stream) == b"retry: 1\n\n"


def test_a_lifetime_ends_for_a_stream_that_writes_too():
    stream = live()
    stream.ends_at, stream.last_frame = 7.0, b"bye"
    stream.offer(b"a")
    stream.run_due_work(7.0)
    assert drained(stream) == b"abye"


# -- random operations --------------------------------------------------------


class Life(RuleBasedStateMachine):
    """Whatever is done to a stream, its bytes come out in order and once, and ``on_closed`` is called once."""

    @initialize(pages=st.lists(st.integers(0, 3), max_size=4))
    def open(self, pages):
        self.stream = new(events=12, size=200)
        self.number = self.closed = 0
        self.now = 0.0
        self.expected, self.out = b"", b""
        self.is_parked = self.ended = self.dropped = False
        self.stream.on_closed = lambda stream: setattr(self, "closed", self.closed + 1)
        self.stream.opening = iter([self.expect(size) for size in pages])

    def unique(self, size=1):
        self.number += 1
        return b"<%d>" % self.number * bool(size)

    def expect(self, size=1):
        made = self.unique(size)
        self.expected += made
        return made

    def wake(self):
        assert self.is_parked, "the transport was woken twice"
        self.is_parked = False

    @rule(history=st.booleans())
    def offer(self, history):
        sequence = None if not history else self.stream.last_sequence
        frame = self.unique()
        self.stream.offer(frame, sequence)
        if not self.ended and not history:
            self.expected += frame
        self.note_a_cut()

    def note_a_cut(self):
        if self.stream.connection is None or self.stream.connection.cut_connection:
            self.ended = self.dropped = True

    @precondition(lambda self: not self.is_parked)
    @rule()
    def take(self):
        self.out += self.stream.take_bytes(self.now)

    @precondition(lambda self: not self.is_parked)
    @rule()
    def wait(self):
        self.out += drained(self.stream, self.now)
        self.is_parked = self.stream.park_transport(self.wake)
        assert self.is_parked is not self.stream.is_over

    @rule(pause=st.sampled_from([1.0, 5.0, 20.0]))
    def run_due_work(self, pause):
        self.now += pause
        waited = self.is_parked
        self.stream.run_due_work(self.now)
        if waited and not self.is_parked:
            self.expected += HEARTBEAT
        self.note_a_cut()

    @rule(last=st.booleans())
    def close(self, last):
        last = self.unique() if last else b""
        self.expected += b"" if self.ended else last
        self.stream.close("close", last)
        self.ended = True

    @rule()
    def abort(self):
        self.stream.abort("abort")
        self.note_a_cut()

    @precondition(lambda self: self.ended)
    @rule()
    def gone(self):
        self.stream.mark_closed("gone")
        self.dropped = True

    @invariant()
    def bytes_are_in_order_and_once(self):
        assert self.expected.startswith(self.out)

    @invariant()
    def nobody_sleeps_on_work(self):
        assert not (self.is_parked and (self.stream.queue_size[0] or self.stream.is_over))

    def teardown(self):
        if not hasattr(self, "stream"):
            return
        self.stream.close("close")
        self.out += drained(self.stream, self.now)
        assert self.stream.is_over
        assert self.dropped or self.out == self.expected
        self.stream.mark_closed("gone")
        self.stream.mark_closed("gone")
        assert (self.closed, self.stream.state) == (1, CLOSED)


TestLife = Life.TestCase
