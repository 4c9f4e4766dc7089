"""What a process announces of its users: by channel and user, in batches, and again when the store lost it."""

from __future__ import annotations

import time

import pytest

import flask_ssemux
from flask_ssemux.brokers import HistoryLimits
from flask_ssemux.brokers.memory import MemoryBroker
from flask_ssemux.brokers.memory.presence import MemoryPresence
from flask_ssemux.errors import ApplicationError, BrokerUnavailable, InvalidChannel
from flask_ssemux.hub import presence as module
from flask_ssemux.hub import roster
from flask_ssemux.hub.limits import StreamLimits
from flask_ssemux.hub.presence import PresenceTracker
from flask_ssemux.hub.stream import Stream
from tests.harness.waiting import until


class Noting(MemoryPresence):
    """Records what is announced, and can be made unavailable."""

    def __init__(self, store):
        super().__init__(store)
        self.announced = []
        self.is_away = False

    def announce_presence(self, counts, seconds, replace_all=False):
        self.announced.append((dict(counts), replace_all))
        if self.is_away:
            raise BrokerUnavailable("the store is away")
        return super().announce_presence(counts, seconds, replace_all)


class Listener:
    """Records who arrives on the channel `a` and who leaves it, and can fail."""

    def __init__(self, grace=None):
        self.grace = grace
        self.changes = []
        self.is_away = False

    @property
    def follows_changes(self):
        return self.grace is not None

    def get_grace(self, channel):
        return self.grace if channel == "a" else None

    def announce_changes(self, changes):
        if self.is_away:
            raise BrokerUnavailable("the store is away")
        self.changes += [(change.kind, change.user) for change in changes]


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def broker():
    made = MemoryBroker(HistoryLimits())
    made.presence = Noting(made._store)
    yield made
    made.close()


@pytest.fixture
def tracker(broker, listener, monkeypatch):
    monkeypatch.setattr(module, "RETRY_PAUSE", 0.01)
    monkeypatch.setattr(module, "MIN_LIFETIME", 0.0)
    return PresenceTracker(
        broker.presence, 60.0, lambda channels: [channel for channel in channels if channel in ("a", "b")], listener
    )


def stream(user, *channels):
    return Stream(channels, user, StreamLimits(10, 1000, 20.0, b""), 0.0)


def wait(broker, expected, channel="a"):
    until(
        lambda: broker.presence.get_presence(channel) == expected, 5, lambda: str(broker.presence.get_presence(channel))
    )


def test_streams_are_counted_by_channel_and_user(broker, tracker):
    ann, other = stream("ann", "a", "b", "c"), stream("ann", "a")
    for one in (ann, other, stream(None, "a"), stream(None, "a")):
        tracker.add_stream(one)
    wait(broker, {"ann": 2, "": 2})
    wait(broker, {"ann": 1}, "b")
    tracker.remove_stream(ann)
    wait(broker, {"ann": 1, "": 2})
    assert (broker.presence.get_presence("b"), broker.presence.get_presence("c")) == ({}, {})


def test_nothing_is_announced_for_channels_that_are_not_tracked(broker, tracker):
    tracker.add_stream(stream("ann", "c", "*"))
    assert broker.presence.announced == [] and not tracker._loop.is_running


def test_many_changes_are_announced_in_batches(broker, tracker, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 100)
    for number in range(250):
        tracker.add_stream(stream(str(number), "a"))
    wait(broker, {str(number): 1 for number in range(250)})
    announced = broker.presence.announced
    assert len(announced) <= 6 and [is_complete for _, is_complete in announced] == [True] + [False] * (
        len(announced) - 1
    )


def test_after_the_last_stream_nobody_is_present_and_the_thread_ends(broker, tracker):
    streams = [stream(None, "a") for _ in range(3)]
    for one in streams:
        tracker.add_stream(one)
    wait(broker, {"": 3})
    for one in streams:
        tracker.remove_stream(one)
    wait(broker, {})
    until(lambda: not tracker._loop.is_running, 5, "the thread goes on without streams")
    tracker.add_stream(streams[0])
    wait(broker, {"": 1})


def test_a_stream_that_is_removed_before_it_is_added_is_not_present(broker, tracker):
    gone = stream("ann", "a")
    tracker.remove_stream(gone)
    tracker.add_stream(gone)
    tracker.add_stream(stream("bob", "a"))
    wait(broker, {"bob": 1})


def test_after_an_outage_everything_is_announced_again(broker, tracker):
    tracker.add_stream(stream("ann", "a"))
    wait(broker, {"ann": 1})
    broker.presence.is_away = True
    tracker.add_stream(stream("bob", "a"))
    until(lambda: len(broker.presence.announced) > 3, 5, "the announcement is not repeated")
    broker.presence.is_away = False
    wait(broker, {"ann": 1, "bob": 1})
    assert broker.presence.announced[-1] == ({("a", "ann"): 1, ("a", "bob"): 1}, True)


def test_a_store_that_lost_the_announcements_gets_all_of_them_again(broker, listener, monkeypatch):
    monkeypatch.setattr(module, "MIN_LIFETIME", 0.0)
    tracker = PresenceTracker(broker.presence, 0.6, lambda channels: channels, listener)  # renewed every 0.2 s
    tracker.add_stream(stream("ann", "a"))
    wait(broker, {"ann": 1})
    with broker._store.changed:
        broker.presence._counts.clear()
        broker.presence._expires_at = 0.0
    wait(broker, {"ann": 1})
    for _ in range(8):  # as long as it lives
        time.sleep(0.1)
        assert broker.presence.get_presence("a") == {"ann": 1}


def test_another_kind_of_error_does_not_end_the_tracker(broker, tracker, caplog):
    inner, broker.presence.announce_presence = broker.presence.announce_presence, lambda *_: 1 / 0
    tracker.add_stream(stream("ann", "a"))
    until(lambda: "ZeroDivisionError" in caplog.text, 5, "nothing is logged")
    broker.presence.announce_presence = inner
    wait(broker, {"ann": 1})


# -- arrivals and departures ---------------------------------------------------


def wait_changes(listener, expected):
    until(lambda: sorted(listener.changes) == sorted(expected), 5, lambda: str(listener.changes))


def test_arrivals_and_departures_are_announced_once_for_each_user(tracker, listener):
    listener.grace = 0.0
    streams = [stream("ann", "a", "b"), stream("ann", "a"), stream("bob", "a"), stream("cid", "b"), stream(None, "a")]
    for one in streams:
        tracker.add_stream(one)
    wait_changes(listener, [("join", "ann"), ("join", "bob")])
    tracker.remove_stream(streams[0])
    tracker.remove_stream(streams[2])
    wait_changes(listener, [("join", "ann"), ("join", "bob"), ("leave", "bob")])
    for one in (streams[1], *streams[3:]):
        tracker.remove_stream(one)
    wait_changes(listener, [("join", "ann"), ("join", "bob"), ("leave", "ann"), ("leave", "bob")])
    until(lambda: not tracker._loop.is_running, 5, "the thread goes on without streams")


def test_the_thread_waits_for_the_departure_of_the_last_user(tracker, listener, broker):
    listener.grace = 3600.0
    one = stream("ann", "a")
    tracker.add_stream(one)
    wait_changes(listener, [("join", "ann")])
    tracker.remove_stream(one)
    until(lambda: tracker._roster.next_due is not None, 5, "the absence is not noted")
    with tracker._changed:
        assert listener.changes == [("join", "ann")] and tracker._loop.is_running
        broker.presence._roster["a", "ann"].due = 0.0
        tracker._changed.notify_all()
    wait_changes(listener, [("join", "ann"), ("leave", "ann")])
    until(lambda: not tracker._loop.is_running, 5, "the thread goes on without streams")


def test_what_could_not_be_announced_is_announced_later_and_once(tracker, listener):
    listener.grace, listener.is_away = 0.0, True
    one, other = stream("ann", "a"), stream("bob", "a")
    tracker.add_stream(one)
    until(lambda: tracker._presence.get_roster("a") == ["ann"], 5, "nothing happens")
    tracker.add_stream(other)
    listener.is_away = False
    wait_changes(listener, [("join", "ann"), ("join", "bob")])
    listener.is_away = True
    tracker.remove_stream(one)
    until(lambda: tracker._presence.get_roster("a") == ["bob"], 5, "nothing happens")
    tracker.add_stream(one)
    listener.is_away = False
    until(lambda: len(listener.changes) == 4, 5, lambda: str(listener.changes))
    assert listener.changes[2:] == [("leave", "ann"), ("join", "ann")]


def test_many_users_arrive_in_batches(tracker, listener, monkeypatch):
    monkeypatch.setattr(roster, "BATCH", 10)
    listener.grace = 10.0
    for number in range(35):
        tracker.add_stream(stream(str(number), "a"))
    wait_changes(listener, [("join", str(number)) for number in range(35)])


def test_nothing_is_asked_about_the_roster_while_no_channel_is_followed(tracker, broker):
    broker.presence.update_roster = lambda *_: 1 / 0
    tracker.add_stream(stream("ann", "a"))
    wait(broker, {"ann": 1})
    assert tracker._is_known


# -- what an application asks --------------------------------------------------


def test_presence_is_asked_for_by_channel(make_app):
    mux = flask_ssemux.SSEMux()
    mux.track_presence("jobs:<job_id>", "*")
    app = make_app(mux)
    with app.app_context():
        broker = app.extensions["ssemux"].worker.broker
        broker.presence.announce_presence({("jobs:1", "7"): 2, ("jobs:1", ""): 1, ("*", "7"): 3}, 60.0)
        assert flask_ssemux.presence("jobs:1") == mux.presence("jobs:1") == {"7": 2, None: 1}
        assert mux.presence("*") == {"7": 3}
        assert mux.presence("jobs:2") == {}


@pytest.mark.parametrize("channel", ["jobs", "jobs:1:2", "*", "user:7"])
def test_the_error_for_an_untracked_channel_says_what_to_call(make_app, channel):
    mux = flask_ssemux.SSEMux()
    mux.track_presence("jobs:<job_id>")
    with make_app(mux).app_context(), pytest.raises(ApplicationError) as caught:
        mux.presence(channel)
    assert str(caught.value) == (
        "presence on the channel %r is not tracked: call mux.track_presence(%r), or with a pattern that matches it, "
        "where the application is set up" % (channel, channel)
    )


def test_a_users_own_channel_is_not_tracked():
    with pytest.raises(InvalidChannel):
        flask_ssemux.SSEMux().track_presence("user:<name>")
