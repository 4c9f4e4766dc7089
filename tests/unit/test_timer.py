"""The timer and its wheel, with time passed in: which members are called, when, and at what cost."""

from __future__ import annotations

import pytest

from flask_ssemux.hub.heartbeat import EARLIEST, PERIOD
from flask_ssemux.hub.limits import StreamLimits
from flask_ssemux.hub.stream import Stream
from flask_ssemux.worker.timer import Timer
from flask_ssemux.worker.timer_loop import get_timer_loop
from flask_ssemux.worker.timer_wheel import TimerWheel
from tests.harness.waiting import until


class Timed(TimerWheel):
    """A wheel that notes the time at which it calls its members."""

    now = 0.0

    def call_due_members(self, now, *yield_control):
        self.now = now
        super().call_due_members(now, *yield_control)


class Clocked:
    """A member that is called every so many seconds and notes the times of its calls."""

    def __init__(self, wheel, every=None, then=None):
        self.timer_slot = None
        self.wheel = wheel
        self.every = every
        self.then = then or (lambda: None)
        self.calls = []

    def run_due_work(self, now):
        assert len(self.calls) < 10_000, "called again and again at %r" % now
        assert self.wheel.now <= now <= self.wheel.now + 1.001 * self.wheel.tick
        self.calls.append(self.wheel.now)
        self.then()
        return None if self.every is None else self.wheel.now + self.every


def fail():
    raise ValueError("a bad call")


def ticks(tick, upto, start=0):
    """The times at which a timer that is never late turns its wheel."""
    return (number * tick for number in range(start, int(upto / tick) + 1))


def run(wheel, upto, start=0):
    for now in ticks(wheel.tick, upto, start):
        wheel.call_due_members(now)


# -- when --------------------------------------------------------------------


@pytest.mark.parametrize(
    "due, called", [(0.0, 0.0), (0.1, 0.0), (0.25, 0.25), (0.3, 0.25), (20.0, 20.0), (20.9, 20.75)]
)
def test_a_member_is_called_in_the_tick_in_which_it_is_due(due, called):
    wheel = Timed(0.25)
    member = Clocked(wheel)
    wheel.add(member, due)
    run(wheel, 30)
    assert member.calls == [called]


@pytest.mark.parametrize("every", [0.25, 0.3, 1.0, 7.1])
def test_a_call_is_never_late_and_at_most_a_tick_early(every):
    wheel = Timed(0.25)
    member = Clocked(wheel, every)
    wheel.add(member, every)
    run(wheel, 60)
    gaps = [after - before for before, after in zip([0.0] + member.calls, member.calls)]
    assert all(every - 0.25 <= gap <= every for gap in gaps)


@pytest.mark.parametrize("late", [0.0, 0.1, 5.0, 1000.0])
def test_a_timer_that_was_late_calls_every_member(late):
    wheel = Timed(0.25)
    members = [Clocked(wheel) for _ in range(20)]
    for number, member in enumerate(members):
        wheel.add(member, number / 10)
    wheel.call_due_members(2 + late)
    assert [member.calls for member in members] == [[2 + late]] * 20


def test_a_member_that_asks_for_a_time_in_the_past_is_called_once_a_tick():
    wheel = Timed(0.25)
    member = Clocked(wheel, -100)
    wheel.add(member, 1.0)
    run(wheel, 2.0)
    assert member.calls == [1.0, 1.25, 1.5, 1.75, 2.0]


@pytest.mark.parametrize("heartbeat", [0.05, 0.3, 0.5, 0.7, 1, 2, 3, 7, 11, 15, 19, 20, 25])
def test_a_member_moves_to_another_slot_with_every_tick_length(heartbeat):
    """(n * tick) / tick is not always n: a member that is put back into its slot would be called without end."""
    wheel = Timed(min(0.25, heartbeat / Timer.FINENESS))
    member = Clocked(wheel, 0)
    wheel.add(member, 0)
    for number in range(1000):
        wheel.call_due_members((number + 0.5) * wheel.tick)
    assert len(member.calls) == 1000


@pytest.mark.parametrize("heartbeat", [0.5, 2, 20])
@pytest.mark.parametrize("begin", [0.0, 0.1, 0.33, 0.49])
def test_no_stream_is_silent_for_longer_than_its_heartbeat(heartbeat, begin):
    wheel = Timed(min(0.25, heartbeat / Timer.FINENESS))
    streams = {parked(heartbeat, begin): [begin] for _ in range(100)}  # each with a time of its own
    for stream in streams:
        wheel.add(stream, begin + heartbeat / 4)
    for now in ticks(wheel.tick, 10 * heartbeat, start=int(begin / wheel.tick) + 1):
        now += wheel.tick / 1000  # a clock is never so exact that rounding decides
        wheel.call_due_members(now)
        for stream, sent in streams.items():
            sent += [now] if stream.take_bytes(now) else []
            stream.park_transport(lambda: None)
    for sent in streams.values():
        silences = [after - before for before, after in zip(sent, sent[1:])]
        assert len(silences) >= 8
        assert max(silences) <= heartbeat + wheel.tick / 100
        assert silences[0] >= heartbeat * EARLIEST - wheel.tick * 1.01
        assert min(silences[1:3]) >= heartbeat * EARLIEST - wheel.tick * 1.01
        assert min(silences[3:]) >= heartbeat * PERIOD - wheel.tick * 1.01


def test_heartbeats_of_streams_that_had_the_same_event_are_spread_evenly_soon_after():
    heartbeat, wheel = 20, Timed(0.25)
    streams = [parked(heartbeat, 0.0) for _ in range(1000)]
    for number, stream in enumerate(streams):
        wheel.add(stream, heartbeat / 2 + number % 10)
    beats = []
    for now in ticks(wheel.tick, 120):
        wheel.call_due_members(now)
        for stream in streams:
            if now == 30.0:
                stream.offer(b"event")
            if stream.take_bytes(now) == b": heartbeat\n\n":
                beats.append(now)
            stream.park_transport(lambda: None)
    seconds = [sum(second <= beat < second + 1 for beat in beats) for second in range(30, 119)]
    assert max(seconds) <= 250, seconds  # of 1000 at one moment otherwise
    assert all(20 <= count <= 85 for count in seconds[60:]), seconds  # 51, if they were spread by a ruler


def parked(heartbeat, now):
    stream = Stream(("*",), None, StreamLimits(10, 1000, heartbeat, b": heartbeat\n\n"), now)
    stream.opening = iter(())
    stream.take_bytes(now)
    stream.park_transport(lambda: None)
    return stream


def test_others_run_between_calls_and_may_add_and_remove_members():
    wheel = Timed(0.25)
    members = [Clocked(wheel, 1) for _ in range(1000)]
    for member in members:
        wheel.add(member, 1)
    yields = []

    def yield_control():
        yields.append(sum(bool(member.calls) for member in members))
        wheel.remove(members[yields[-1] % 1000])
        wheel.add(Clocked(wheel, 1), 1)

    wheel.call_due_members(1, yield_control)
    assert len(yields) in (4, 5) and yields[0] == 200


@pytest.mark.parametrize("pause, yields", [(0.0, 50), (0.001, 50), (1.0, 5)])
def test_if_others_take_long_the_timer_works_for_longer_before_it_yields(pause, yields):
    """A flood of requests: 10,000 calls of 10 µs each, and the time that others take between them."""
    now, taken = [100.0], []

    def pass_on(seconds):
        now[0] += seconds

    timer = Timer(20, clock=lambda: now[0], yield_control=lambda: (taken.append(now[0]), pass_on(pause)))
    for _ in range(10_000):
        timer._wheel.add(Clocked(Timed(1e9), then=lambda: pass_on(0.00001)), 100)
    timer._wheel.call_due_members(100, timer._let_others_run)
    assert abs(len(taken) - yields) <= 1


# -- coming and going --------------------------------------------------------


def test_a_member_without_a_next_call_is_forgotten():
    wheel = Timed(0.25)
    member = Clocked(wheel)
    wheel.add(member, 0)
    assert len(wheel) == 1
    wheel.call_due_members(0)
    assert (len(wheel), member.timer_slot) == (0, None)


def test_a_removed_member_is_not_called():
    wheel = Timed(0.25)
    member = Clocked(wheel, 1)
    wheel.add(member, 1)
    wheel.remove(member)
    run(wheel, 5)
    assert (member.calls, len(wheel), member.timer_slot) == ([], 0, None)


def test_a_member_that_is_not_there_can_be_removed():
    wheel = Timed(0.25)
    member = Clocked(wheel, 1)
    wheel.remove(member)
    wheel.add(member, 1)
    wheel.remove(member)
    wheel.remove(member)
    assert len(wheel) == 0


def test_a_member_that_is_removed_during_its_own_call_is_not_called_again():
    wheel = Timed(0.25)
    member = Clocked(wheel, 1, then=lambda: wheel.remove(member))
    wheel.add(member, 1)
    run(wheel, 5)
    assert (member.calls, len(wheel), member.timer_slot) == ([1.0], 0, None)


def test_members_that_are_removed_during_the_call_of_another_are_not_called():
    wheel = Timed(0.25)
    members = [Clocked(wheel, 1, then=lambda: [wheel.remove(other) for other in members]) for _ in range(5)]
    for member in members:
        wheel.add(member, 1)
    run(wheel, 5)
    assert sum(len(member.calls) for member in members) == 1
    assert len(wheel) == 0


def test_a_member_that_is_removed_and_added_again_during_its_call_stays():
    wheel = Timed(0.25)
    member = Clocked(wheel, None, then=lambda: (wheel.remove(member), wheel.add(member, wheel.now + 2)))
    wheel.add(member, 1)
    wheel.call_due_members(1)
    assert len(wheel) == 1
    wheel.call_due_members(3)
    assert member.calls == [1, 3]


def test_members_that_are_added_during_a_call_are_called():
    wheel = Timed(0.25)
    second = Clocked(wheel)
    first = Clocked(wheel, then=lambda: wheel.add(second, 0))
    wheel.add(first, 1)
    run(wheel, 2)
    assert len(second.calls) == 1


def test_a_member_that_raises_does_not_stop_the_others_and_is_called_again(caplog):
    wheel = Timed(0.25)
    good, bad = [Clocked(wheel, 1) for _ in range(5)], Clocked(wheel, 1, then=fail)
    for member in [bad] + good:
        wheel.add(member, 1)
    run(wheel, 4)
    assert [member.calls for member in good] == [[1.0, 2.0, 3.0, 4.0]] * 5
    assert (bad.calls, len(wheel)) == ([1.0, 2.25, 3.5], 6)
    assert [record.getMessage() for record in caplog.records] == [
        "the timer's work for a Clocked failed: ValueError('a bad call')"
    ]


def test_a_stream_whose_call_raises_is_ended():
    wheel = TimerWheel(0.25)
    stream = Stream(("jobs",), None, StreamLimits(10, 1000, 20.0, b": heartbeat\n\n"), 0.0)
    stream.opening = iter(())
    stream.take_bytes(0.0)
    stream.park_transport(fail)  # a transport that cannot be woken
    wheel.add(stream, 20.0)
    wheel.call_due_members(20.0)
    assert stream.reason == "an error was raised in the timer's work for this stream"


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, KeyboardInterrupt])
def test_what_ends_a_thread_ends_the_timer_and_loses_no_member(error):
    def end():
        raise error

    wheel = TimerWheel(0.25)
    member = Clocked(wheel, 1, then=end)
    wheel.now = 1.0
    wheel.add(member, 1)
    with pytest.raises(error):
        wheel.call_due_members(1.0)
    assert len(wheel) == 1


# -- cost --------------------------------------------------------------------


def test_a_tick_costs_what_its_own_members_cost():
    wheel = Timed(0.25)
    members = [Clocked(wheel, 20) for _ in range(10_000)]
    for number, member in enumerate(members):
        wheel.add(member, 20 * number / 10_000)
    calls = []
    for now in ticks(0.25, 39.75):
        before = sum(len(member.calls) for member in members)
        wheel.call_due_members(now)
        calls.append(sum(len(member.calls) for member in members) - before)
    assert set(calls) == {125}


def test_empty_slots_are_forgotten():
    wheel = Timed(0.25)
    member = Clocked(wheel, 1)
    wheel.add(member, 0)
    run(wheel, 1000)
    assert len(wheel._slots) == 1


# -- the clock itself --------------------------------------------------------


@pytest.mark.parametrize("heartbeat, tick", [(20, 0.25), (3600, 0.25), (8, 0.1), (0.8, 0.01)])
def test_the_tick_is_a_small_part_of_the_heartbeat(heartbeat, tick):
    assert Timer(heartbeat)._wheel.tick == pytest.approx(tick)


def test_there_is_no_thread_before_the_first_member(monkeypatch):
    monkeypatch.setattr("threading.Thread", fail)
    assert not get_timer_loop().has(Timer(20))


def test_which_member_is_due_next():
    wheel = Timed(0.25)
    assert wheel.get_next_due() is None
    members = [Clocked(wheel) for _ in range(2)]
    wheel.add(members[0], 7.1)
    wheel.add(members[1], 3.0)
    assert wheel.get_next_due() == pytest.approx(3.125)
    wheel.call_due_members(wheel.get_next_due())
    assert [member.calls for member in members] == [[], [3.125]]
    wheel.remove(members[0])
    assert wheel.get_next_due() is None


def test_a_paused_timer_calls_members_only_when_it_is_asked_to():
    now, called = [0.0], []

    class Member:
        timer_slot = None

        def run_due_work(self, at):
            called.append(now[0])
            return now[0] + 1

    class Counting:
        """The lock around each of the thread's turns."""

        count = 0

        def __enter__(self):
            self.count += 1

        def __exit__(self, *_):
            pass

    timer = Timer(0.08, clock=lambda: now[0])  # a tick of a millisecond
    turns = timer._turn = Counting()
    timer.pause()
    timer.add(Member(), 0.0)
    now[0] = 5.0
    timer.call_due_members()
    assert called == [5.0]
    now[0] = 9.0
    before = turns.count
    until(lambda: turns.count > before + 4, 2, "it has no turns")
    assert (called, timer.loop_lag.late_turns) == ([5.0], 0)
    timer.resume()
    until(lambda: len(called) > 1, 2, "resumed, it calls nobody")
    timer.stop()
    assert timer.loop_lag.late_turns == 0
