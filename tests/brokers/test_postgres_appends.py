"""Callers of one process that append at the same time over a slow way to PostgreSQL: each gets its own answer."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_ssemux.brokers import open_broker
from flask_ssemux.brokers.postgres.connection import PREPARED_AT
from flask_ssemux.errors import BrokerUnavailable
from tests.harness.hop import Hop
from tests.harness.waiting import until

#: Seconds each way: long enough that all callers of a test come while the first one waits for its answer.
HOP = 0.05

#: Prints what becomes of greenlets that append at the same time. First, the leader is ended while its events are on
#: their way, and in the same moment the one that leads next; then one that waits, and its leader.
KILLED = """
from gevent import monkey
monkey.patch_all()
import sys, gevent
from flask_ssemux.brokers import open_broker
broker = open_broker(sys.argv[1])
broker.history.append_event("a", b"before")

def append(number):
    try:
        return broker.history.append_event("a", b"%d" % number).sequence
    except BaseException as error:
        return type(error).__name__

def wait_for(count):
    while broker.history.waiting_appends != count:
        gevent.sleep(0.001)

jobs = [gevent.spawn(append, number) for number in range(4)]
wait_for(3)
jobs[0].kill(block=False)
jobs[1].kill(block=False)
gevent.joinall(jobs)
print([job.value for job in jobs[:2]], all(isinstance(job.value, int) for job in jobs[2:]), broker.waiting_calls)
last = gevent.spawn(append, 4)
gevent.sleep(0)
led = [gevent.spawn(append, number) for number in (5, 6, 7)]
wait_for(3)
led[1].kill()
last.kill()
gevent.joinall(led)
print(last.value, led[1].value, [type(job.value).__name__ for job in led[::2]], broker.waiting_calls)
"""


@pytest.fixture
def hop(shared_postgres):
    made = Hop(shared_postgres.port, delay=HOP)
    yield made
    made.close()


@pytest.fixture
def far_url(hop, shared_postgres, postgres_url, postgres):
    postgres().history.append_event("before", b"")  # which makes the tables
    return postgres_url.replace(":%d/" % shared_postgres.port, ":%d/" % hop.port)


@pytest.fixture
def far(far_url, opened):
    """A broker that has a connection, on which an append is one message and its answer."""
    broker = open_broker(far_url)
    opened(broker)
    for _ in range(PREPARED_AT):
        broker.history.append_event("before", b"")
    return broker


def append_all(broker, events):
    """Append all at the same time, each from a thread of its own; return what each returned or raised."""

    def append(event):
        try:
            return broker.history.append_event(*event)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(events) + 1) as pool:
        first = pool.submit(broker.history.append_event, "before", b"")
        until(lambda: broker.waiting_calls, 10, "the first one is on its way")
        found = [pool.submit(append, event) for event in events]
        first.result()
        return [it.result() for it in found]


def read_bodies(broker):
    return {record.sequence: record.body for record in broker.history.read_events(["a"], 0, 10**17, 1000).records}


def test_two_hundred_callers_at_once_are_all_served(far, hop, postgres):
    """One after the other they would take 20 s."""
    cursors = append_all(far, [("a", b"%d" % number) for number in range(200)])
    assert read_bodies(postgres()) == {cursor.sequence: b"%d" % number for number, cursor in enumerate(cursors)}
    assert far.waiting_calls == 0 and hop.carried == 1


@pytest.mark.parametrize("channel, error", [("a\0", BrokerUnavailable), ("a\ud800", UnicodeEncodeError)])
def test_what_is_refused_fails_its_own_caller(far, postgres, channel, error):
    first, refused, third = append_all(far, [("a", b"1"), (channel, b"2"), ("a", b"3")])
    assert isinstance(refused, error)
    assert read_bodies(postgres()) == {first.sequence: b"1", third.sequence: b"3"}


def test_a_connection_that_breaks_fails_all_who_were_on_the_way(far, hop, postgres):
    with ThreadPoolExecutor(6) as pool:
        found = [pool.submit(far.history.append_event, "a", b"%d" % number) for number in range(6)]
        until(lambda: far.history.waiting_appends == 5, 10, "five wait for the first one")
        until(lambda: far.history.waiting_appends == 0, 10, "five are on their way")
        hop.close()
        assert isinstance(found[0].exception(), (BrokerUnavailable, type(None)))
        errors = [it.exception() for it in found[1:]]
    assert all("it is not known whether" in str(error) for error in errors) and len(set(map(id, errors))) == 5
    assert len(read_bodies(postgres())) in (1, 6)  # the batch is stored as a whole, or not at all


def test_who_waited_for_others_waits_no_longer_than_alone(far, shared_postgres):
    """2 s, and half a second more if a new connection hangs; with a time of its own for its batch it would be 4 s."""

    def append(number):
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            far.history.append_event("a", b"%d" % number)
        return time.monotonic() - began

    shared_postgres.pause()
    try:
        with ThreadPoolExecutor(3) as pool:
            took = list(pool.map(append, range(3)))
    finally:
        shared_postgres.resume()
    assert max(took) < 3.3


def test_callers_that_are_ended_leave_the_others_to_go_on(far_url):
    done = subprocess.run([sys.executable, "-c", KILLED, far_url], stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "['GreenletExit', 'GreenletExit'] True 0",
        "GreenletExit GreenletExit ['int', 'int'] 0",
    ]
