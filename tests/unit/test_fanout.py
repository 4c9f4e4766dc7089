"""Fan-out in turns, with real streams and threads. The test decides when a large event goes on."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_ssemux.hub.fanout import MAX_LARGE, SLICE, FanOut
from flask_ssemux.hub.limits import StreamLimits
from flask_ssemux.hub.stream import Stream
from tests.harness.waiting import until

LIMITS = StreamLimits(1000, 1 << 20, 20.0, b":\n\n")


class Gate:
    """Yields control: a large event waits here until the test opens the gate; other events do not wait."""

    def __init__(self):
        self.turns = threading.Semaphore(0)
        self.asked = 0

    def __call__(self):
        if threading.current_thread().name == "ssemux-fan-out":
            self.asked += 1
            assert self.turns.acquire(timeout=10)

    def open(self):
        for _ in range(10000):
            self.turns.release()


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open()


def streams(count, *channels):
    made = [Stream(channels, None, LIMITS, 0.0) for _ in range(count)]
    for stream in made:
        stream.last_sequence = 0  # it has joined its channels
    return made


def got(stream):
    return list(stream.queue or ())


def test_an_event_for_one_stream_does_not_wait_for_the_end_of_a_large_event(gate):
    fan_out, many, one = FanOut(LIMITS, gate), streams(10 * SLICE, "many"), streams(1, "one")
    fan_out.send_event(many, b"large", "many", 1)
    until(lambda: gate.asked, 5, "the large one goes slice by slice")
    fan_out.send_event(one, b"small", "one", 2)
    assert got(one[0]) == [b"small"]
    assert [bool(stream.queue) for stream in many] == [True] * SLICE + [False] * 9 * SLICE
    gate.open()
    fan_out.finish()
    assert all(got(stream) == [b"large"] for stream in many)


def test_a_stream_of_both_channels_gets_the_large_event_first_and_once(gate):
    fan_out, many, both = FanOut(LIMITS, gate), streams(3 * SLICE, "many"), streams(1, "many", "one")
    fan_out.send_event(many + both, b"large", "many", 1)
    until(lambda: gate.asked, 5, "the large one goes slice by slice")
    fan_out.send_event(both, b"small", "one", 2)
    assert got(both[0]) == [b"large", b"small"]
    gate.open()
    fan_out.finish()
    assert got(both[0]) == [b"large", b"small"]


def test_two_large_channels_take_turns_and_one_channels_events_follow_each_other(gate):
    fan_out, ones, others = FanOut(LIMITS, gate), streams(4 * SLICE, "a"), streams(4 * SLICE, "b")
    fan_out.send_event(ones, b"a1", "a", 1)
    until(lambda: gate.asked, 5, "the first slice is out")
    fan_out.send_event(ones, b"a2", "a", 2)
    fan_out.send_event(others, b"b1", "b", 3)
    for _ in range(5):  # two that "a" had before "b" came, and three more
        gate.turns.release()
    until(lambda: gate.asked == 6, 5, "six turns were taken")
    assert [sum(map(len, map(got, group))) // SLICE for group in (ones, others)] == [4, 2]
    gate.open()
    fan_out.finish()
    assert {tuple(got(stream)) for stream in ones} == {(b"a1", b"a2")}
    assert {tuple(got(stream)) for stream in others} == {(b"b1",)}


@pytest.mark.parametrize("size, fit", [(10, MAX_LARGE), (200000, 2)])
def test_sending_waits_before_a_queue_could_get_more_than_it_holds(gate, size, fit):
    fan_out, many, both = FanOut(LIMITS, gate), streams(2 * SLICE, "many"), streams(1, "many", "one")
    frame, sent = b"x" * size, []

    def bring():
        for sequence in range(1, fit + 2):
            fan_out.send_event(many + both, frame, "many", sequence)
            sent.append(sequence)
        fan_out.send_event(both, b"small", "one", fit + 2)

    bringing = threading.Thread(target=bring, daemon=True)
    bringing.start()
    until(lambda: len(sent) == fit and gate.asked, 5, lambda: "sent: %r" % sent)
    gate.open()
    bringing.join(10)
    fan_out.finish()
    assert got(both[0]) == [frame] * (fit + 1) + [b"small"]
    assert both[0].reason is None


def test_a_stream_that_raises_an_error_costs_the_others_nothing_and_ends(gate, caplog):
    class Broken(Stream):
        def offer(self, frame, sequence=None):
            raise ZeroDivisionError

    gate.open()
    broken = Broken(("many",), None, LIMITS, 0.0)
    fan_out, many = FanOut(LIMITS, gate), streams(2 * SLICE, "many")
    fan_out.send_event([*many[:5], broken, *many[5:]], b"large", "many", 1)
    fan_out.finish()
    assert all(got(stream) == [b"large"] for stream in many)
    assert broken.reason and "ZeroDivisionError" in caplog.text


@settings(max_examples=30)
@given(
    members=st.lists(st.sets(st.sampled_from("abc"), min_size=1), min_size=3, max_size=7),
    events=st.lists(st.sampled_from("abc"), max_size=20),
)
def test_every_stream_gets_every_event_once_in_order_whichever_event_overtakes(members, events):
    fan_out = FanOut(LIMITS, lambda: None)
    groups = [streams(SLICE - 20, *sorted(channels)) for channels in members]  # two of them are a large channel
    for sequence, channel in enumerate(events, 1):
        targets = [stream for group in groups for stream in group if channel in stream.channels]
        fan_out.send_event(targets, b"%d" % sequence, channel, sequence)
    fan_out.finish()
    for group, channels in zip(groups, members):
        due = [b"%d" % sequence for sequence, channel in enumerate(events, 1) if channel in channels]
        assert all(got(stream) == due for stream in group)
