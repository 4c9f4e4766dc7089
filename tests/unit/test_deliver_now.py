"""An event that a process published reaches its own streams before ``publish`` returns, in the broker's order."""

from __future__ import annotations

import threading
import time

import gevent
import gevent.thread
import pytest

from flask_ssemux.brokers import HistoryLimits, Record
from flask_ssemux.brokers.memory import MemoryBroker
from flask_ssemux.brokers.memory.delivery import MemoryDelivery
from flask_ssemux.brokers.sqlite import SQLiteBroker
from flask_ssemux.brokers.sqlite import delivery as sqlite_delivery
from flask_ssemux.hub.fanout import FEW
from flask_ssemux.hub.hub import Hub
from flask_ssemux.hub.stream import Stream
from flask_ssemux.hub.subscriptions import Subscriptions
from flask_ssemux.options import Options
from flask_ssemux.sse.cursor import Cursor
from flask_ssemux.sse.encode import make_body
from flask_ssemux.worker.timer import Timer
from tests.harness.waiting import until
from tests.unit.test_hub import Client, publish, sequence


@pytest.fixture(params=["memory", "sqlite"])
def live(tmp_path, request, monkeypatch):
    """A hub with a stream, whose broker has found out up to where events were delivered, and looks when it is woken."""
    monkeypatch.setattr(sqlite_delivery, "SAFETY_POLL", 60.0)
    broker = SQLiteBroker(str(tmp_path / "store")) if request.param == "sqlite" else MemoryBroker(HistoryLimits())
    hub = Hub(broker, Timer(20.0), Options(), lambda: time.sleep(0.001))
    client = Client(hub.open_stream(["a"], None))
    publish(hub, "a", "first")
    client.wait(1)
    yield hub, client
    broker.close()


def test_it_is_delivered_before_publish_returns_without_a_thread(live):
    hub, client = live
    for number in range(5):
        publish(hub, "a", str(number))
        assert client.events("message")[-1].data == str(number)


def test_it_is_delivered_after_those_that_came_before_it(live):
    """While the broker's thread delivers something else, it delivers the event, too."""
    hub, client = live
    history = hub.broker.history
    with (history._delivery if isinstance(hub.broker, SQLiteBroker) else history._deliveries[0])._turn:
        publish(hub, "a", "1")
        publish(hub, "a", "2")
        assert len(client.events("message")) == 1
    assert [event.data for event in client.wait(3)] == ["first", "1", "2"]
    publish(hub, "a", "3")
    assert [event.data for event in client.wait(4)][3:] == ["3"]


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
def test_a_publisher_does_not_let_others_run_while_the_thread_delivers_something_else(engine):
    """Under gevent, ``acquire(False)`` of a lock that is held lets all other greenlets run first."""
    record, start, ran = Record(1, "a", b""), Cursor("epoch", 0), []
    if engine == "sqlite":
        delivery, values = sqlite_delivery.SQLiteDelivery(None, None, None, None, start), (Cursor("epoch", 1), record)
    else:
        delivery, values = MemoryDelivery(None, None, None, start), (record,)
    delivery._turn = gevent.thread.allocate_lock()
    with delivery._turn:
        other = gevent.spawn(ran.append, 1)
        assert not delivery.deliver_now(*values) and not ran
    other.join()


def test_a_publisher_that_goes_on_delivers_all_its_events_itself(live):
    """Now and then it lets others run, and if that fails, the thread delivers the event."""
    hub, client = live
    fan_out, yields = hub._fan_out, []

    def note():
        yields.append(len(client.events("message")))
        if len(yields) == 2:
            raise OSError("others cannot run")

    fan_out._max_deliveries, fan_out._yield_control = 10, note
    history = hub.broker.history
    delivery = history._delivery if isinstance(hub.broker, SQLiteBroker) else history._deliveries[0]
    by_thread = []
    for number in range(1, 46):
        publish(hub, "a", str(number))
        if client.events("message")[-1].data != str(number):
            by_thread.append(number)
            client.wait(number + 1)
            with delivery._turn:
                pass  # the thread has done its work
    assert len(yields) >= 4 and len(by_thread) <= 1  # none, if the thread was faster than this line
    assert [event.data for event in client.events("message")] == ["first", *map(str, range(1, 46))]


def test_many_streams_get_it_from_the_thread(live):
    hub, client = live
    others = [Client(hub.open_stream(["a"], None)) for _ in range(FEW)]
    publish(hub, "a", "1")
    for one in [client, *others]:
        assert one.wait(1)[-1].data == "1" or one.wait(2)[-1].data == "1"


def test_order_holds_if_several_threads_and_processes_publish(live, tmp_path):
    hub, client = live
    brokers = [hub.broker] * 3
    if isinstance(hub.broker, SQLiteBroker):
        brokers[1] = SQLiteBroker(str(tmp_path / "store"))

    def publish_all(broker):
        for _ in range(300):
            broker.history.append_event("a", make_body("a", "x"))

    threads = [threading.Thread(target=publish_all, args=(broker,)) for broker in brokers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: len(client.events("message")) >= 901, 20, lambda: "of 901: %d" % len(client.events("message")))
    numbers = [sequence(event) for event in client.events("message")]
    assert numbers == list(range(1, 902))
    if brokers[1] is not hub.broker:
        brokers[1].close()


def test_a_publisher_that_is_ended_meanwhile_leaves_no_stream_without_the_event(live, monkeypatch):
    """What ends the publisher's greenlet ends the event's streams, so that their clients come back for it."""
    hub, client = live
    offer = Stream.offer

    def end(stream, frame, sequence=None):
        monkeypatch.setattr(Stream, "offer", offer)
        raise GeneratorExit

    monkeypatch.setattr(Stream, "offer", end)
    with pytest.raises(GeneratorExit):
        publish(hub, "a", "1")
    assert client.stream.is_over or client.stream._is_ending


def test_a_publisher_that_is_ended_before_it_delivers_leaves_the_event_to_the_threads(live, tmp_path, monkeypatch):
    """Here and in other processes. The greenlet may be ended where it waits for a lock."""
    hub, client = live
    list_subscribers = Subscriptions.list_subscribers

    def end(subscriptions, channel):
        monkeypatch.setattr(Subscriptions, "list_subscribers", list_subscribers)
        raise GeneratorExit

    other = client
    if isinstance(hub.broker, SQLiteBroker):
        other_broker = SQLiteBroker(str(tmp_path / "store"))
        other_hub = Hub(other_broker, Timer(20.0), Options(), lambda: time.sleep(0.001))
        other = Client(other_hub.open_stream(["a"], None))
        publish(hub, "a", "second")
        other.wait(1)
    count = len(client.events("message"))
    monkeypatch.setattr(Subscriptions, "list_subscribers", end)
    with pytest.raises(GeneratorExit):
        publish(hub, "a", "last")
    assert client.wait(count + 1)[-1].data == "last"
    until(lambda: other.events("message")[-1].data == "last", 10, lambda: other.events("message"))
    if other is not client:
        other_broker.close()


def test_an_event_does_not_overtake_the_end_of_an_outage(tmp_path):
    broker = SQLiteBroker(str(tmp_path / "store"))
    hub = Hub(broker, Timer(20.0), Options(), lambda: time.sleep(0.001))
    client = Client(hub.open_stream(["a"], None))
    publish(hub, "a", "first")
    client.wait(1)
    delivery, found = broker.history._delivery, []
    with delivery._turn:
        delivery._is_lost = True
    report_found = delivery._listener.report_found
    delivery._listener = delivery._listener._replace(
        report_found=lambda: (found.append(len(client.events("message"))), report_found())
    )
    publish(hub, "a", "second")
    assert client.wait(2)[-1].data == "second"
    until(lambda: found, 10, lambda: "not found")
    assert found == [1]
    broker.close()
