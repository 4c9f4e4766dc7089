"""Properties of the memory broker's history beside its contract: what the garbage collector tracks, and which event is
the oldest.

What every engine promises is tested in ``tests/brokers``.
"""

from __future__ import annotations

import gc

from hypothesis import given
from hypothesis import strategies as st

from flask_ssemux.brokers import HistoryLimits
from flask_ssemux.brokers.memory.kept_events import KeptEvents

LIMITS = HistoryLimits(seconds=10.0, events=4, size=100)


def test_the_garbage_collector_does_not_follow_events():
    history, bodies = KeptEvents(), [b"event %d" % number for number in range(30)]
    for number, body in enumerate(bodies):
        history.append_event("room:%d" % (number % 3), body, None, HistoryLimits(), float(number))
    gc.collect()
    assert [one for one in gc.get_referrers(*bodies) if isinstance(one, tuple)] == []


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 60), st.sampled_from([0.0, 1.0, 6.0])), max_size=60)
)
def test_the_oldest_events_are_removed_first_whatever_their_channel(appends):
    history, now = KeptEvents(), 0.0
    kept: list[tuple[int, str, int, float]] = []
    for sequence, (channel, size, wait) in enumerate(appends, 1):
        now += wait
        history.append_event(channel, size * b"x", None, LIMITS, now)
        kept.append((sequence, channel, size, now))
        while kept[0][3] < now - LIMITS.seconds or (sum(event[2] for event in kept) > LIMITS.size and len(kept) > 1):
            del kept[0]
        of_channel = [event for event in kept if event[1] == channel]
        for event in of_channel[: -LIMITS.events]:
            kept.remove(event)
        found = [history.read_channel(name, 0, sequence, 100, 10_000, True).records for name in "abcdef"]
        assert sorted(record.sequence for records in found for record in records) == [event[0] for event in kept]
        assert len(history._heads[False]) == len({event[1] for event in kept})
