"""What a process says of who is there: by channel and user, together, and anew when it was lost."""

from __future__ import annotations

import time

import pytest

import flask_ssemux
from flask_ssemux.brokers import HistoryLimits
from flask_ssemux.brokers.memory import MemoryBroker
from flask_ssemux.brokers.memory.presence import MemoryPresence
from flask_ssemux.errors import ApplicationError, BrokerUnavailable, InvalidChannel
from flask_ssemux.hub import presence as module
from flask_ssemux.hub.limits import StreamLimits
from flask_ssemux.hub.presence import PresenceTracker
from flask_ssemux.hub.stream import Stream
from tests.harness.waiting import until


class Noting(MemoryPresence):
    """Notes what is announced, and may be away."""

    def __init__(self, store):
        super().__init__(store)
        self.told = []
        self.is_away = False

    def announce_presence(self, counts, seconds, replace_all=False):
        self.told.append((dict(counts), replace_all))
        if self.is_away:
            raise BrokerUnavailable("it is away")
        return super().announce_presence(counts, seconds, replace_all)


@pytest.fixture
def broker():
    made = MemoryBroker(HistoryLimits())
    made.presence = Noting(made._store)
    yield made
    made.close()


@pytest.fixture
def attendance(broker, monkeypatch):
    monkeypatch.setattr(module, "RETRY_PAUSE", 0.01)
    monkeypatch.setattr(module, "MIN_LIFETIME", 0.0)
    return PresenceTracker(broker, 60.0, lambda channels: [channel for channel in channels if channel in ("a", "b")])


def stream(user, *channels):
    return Stream(channels, user, StreamLimits(10, 1000, 20.0, b""), 0.0)


def wait(broker, expected, channel="a"):
    until(
        lambda: broker.presence.get_presence(channel) == expected, 5, lambda: str(broker.presence.get_presence(channel))
    )


def test_streams_are_counted_by_channel_and_user(broker, attendance):
    ann, other = stream("ann", "a", "b", "c"), stream("ann", "a")
    for one in (ann, other, stream(None, "a"), stream(None, "a")):
        attendance.add_stream(one)
    wait(broker, {"ann": 2, "": 2})
    wait(broker, {"ann": 1}, "b")
    attendance.remove_stream(ann)
    wait(broker, {"ann": 1, "": 2})
    assert (broker.presence.get_presence("b"), broker.presence.get_presence("c")) == ({}, {})


def test_nothing_is_done_for_channels_that_are_not_tracked(broker, attendance):
    attendance.add_stream(stream("ann", "c", "*"))
    assert broker.presence.told == [] and not attendance._loop.is_running


def test_a_storm_is_told_together_and_in_parts(broker, attendance, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 100)
    for number in range(250):
        attendance.add_stream(stream(str(number), "a"))
    wait(broker, {str(number): 1 for number in range(250)})
    told = broker.presence.told
    assert len(told) <= 6 and [anew for _, anew in told] == [True] + [False] * (len(told) - 1)


def test_nobody_is_there_when_all_have_left_and_the_thread_ends(broker, attendance):
    streams = [stream(None, "a") for _ in range(3)]
    for one in streams:
        attendance.add_stream(one)
    wait(broker, {"": 3})
    for one in streams:
        attendance.remove_stream(one)
    wait(broker, {})
    until(lambda: not attendance._loop.is_running, 5, "a thread waits for nobody")
    attendance.add_stream(streams[0])
    wait(broker, {"": 1})


def test_one_that_left_before_it_came_is_not_there(broker, attendance):
    gone = stream("ann", "a")
    attendance.remove_stream(gone)
    attendance.add_stream(gone)
    attendance.add_stream(stream("bob", "a"))
    wait(broker, {"bob": 1})


def test_after_an_outage_all_is_told_anew(broker, attendance):
    attendance.add_stream(stream("ann", "a"))
    wait(broker, {"ann": 1})
    broker.presence.is_away = True
    attendance.add_stream(stream("bob", "a"))
    until(lambda: len(broker.presence.told) > 3, 5, "it is not tried again")
    broker.presence.is_away = False
    wait(broker, {"ann": 1, "bob": 1})
    assert broker.presence.told[-1] == ({("a", "ann"): 1, ("a", "bob"): 1}, True)


def test_a_store_that_forgot_is_told_all(broker, monkeypatch):
    monkeypatch.setattr(module, "MIN_LIFETIME", 0.0)
    attendance = PresenceTracker(broker, 0.6, lambda channels: channels)  # renewed every 0.2 s
    attendance.add_stream(stream("ann", "a"))
    wait(broker, {"ann": 1})
    with broker._store.changed:
        broker.presence._counts.clear()
        broker.presence._expires_at = 0.0
    wait(broker, {"ann": 1})
    for _ in range(8):  # as long as it lives
        time.sleep(0.1)
        assert broker.presence.get_presence("a") == {"ann": 1}


def test_an_error_of_another_kind_does_not_end_it(broker, attendance, caplog):
    inner, broker.presence.announce_presence = broker.presence.announce_presence, lambda *_: 1 / 0
    attendance.add_stream(stream("ann", "a"))
    until(lambda: "ZeroDivisionError" in caplog.text, 5, "nothing is logged")
    broker.presence.announce_presence = inner
    wait(broker, {"ann": 1})


# -- what an application asks --------------------------------------------------


def test_who_is_there_is_asked_by_channel(make_app):
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
def test_a_channel_that_is_not_tracked_says_what_to_call(make_app, channel):
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
