"""What generators yield is appended together, in order and once, and only as long as their lease is held."""

from __future__ import annotations

import threading

import pytest

from flask_ssemux.brokers import NewEvent, open_broker
from flask_ssemux.errors import BrokerUnavailable
from flask_ssemux.runs import batches as batches_module
from flask_ssemux.runs.batches import OUTBOX_EVENTS, Batches, LeaseLost
from flask_ssemux.sse import encode
from tests.harness.waiting import until


@pytest.fixture
def broker():
    with_calls = open_broker("memory:")
    with_calls.calls = []
    append = with_calls.work.append_work

    def counted(batches):
        with_calls.calls.append([len(batch.events) for batch in batches])
        return append(batches)

    with_calls.work.append_work = counted
    yield with_calls
    with_calls.close()


@pytest.fixture
def batches(broker):
    return Batches(lambda: broker)


def open_run(broker, batches, number):
    run_id = "%023d" % number
    return batches.open_outbox(broker.work.begin_run(run_id, "{}")), "run:" + run_id


def make_event(channel, data):
    return NewEvent(channel, encode.make_body(channel, data))


def read_data(broker, channel):
    newest = broker.history.get_newest_cursor().sequence
    page = broker.history.read_events([channel], 0, newest, 100_000)
    return [record.body.split(b"data: ")[1].strip().decode() for record in page.records]


class Unreliable:
    """A store whose first answer is lost, and which then is away. It knows batches that are repeated, as Redis does."""

    def __init__(self, broker, monkeypatch):
        self.is_away = True
        self._answers = {}
        self._append = broker.work.append_work
        monkeypatch.setattr(broker.work, "append_work", self.append_work)

    def append_work(self, batches):
        names = tuple((batch.lease, batch.number) for batch in batches)
        if not self._answers or not self.is_away:
            self._answers[names] = self._answers.get(names) or self._append(batches)
        if self.is_away:
            raise BrokerUnavailable("away")
        return self._answers[names]


def test_the_events_of_many_generators_are_one_call_of_the_store(broker, batches, monkeypatch):
    monkeypatch.setattr(batches_module, "GATHER", 0.2)  # so that a loaded machine adds all of them in time
    outboxes = [open_run(broker, batches, number) for number in range(20)]
    for n in range(3):
        for outbox, channel in outboxes:
            outbox.add_event(make_event(channel, n))
    assert all(outbox.flush(10) for outbox, _ in outboxes)
    assert [call for call in broker.calls if call] == [[3] * 20]
    assert batches.appended == 60


def test_a_generator_waits_while_the_store_is_away_and_its_events_come_once_and_in_order(broker, batches, monkeypatch):
    monkeypatch.setattr(batches_module, "MAX_PAUSE", 0.05)
    outbox, channel = open_run(broker, batches, 1)
    added, store = [], Unreliable(broker, monkeypatch)

    def generate():
        for n in range(1000):
            outbox.add_event(make_event(channel, n))
            added.append(n)

    thread = threading.Thread(target=generate, daemon=True)
    thread.start()
    until(lambda: outbox.is_full, 10, "the outbox is never full")
    assert OUTBOX_EVENTS <= len(added) <= 2 * OUTBOX_EVENTS
    store.is_away = False
    thread.join(10)
    assert outbox.end_run("done", [make_event(channel, "end")], 10)
    assert read_data(broker, channel) == [*map(str, range(1000)), "end"]
    assert broker.work.read_runs([channel[4:]])[channel[4:]].state == "done"


def test_an_end_whose_answer_was_lost_counts_as_done(broker, batches, monkeypatch):
    outbox, channel = open_run(broker, batches, 1)
    store = Unreliable(broker, monkeypatch)
    until_lost = threading.Timer(0.1, setattr, (store, "is_away", False))
    until_lost.start()
    assert outbox.end_run("done", [make_event(channel, "end")], 10)
    assert read_data(broker, channel) == ["end"]


def test_a_run_that_two_threads_end_has_one_end(broker, batches, monkeypatch):
    monkeypatch.setattr(batches_module, "GATHER", 0.2)  # so that both are there before the store is called
    outbox, channel = open_run(broker, batches, 1)
    assert not outbox.end_run("lost", [make_event(channel, "first")], 0)
    assert outbox.end_run("lost", [make_event(channel, "second")], 10)
    assert read_data(broker, channel) == ["first"]


def test_a_broker_that_is_closed_ends_the_wait_of_its_generators(broker, batches):
    outbox, channel = open_run(broker, batches, 1)
    broker.close()
    outbox.add_event(make_event(channel, 1))
    until(lambda: outbox.is_lost, 5, "it still waits")


def test_nothing_is_appended_after_another_process_took_the_work(broker, batches):
    outbox, channel = open_run(broker, batches, 1)
    outbox.add_event(make_event(channel, 1))
    assert outbox.flush(10)
    broker.work.take_work([channel])
    outbox.add_event(make_event(channel, 2))
    assert not outbox.flush(10)
    with pytest.raises(LeaseLost, match="was taken over by another process"):
        outbox.add_event(make_event(channel, 3))
    assert not outbox.end_run("done", [make_event(channel, "end")], 10)
    assert read_data(broker, channel) == ["1"]
