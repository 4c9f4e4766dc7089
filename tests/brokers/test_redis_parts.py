"""What the parts of the contract need on Redis alone: lost keys, a server that restarted, an answer that is lost."""

from __future__ import annotations

from flask_ssemux.brokers import NewEvent, SubscriptionStart, WorkBatch, open_broker
from flask_ssemux.brokers.contract.constants import LIVE_EVENTS
from tests.brokers.suites.presence import LASTS
from tests.brokers.suites.reports import names
from tests.brokers.test_redis import Cutter

# -- latest events -----------------------------------------------------------


def test_a_trimmed_latest_event_leaves_no_key(redis, shared_redis):
    """It is kept for delivery until there are enough newer events."""
    broker = redis(events=10)
    broker.history.append_event("a", b"p", "progress")
    for _ in range(LIVE_EVENTS):
        broker.history.append_event("a", b"x")
    assert shared_redis.ask("EXISTS", "{%s}:l:a" % broker._store.address.prefix) == 0


def test_a_lost_epoch_leaves_no_key(redis, shared_redis):
    """Its sequences are given again, to other events."""
    broker = redis()
    broker.history.append_event("a", b"p", "progress")
    shared_redis.ask("DEL", "{%s}:life" % broker._store.address.prefix)
    assert broker.history.append_event("a", b"ordinary").sequence == 1
    assert broker.history.subscribe_channels(["a"]) == SubscriptionStart(1, [])


def test_no_event_is_missed_while_the_subscription_is_cut(redis, shared_redis, recorder):
    broker, publisher = redis(), redis()
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a"])
    for turn in range(4):
        shared_redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
        for number in range(20):
            publisher.history.append_event("a", b"p %d" % number, "progress")
            publisher.history.append_event("a", b"%d" % (turn * 20 + number))
    publisher.history.append_event("a", b"the end")
    while not recorder.records or recorder.records[-1].body != b"the end":
        recorder.wait(len(recorder.records) + 1)
    ordinary = [record.body for record in recorder.records if record.latest_key is None]
    assert ordinary == [b"%d" % number for number in range(80)] + [b"the end"]
    assert [record.body for record in recorder.records if record.latest_key][-1] == b"p 19"
    assert recorder.sequences == sorted(set(recorder.sequences)) and recorder.gaps == recorder.renewals == []


# -- presence ----------------------------------------------------------------


def test_a_store_that_was_emptied_is_noticed(redis, shared_redis):
    broker = redis()
    broker.presence.announce_presence({("a", "ann"): 1}, LASTS)
    for key in ("present", "p:a", "q:" + broker.process_name):
        shared_redis.ask("DEL", "{%s}:%s" % (broker._store.address.prefix, key))
    assert broker.presence.announce_presence({}, LASTS) is False
    assert broker.presence.announce_presence({("a", "ann"): 1}, LASTS, replace_all=True) is True
    assert broker.presence.get_presence("a") == {"ann": 1}


def test_a_server_that_restarted_may_have_lost_counts(opened, redis_server):
    broker = open_broker(redis_server.url)
    opened(broker)
    broker.presence.announce_presence({("a", "ann"): 1}, LASTS)
    assert broker.presence.announce_presence({}, LASTS) is True
    redis_server.restart()
    assert broker.presence.announce_presence({}, LASTS) is False
    broker.presence.announce_presence({("a", "ann"): 1}, LASTS, replace_all=True)
    assert broker.presence.announce_presence({}, LASTS) is True


# -- registered applications and one-time keys -------------------------------


def test_a_server_that_takes_no_writes_returns_registered_applications(redis_server):
    url = "redis://127.0.0.1:%d/0" % redis_server.port
    broker, other = open_broker(url), open_broker(url)
    broker.reports.register_application("shop", "")
    redis_server.ask("CONFIG", "SET", "maxmemory", "1")
    assert names(other.reports.register_application("office", "")) == [("shop", "", "")]
    assert broker.reports.register_application("shop", "") == []
    broker.close()
    other.close()


def test_a_key_whose_answer_was_lost_belongs_to_the_caller(redis, shared_redis, redis_url, opened):
    hop = Cutter(shared_redis.port)
    broker = open_broker(redis_url.replace(str(shared_redis.port), str(hop.port)))
    opened(broker)
    broker.history.get_newest_cursor()
    hop.cut_next = True
    assert broker.one_time_keys.use_one_time_key("a", 30)
    assert not hop.cut_next
    assert not broker.one_time_keys.use_one_time_key("a", 30)
    assert not redis().one_time_keys.use_one_time_key("a", 30)
    hop.close()


def test_a_batch_whose_answer_was_lost_is_not_appended_twice(redis):
    """The caller repeats the batch with its number, in a call with others, however much later."""
    broker = redis()
    run, (feed,) = broker.work.begin_run("x", "{}"), broker.work.take_work(["feed:a"])
    first = WorkBatch(run, [NewEvent("run:x", b"data: 1\n\n"), NewEvent("run:x", b"data: 2\n\n")], None, 1)
    last = WorkBatch(run, [NewEvent("run:x", b"data: end\n\n")], "done", 2)
    other = WorkBatch(feed, [NewEvent("feed:a", b"data: x\n\n")], None, 1)
    (cursors,) = broker.work.append_work([first])
    broker.work.keep_work([run, feed])
    again, others = broker.work.append_work([first, other])
    assert again == cursors and others[0].sequence == cursors[-1].sequence + 1
    (end,) = broker.work.append_work([last])
    assert broker.work.append_work([other, last]) == [others, end]
    assert broker.work.append_work([last._replace(number=3), first]) == [None, None]
    assert broker.history.get_newest_cursor() == end[0]
