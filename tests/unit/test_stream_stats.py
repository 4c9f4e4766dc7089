"""The figures of a process's streams; time is passed in."""

from __future__ import annotations

import os

import pytest

from flask_ssemux.hub.limits import StreamLimits
from flask_ssemux.hub.stream import Stream
from flask_ssemux.worker import distinct, stream_stats
from flask_ssemux.worker.stream_stats import BOUNDS, StreamStats

LIMITS = StreamLimits(10, 1000, 20.0, b": heartbeat\n\n")
NOW = 1000.0


def stream(user=None, silent=0.0, *frames):
    made = Stream(("room:1",), user, LIMITS, NOW - silent)
    for frame in frames:
        made.enqueue_unlimited(frame)
    return made


def counted(streams, channels=(), others=(), breathe=lambda: None):
    made = StreamStats(lambda: NOW, breathe)
    made.count_streams(streams)
    made.count_wrapped_streams(others)
    return made.get_figures(list(channels))


def silence(**buckets):
    """Return the distribution of silences by bounds: up_to_5=2 means that two streams are silent for up to 5 s."""
    made = [0] * (len(BOUNDS) + 1)
    for name, number in buckets.items():
        made[len(BOUNDS) if name == "more" else BOUNDS.index(float(name[6:]))] = number
    return made


def test_no_streams():
    nothing = counted([])
    assert distinct.count_names(nothing.pop("sketches").values()) == (0, True)
    assert nothing == {
        "users": 0, "channels": 0, "queued": 0, "queued_bytes": 0, "deepest": 0, "silence": silence(),
        "silence_sum": 0.0, "longest_silence": 0.0,
    }  # fmt: skip


def test_users_and_channels_are_counted_once():
    streams = [stream("a"), stream("a"), stream("b"), stream(None)]
    figures = counted(streams, ["room:1", "*", "user:a", "ssemux.x", "jobs"])
    assert (figures["users"], figures["channels"]) == (2, 2)
    assert distinct.count_names([figures["sketches"]["users"], distinct.make_sketch(["b", "c"])]) == (3, True)
    assert distinct.count_names([figures["sketches"]["channels"], distinct.make_sketch(["jobs", "room:1"])]) == (
        2,
        True,
    )


def test_waiting_bytes():
    figures = counted([stream(), stream(None, 0, b"x" * 10), stream(None, 0, b"x", b"y", b"z")])
    assert (figures["queued"], figures["queued_bytes"], figures["deepest"]) == (4, 13, 3)


@pytest.mark.parametrize(
    "seconds, bucket",
    [(0, "up_to_1"), (1, "up_to_1"), (19.9, "up_to_20"), (20.3, "up_to_21"), (120, "up_to_120"), (121, "more")],
)
def test_silence(seconds, bucket):
    figures = counted([stream(None, seconds)])
    assert figures["silence"] == silence(**{bucket: 1})
    assert figures["longest_silence"] == figures["silence_sum"] == seconds


def test_old_streams_are_silent_too():
    figures = counted([stream(None, 3)], others=[NOW - 40, NOW + 0.001])
    assert figures["silence"] == silence(up_to_1=1, up_to_5=1, up_to_60=1)
    assert (figures["silence_sum"], figures["longest_silence"]) == (43.0, 40.0)


def test_a_stream_that_ended_meanwhile_is_not_counted():
    ended = stream("a", 50)
    ended.abort("a test")
    ended.mark_closed("a test")
    assert counted([ended])["users"] == sum(counted([ended])["silence"]) == 0


def test_others_run_in_between():
    breaths = []
    counted([stream()] * (3 * stream_stats.TOGETHER), breathe=lambda: breaths.append(1))
    assert len(breaths) >= 3


def test_memory_is_measured_for_this_process():
    with open("/proc/self/status") as file:
        expected = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS:"))
    assert abs(stream_stats.read_memory() - expected) < 0.2 * expected
    assert stream_stats.read_memory() % os.sysconf("SC_PAGE_SIZE") == 0
