"""The contract of delivery: what a listener receives. The suite of ``EventHistory.start_delivery`` and its like."""

from __future__ import annotations

import threading

from flask_ssemux.brokers import Record
from flask_ssemux.brokers.contract import constants
from tests.brokers.processes import APPEND, process
from tests.brokers.suites.history import fill
from tests.harness.waiting import until


class DeliverySuite:
    """What every engine promises."""

    def test_events_after_the_start_are_delivered_in_order_and_once(self, broker, recorder):
        fill(broker, ["before"])
        assert broker.history.start_delivery(recorder.listener).sequence == 1
        broker.history.subscribe_channels(["a", "b"])
        fill(broker, ["a", "b"] * 400)
        recorder.wait(800)
        assert recorder.sequences == list(range(2, 802))
        assert recorder.records[0] == Record(2, "a", b"body 0")

    def test_events_of_many_publishers_are_delivered(self, broker, recorder):
        broker.history.start_delivery(recorder.listener)
        broker.history.subscribe_channels(["a"])
        threads = [threading.Thread(target=fill, args=(broker, ["a"] * 100)) for _ in range(5)]
        for thread in threads:
            thread.start()
        recorder.wait(500)
        for thread in threads:
            thread.join()
        assert recorder.sequences == list(range(1, 501))

    def test_a_listener_that_raises_does_not_stop_delivery(self, broker, recorder, caplog):
        failing = recorder.listener._replace(deliver=lambda records: recorder.records.extend(records) or 1 / 0)
        broker.history.start_delivery(failing)
        broker.history.subscribe_channels(["a"])
        fill(broker, ["a"])
        recorder.wait(1)
        fill(broker, ["a"])
        assert [record.sequence for record in recorder.wait(2)] == [1, 2]
        assert "delivery from the" in caplog.text


class DeliveryFromHistorySuite:
    """What engines promise that deliver from the history, and not beside it."""

    def test_events_that_were_trimmed_before_delivery_are_reported_as_a_gap(self, make, recorder, monkeypatch):
        """A listener that blocks for longer than events are kept for it is called with the gap, in the right order."""
        monkeypatch.setattr(constants, "LIVE_SECONDS", 0.0)
        monkeypatch.setattr(constants, "LIVE_EVENTS", 20)
        broker = make(events=10)
        slow, is_waiting, go_on = recorder.make_blocked_listener()
        broker.history.start_delivery(slow)
        broker.history.subscribe_channels(["a"])
        fill(broker, ["a"])
        assert is_waiting.wait(10)
        fill(broker, ["a"] * 1000, size=2000)  # PostgreSQL sends smaller ones with their notifications
        go_on.set()
        until(lambda: recorder.sequences and recorder.sequences[-1] == 1001, 5, lambda: str(recorder.sequences))
        assert recorder.gaps and recorder.gaps[0][0] == ["a"]
        assert recorder.sequences == sorted(set(recorder.sequences))


class SharedDeliverySuite:
    """What engines promise that several processes share. Real processes."""

    def test_events_of_several_processes_have_one_order(self, make_shared, shared_url, recorder):
        broker = make_shared()
        broker.history.start_delivery(recorder.listener)
        broker.history.subscribe_channels(["c0", "c1", "c2"])
        writers = [process(APPEND, shared_url, "c%d" % n, 150) for n in range(3)]
        numbers = [int(line) for writer in writers for line in writer.communicate(timeout=60)[0].split()]
        recorder.wait(450)
        assert sorted(numbers) == recorder.sequences == list(range(1, 451))
        for n in range(3):
            assert [r.body for r in recorder.records if r.channel == "c%d" % n] == [b"%d" % i for i in range(150)]
