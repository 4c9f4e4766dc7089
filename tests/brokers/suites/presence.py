"""The contract of presence: which users are connected, as processes announce it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flask_ssemux.brokers import open_broker
from flask_ssemux.errors import BrokerClosed
from tests.brokers.conftest import pretend_other_host

LASTS = 30.0


SAY = """
import sys
from flask_ssemux.brokers import open_broker
broker = open_broker(sys.argv[1])
broker.presence.announce_presence({("a", "ann"): 1}, 3600.0)
print("said", flush=True)
sys.stdin.read()
"""


def rows(broker, request):
    """Return how many rows of presence are stored."""
    if type(broker).__name__ == "RedisBroker":
        server, prefix = request.getfixturevalue("shared_redis"), broker._store.address.prefix
        return server.ask("HLEN", "{%s}:p:a" % prefix) + server.ask("SCARD", "{%s}:q:another-host/1/abcdefgh" % prefix)
    if type(broker).__name__ == "PostgresBroker":
        schema = broker._store.address.schema
        return request.getfixturevalue("shared_postgres").ask(f"SELECT count(*) FROM {schema}.presence")[0][0]
    with broker._store.opened() as file:
        return file.reader.execute("SELECT count(*) FROM presence").fetchone()[0]


class PresenceSuite:
    """What every engine promises."""

    def test_no_user_is_present_at_first(self, broker):
        assert broker.presence.get_presence("a") == {}

    def test_streams_are_counted_by_channel_and_user(self, broker):
        broker.presence.announce_presence({("a", "ann"): 2, ("a", ""): 1, ("b", "bob b\u00e4r"): 1}, LASTS)
        broker.presence.announce_presence({("a", "ann"): 3, ("a", "bob"): 1, ("a", ""): 0}, LASTS)
        assert broker.presence.get_presence("a") == {"ann": 3, "bob": 1}
        assert broker.presence.get_presence("b") == {"bob b\u00e4r": 1}
        broker.presence.announce_presence({("a", "ann"): 0, ("a", "bob"): 0}, LASTS)
        assert broker.presence.get_presence("a") == {} and broker.presence.get_presence("b") == {"bob b\u00e4r": 1}

    def test_announcing_returns_whether_earlier_counts_are_there(self, broker):
        assert broker.presence.announce_presence({}, LASTS) is False
        assert broker.presence.announce_presence({("a", "ann"): 1}, LASTS) is True
        assert broker.presence.announce_presence({}, LASTS) is True
        assert broker.presence.get_presence("a") == {"ann": 1}

    def test_replace_all_removes_earlier_counts(self, broker):
        broker.presence.announce_presence({("a", "ann"): 1, ("b", ""): 1}, LASTS)
        broker.presence.announce_presence({("a", "bob"): 1}, LASTS, replace_all=True)
        assert (broker.presence.get_presence("a"), broker.presence.get_presence("b")) == ({"bob": 1}, {})

    def test_counts_that_are_not_renewed_expire(self, broker, travel):
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

    def test_after_close_both_methods_raise(self, broker):
        broker.presence.announce_presence({("a", "ann"): 1}, LASTS)
        broker.close()
        with pytest.raises(BrokerClosed):
            broker.presence.announce_presence({}, LASTS)
        with pytest.raises(BrokerClosed):
            broker.presence.get_presence("a")


class SharedPresenceSuite:
    """What engines promise that several processes share. Real processes."""

    def test_streams_of_all_processes_count_together(self, make_shared):
        one, other = make_shared(), make_shared()
        one.presence.announce_presence({("a", "ann"): 1, ("a", ""): 2}, LASTS)
        other.presence.announce_presence({("a", "ann"): 2, ("b", "ann"): 1}, LASTS)
        assert one.presence.get_presence("a") == other.presence.get_presence("a") == {"ann": 3, "": 2}
        one.close()
        assert other.presence.get_presence("a") == {"ann": 2}

    def test_counts_of_a_dead_process_do_not_count(self, make_shared, shared_url):
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
    def test_counts_of_silent_processes_are_removed(self, make_shared, shared_url, travel, count, opened, request):
        broker, foreign = make_shared(), open_broker(shared_url)
        pretend_other_host(foreign)
        foreign.presence.announce_presence({("a", str(n)): 1 for n in range(count)}, LASTS)
        assert len(broker.presence.get_presence("a")) == count
        travel(broker, 40)
        for _ in range(4):  # a few at a time
            broker.presence.announce_presence({}, LASTS)
        assert broker.presence.get_presence("a") == {} and rows(broker, request) == 0
        foreign._store.is_closed = True  # its end would also remove them
