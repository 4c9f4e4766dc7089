"""Redis far away: behind a proxy that is slow, or that forgets idle connections."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_ssemux.brokers import open_broker
from flask_ssemux.brokers.contract import constants
from flask_ssemux.brokers.redis import connection, scripts
from flask_ssemux.errors import BrokerUnavailable
from tests.harness.hop import Hop
from tests.harness.waiting import until

ALL = 10**9
HOP = 0.005  # seconds each way


@pytest.fixture
def hops():
    made = []
    yield made
    for hop in made:
        hop.close()


@pytest.fixture
def far(hops, opened, shared_redis, redis_url):
    """far(…): a broker behind a proxy of its own, with the parameters of `Hop`."""

    def make(**how):
        hop = Hop(shared_redis.port, **how)
        broker = open_broker(redis_url.replace(str(shared_redis.port), str(hop.port)))
        broker.hop = hop
        hops.append(hop)
        opened(broker)
        return broker

    return make


def at_once(count, work):
    """Return what each of so many threads returned or raised, and how long all took."""
    began = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(work, range(count)))
    return found, time.monotonic() - began


def test_a_thousand_publish_at_once(far, redis):
    broker = far(delay=HOP)
    cursors, took = at_once(1000, lambda number: broker.history.append_event("a", b"%d" % number))
    assert took < 10
    assert sorted(cursor.sequence for cursor in cursors) == list(range(1, 1001))
    kept = redis().history.read_events(["a"], 0, ALL, 2000).records
    assert [record.body for record in kept] == [
        b"%d" % number for _, number in sorted((cursor.sequence, number) for number, cursor in enumerate(cursors))
    ]
    assert broker.hop.carried == 1 and broker.waiting_calls == 0


def test_a_thousand_users_at_once(far, redis):
    broker = far(delay=HOP)
    taken, took = at_once(1000, lambda number: broker.leases.take_user_slot("user:%d" % (number % 500), 1))
    assert took < 10 and sum(taken) == 500
    until(lambda: redis().get_figures()["held"] == 500, 5, lambda: str(redis().get_figures()))


def test_a_thousand_clients_open_streams_at_once(hops, shared_redis, redis_url):
    """Each needs a user slot and a channel of its own; none is refused, neither at first nor when it returns."""
    hops.append(Hop(shared_redis.port, delay=HOP))
    url = redis_url.replace(str(shared_redis.port), str(hops[0].port))
    command = [sys.executable, "-m", "tests.brokers.many_clients", url, "1000"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60)
    for took, refused in json.loads(done.stdout):
        assert took < 10 and refused == 0


def test_slots_of_one_user_that_are_taken_at_once_are_counted_once(far, redis):
    broker = far(delay=HOP)
    taken, _ = at_once(50, lambda number: broker.leases.take_user_slot("user:1", 7))
    assert sum(taken) == 7
    until(lambda: redis().get_figures()["held"] == 7, 5, lambda: str(redis().get_figures()))
    assert not redis().leases.take_user_slot("user:1", 7)
    broker.leases.release_user_slot("user:1")
    until(lambda: redis().leases.take_user_slot("user:1", 7), 5, "it was not given back")


def test_publishes_of_one_caller_keep_their_order(far, redis):
    broker = far(delay=HOP)

    def several(number):
        for part in range(5):
            broker.history.append_event("a", b"%d %d" % (number, part))

    at_once(20, several)
    bodies = [record.body.split() for record in redis().history.read_events(["a"], 0, ALL, 2000).records]
    for number in range(20):
        assert [part for own, part in bodies if own == b"%d" % number] == [b"%d" % part for part in range(5)]


def test_calls_whose_answers_were_lost_are_not_made_twice(far, redis, shared_redis):
    """The connection breaks while calls are under way: what was done is not done again."""
    broker = far(delay=HOP)
    broker.history.get_newest_cursor()
    stop = threading.Event()

    def cut():
        for _ in range(8):
            stop.wait(0.02)
            shared_redis.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    cutter = threading.Thread(target=cut)
    cutter.start()
    cursors, _ = at_once(
        60, lambda number: [broker.history.append_event("a", b"%d %d" % (number, part)) for part in range(8)]
    )
    cutter.join()
    given = [cursor.sequence for mine in cursors for cursor in mine]
    bodies = [record.body for record in redis().history.read_events(["a"], 0, ALL, 2000).records]
    assert len(given) == len(set(given)) == len(bodies) == len(set(bodies)) == 480


def test_all_callers_of_a_server_that_hangs_fail_within_bounds(own_hanging):
    found, took = at_once(200, own_hanging)
    assert took < 2 * constants.WAIT_SECONDS + 1.5
    assert all(isinstance(error, BrokerUnavailable) for error in found)


@pytest.fixture
def own_hanging(opened, redis_server):
    broker = open_broker(redis_server.url)
    opened(broker)
    broker.history.get_newest_cursor()
    redis_server.pause()

    def work(number):
        try:
            return broker.history.append_event("a", b"x")
        except BrokerUnavailable as error:
            return error

    yield work
    redis_server.resume()


def test_too_many_waiting_callers_fail_at_once(redis, monkeypatch):
    monkeypatch.setattr(connection, "MAX_WAITING", 3)
    broker = redis()
    for _ in range(3):
        broker._store.submit(scripts.GET_FIGURES)
    with pytest.raises(BrokerUnavailable, match="3 calls wait for it already"):
        broker.history.append_event("a", b"x")


# -- a proxy that forgets ----------------------------------------------------


def test_a_forgotten_connection_loses_no_publish(far, redis, monkeypatch):
    """Like an idle Publisher behind a NAT, but the proxy forgets connections at once and not after minutes."""
    monkeypatch.setattr(connection, "IDLE", 0.2)
    broker = far(forgets=0.2)
    for number in range(2):
        began = time.monotonic()
        broker.history.append_event("a", b"%d" % number)
        broker.history.read_events(["a"], 0, ALL, 10)
        assert broker.leases.take_user_slot("user:%d" % number, 1) and broker.one_time_keys.use_one_time_key(
            "ticket:%d" % number, 30
        )
        assert time.monotonic() - began < constants.WAIT_SECONDS
        time.sleep(0.3)  # longer than the proxy remembers
    assert [record.body for record in redis().history.read_events(["a"], 0, ALL, 10).records] == [b"0", b"1"]
    assert broker.hop.carried > 3


def test_connections_are_kept_alive(redis, redis_url):
    import socket

    broker = redis()
    broker.history.get_newest_cursor()
    open_socket = broker._store._writing._connection.socket
    assert open_socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert open_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 30
