"""An event that a process published reaches its own streams before ``publish`` returns, in the broker's order."""

from __future__ import annotations

import threading
import time

import gevent
import gevent.thread
import pytest

from flask_ssemux.brokers import HistoryLimits, Listener, Record, open_broker
from flask_ssemux.brokers.memory import MemoryBroker
from flask_ssemux.brokers.memory.delivery import MemoryDelivery
from flask_ssemux.brokers.postgres.delivery import PostgresDelivery
from flask_ssemux.brokers.redis.delivery import RedisDelivery
from flask_ssemux.brokers.redis.subscription import Subscription
from flask_ssemux.brokers.sqlite import SQLiteBroker
from flask_ssemux.brokers.sqlite import delivery as sqlite_delivery
from flask_ssemux.brokers.sqlite.delivery import SQLiteDelivery
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


@pytest.fixture(params=["memory", "sqlite", "redis"])
def live(tmp_path, request, monkeypatch):
    """A hub with a stream, whose broker has found out up to where events were delivered, and looks when it is woken."""
    monkeypatch.setattr(sqlite_delivery, "SAFETY_POLL", 60.0)
    gate = let_thread_wait(monkeypatch) if request.param == "redis" else threading.Event()
    urls = {"memory": "memory:", "sqlite": "sqlite:///%s" % (tmp_path / "store")}
    broker = open_broker(urls.get(request.param) or request.getfixturevalue("redis_url"), HistoryLimits())
    hub = Hub(broker, Timer(20.0), Options(), lambda: time.sleep(0.001))
    client = Client(hub.open_stream(["a"], None))
    publish(hub, "a", "first")
    client.wait(1)
    await_rest(broker)
    hub.gate = gate
    yield hub, client
    gate.set()
    broker.close()


def await_rest(broker):
    """Return when the broker's thread waits for events, and so does not deliver the next one before its publisher."""
    if isinstance(broker, MemoryBroker):
        until(lambda: broker.history._store.changed._waiters, 10, lambda: "the thread works")
    elif isinstance(broker, SQLiteBroker):
        until(lambda: broker.history._appended._cond._waiters, 10, lambda: "the thread works")


def let_thread_wait(monkeypatch):
    """Return an event; while it is not set, the thread of the Redis broker delivers nothing. Redis announces an event
    to it at the moment in which it answers the publisher, and either may be faster."""
    gate, receive = threading.Event(), Subscription.receive

    def wait(subscription, timeout):
        news = receive(subscription, timeout)
        assert gate.wait(30)
        return news

    monkeypatch.setattr(Subscription, "receive", wait)
    gate.set()
    return gate


def find_delivery(hub):
    history = hub.broker.history
    return history._deliveries[0] if isinstance(hub.broker, MemoryBroker) else history._delivery


def open_other_broker(hub, request, tmp_path):
    """Return another broker on the same store; None if there is none."""
    if isinstance(hub.broker, MemoryBroker):
        return None
    if isinstance(hub.broker, SQLiteBroker):
        return SQLiteBroker(str(tmp_path / "store"))
    return open_broker(request.getfixturevalue("redis_url"), HistoryLimits())


def test_it_is_delivered_before_publish_returns_without_a_thread(live):
    hub, client = live
    hub.gate.clear()
    for number in range(5):
        publish(hub, "a", str(number))
        assert client.events("message")[-1].data == str(number)


def test_it_is_delivered_after_those_that_came_before_it(live):
    """While the broker's thread delivers something else, it delivers the event, too."""
    hub, client = live
    with find_delivery(hub)._turn:
        publish(hub, "a", "1")
        publish(hub, "a", "2")
        assert len(client.events("message")) == 1
    assert [event.data for event in client.wait(3)] == ["first", "1", "2"]
    publish(hub, "a", "3")
    assert [event.data for event in client.wait(4)][3:] == ["3"]


@pytest.mark.parametrize("engine", ["memory", "sqlite", "redis", "postgres"])
def test_a_publisher_does_not_let_others_run_while_the_thread_delivers_something_else(engine):
    """Under gevent, ``acquire(False)`` of a lock that is held lets all other greenlets run first."""
    record, start, ran = Record(1, "a", b""), Cursor("epoch", 0), []
    delivery, values = {
        "memory": lambda: (MemoryDelivery(None, None, None, start), (record,)),
        "sqlite": lambda: (SQLiteDelivery(None, None, None, None, start), (Cursor("epoch", 1), record)),
        "redis": lambda: (RedisDelivery(None, None, start), (Cursor("epoch", 1), record)),
        "postgres": lambda: (PostgresDelivery(None, None, start), (Cursor("epoch", 1), record)),
    }[engine]()
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
    hub.gate.clear()
    delivery = find_delivery(hub)
    by_thread = []
    for number in range(1, 46):
        publish(hub, "a", str(number))
        if client.events("message")[-1].data != str(number):
            by_thread.append(number)
            hub.gate.set()
            client.wait(number + 1)
            with delivery._turn:
                hub.gate.clear()  # the thread has done its work
    assert len(yields) >= 4 and len(by_thread) <= 1  # none, if the thread was faster than this line
    assert [event.data for event in client.events("message")] == ["first", *map(str, range(1, 46))]


def test_many_streams_get_it_from_the_thread(live):
    hub, client = live
    others = [Client(hub.open_stream(["a"], None)) for _ in range(FEW)]
    publish(hub, "a", "1")
    for one in [client, *others]:
        assert one.wait(1)[-1].data == "1" or one.wait(2)[-1].data == "1"


def test_order_holds_if_several_threads_and_processes_publish(live, request, tmp_path):
    hub, client = live
    brokers = [hub.broker, open_other_broker(hub, request, tmp_path) or hub.broker, hub.broker]

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
    hub.gate.clear()
    with pytest.raises(GeneratorExit):
        publish(hub, "a", "1")
    assert client.stream.is_over or client.stream._is_ending


def test_a_publisher_that_is_ended_before_it_delivers_leaves_the_event_to_the_threads(
    live, request, tmp_path, monkeypatch
):
    """Here and in other processes. The greenlet may be ended where it waits for a lock."""
    hub, client = live
    list_subscribers = Subscriptions.list_subscribers

    def end(subscriptions, channel):
        monkeypatch.setattr(Subscriptions, "list_subscribers", list_subscribers)
        raise GeneratorExit

    other, other_broker = client, open_other_broker(hub, request, tmp_path)
    if other_broker is not None:
        other_hub = Hub(other_broker, Timer(20.0), Options(), lambda: time.sleep(0.001))
        other = Client(other_hub.open_stream(["a"], None))
        publish(hub, "a", "second")
        other.wait(1)
    count = len(client.events("message"))
    monkeypatch.setattr(Subscriptions, "list_subscribers", end)
    hub.gate.clear()
    with pytest.raises(GeneratorExit):
        publish(hub, "a", "last")
    hub.gate.set()
    assert client.wait(count + 1)[-1].data == "last"
    until(lambda: other.events("message")[-1].data == "last", 10, lambda: other.events("message"))
    if other is not client:
        other_broker.close()


def test_with_redis_only_the_event_after_the_last_one_is_delivered_at_once():
    """One in between, of another process, is on its way, or is on a channel without streams here."""
    seen, nothing = [], lambda *_: None
    listener = Listener(nothing, nothing, nothing, nothing, nothing, lambda record: seen.append(record) is None)
    delivery = RedisDelivery(None, listener, Cursor("epoch", 5))

    def deliver(epoch, number):
        return delivery.deliver_now(Cursor(epoch, number), Record(number, "a", b""))

    assert not deliver("epoch", 7) and not deliver("epoch", 5) and not deliver("other", 6)
    delivery._lost = "the server is away"
    assert not deliver("epoch", 6)
    delivery._lost = ""
    assert deliver("epoch", 6) and deliver("epoch", 7) and not deliver("epoch", 7)
    assert [record.sequence for record in seen] == [6, 7] and delivery.cursor == ("epoch", 7)


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
