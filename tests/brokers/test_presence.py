"""Who is there, on every engine: what processes say of themselves counts as long as they live and say so."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flask_ssemux.brokers import open_broker
from flask_ssemux.errors import BrokerClosed
from tests.brokers.conftest import pretend_other_host

LASTS = 30.0


def test_nobody_is_there_at_first(broker):
    assert broker.presence.get_presence("a") == {}


def test_streams_are_told_by_channel_and_user(broker):
    broker.presence.announce_presence({("a", "ann"): 2, ("a", ""): 1, ("b", "bob b\u00e4r"): 1}, LASTS)
    broker.presence.announce_presence({("a", "ann"): 3, ("a", "bob"): 1, ("a", ""): 0}, LASTS)
    assert broker.presence.get_presence("a") == {"ann": 3, "bob": 1}
    assert broker.presence.get_presence("b") == {"bob b\u00e4r": 1}
    broker.presence.announce_presence({("a", "ann"): 0, ("a", "bob"): 0}, LASTS)
    assert broker.presence.get_presence("a") == {} and broker.presence.get_presence("b") == {"bob b\u00e4r": 1}


def test_one_is_told_whether_what_was_said_before_is_there(broker):
    assert broker.presence.announce_presence({}, LASTS) is False
    assert broker.presence.announce_presence({("a", "ann"): 1}, LASTS) is True
    assert broker.presence.announce_presence({}, LASTS) is True
    assert broker.presence.get_presence("a") == {"ann": 1}


def test_to_say_all_anew_forgets_what_was_said(broker):
    broker.presence.announce_presence({("a", "ann"): 1, ("b", ""): 1}, LASTS)
    broker.presence.announce_presence({("a", "bob"): 1}, LASTS, replace_all=True)
    assert (broker.presence.get_presence("a"), broker.presence.get_presence("b")) == ({"bob": 1}, {})


def test_what_is_not_renewed_runs_out(broker, travel):
    broker.presence.announce_presence({("a", "ann"): 1}, LASTS)
    travel(broker, 20)
    assert broker.presence.get_presence("a") == {"ann": 1}
    broker.presence.announce_presence({}, LASTS)
    travel(broker, 20)
    assert broker.presence.get_presence("a") == {"ann": 1}
    travel(broker, 20)
    assert broker.presence.get_presence("a") == {}
    assert broker.presence.announce_presence({}, LASTS) is False
    assert broker.presence.get_presence("a") == {}
    broker.presence.announce_presence({("a", "ann"): 1}, LASTS, replace_all=True)
    assert broker.presence.get_presence("a") == {"ann": 1}


def test_after_close_nobody_is_there_and_nothing_can_be_said(broker):
    broker.presence.announce_presence({("a", "ann"): 1}, LASTS)
    broker.close()
    with pytest.raises(BrokerClosed):
        broker.presence.announce_presence({}, LASTS)
    with pytest.raises(BrokerClosed):
        broker.presence.get_presence("a")


# -- several processes --------------------------------------------------------


def test_streams_of_all_processes_count_together(make_shared):
    one, other = make_shared(), make_shared()
    one.presence.announce_presence({("a", "ann"): 1, ("a", ""): 2}, LASTS)
    other.presence.announce_presence({("a", "ann"): 2, ("b", "ann"): 1}, LASTS)
    assert one.presence.get_presence("a") == other.presence.get_presence("a") == {"ann": 3, "": 2}
    one.close()
    assert other.presence.get_presence("a") == {"ann": 2}


SAY = """
import sys
from flask_ssemux.brokers import open_broker
broker = open_broker(sys.argv[1])
broker.presence.announce_presence({("a", "ann"): 1}, 3600.0)
print("said", flush=True)
sys.stdin.read()
"""


def test_a_process_that_died_is_gone_at_once(make_shared, shared_url):
    broker = make_shared()
    broker.presence.announce_presence({("a", "ann"): 1}, LASTS)
    other = subprocess.Popen(
        [sys.executable, "-c", SAY, shared_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "said\n"
    assert broker.presence.get_presence("a") == {"ann": 2}
    other.kill()
    other.communicate(timeout=10)
    assert broker.presence.get_presence("a") == {"ann": 1}


@pytest.mark.parametrize("count", [3, 2500])
def test_what_the_dead_said_is_forgotten(make_shared, shared_url, travel, count, opened, request):
    broker, foreign = make_shared(), open_broker(shared_url)
    pretend_other_host(foreign)
    foreign.presence.announce_presence({("a", str(n)): 1 for n in range(count)}, LASTS)
    assert len(broker.presence.get_presence("a")) == count
    travel(broker, 40)
    for _ in range(4):  # a few at a time
        broker.presence.announce_presence({}, LASTS)
    assert broker.presence.get_presence("a") == {} and rows(broker, request) == 0
    foreign._store.is_closed = True  # its end would be one more way to forget


def rows(broker, request):
    """What is kept of who was there."""
    if type(broker).__name__ == "RedisBroker":
        server, prefix = request.getfixturevalue("shared_redis"), broker._store.address.prefix
        return server.ask("HLEN", "{%s}:p:a" % prefix) + server.ask("SCARD", "{%s}:q:another-host/1/abcdefgh" % prefix)
    with broker._store.opened() as file:
        return file.reader.execute("SELECT count(*) FROM presence").fetchone()[0]


def test_a_store_that_was_emptied_says_so(redis, shared_redis):
    broker = redis()
    broker.presence.announce_presence({("a", "ann"): 1}, LASTS)
    for key in ("present", "p:a", "q:" + broker.process_name):
        shared_redis.ask("DEL", "{%s}:%s" % (broker._store.address.prefix, key))
    assert broker.presence.announce_presence({}, LASTS) is False
    assert broker.presence.announce_presence({("a", "ann"): 1}, LASTS, replace_all=True) is True
    assert broker.presence.get_presence("a") == {"ann": 1}


def test_a_server_that_was_restarted_may_have_lost_some_of_it(opened, redis_server):
    broker = open_broker(redis_server.url)
    opened(broker)
    broker.presence.announce_presence({("a", "ann"): 1}, LASTS)
    assert broker.presence.announce_presence({}, LASTS) is True
    redis_server.restart()
    assert broker.presence.announce_presence({}, LASTS) is False
    broker.presence.announce_presence({("a", "ann"): 1}, LASTS, replace_all=True)
    assert broker.presence.announce_presence({}, LASTS) is True
