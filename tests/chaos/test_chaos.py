"""Chaos on real servers: whatever is killed, every client ends with each event of its channels once and in order.

`--chaos-seconds` sets the length of each scenario, and `--chaos-seed` makes the actors decide the same again. What
happens between their decisions is up to the machine: a seed makes a failure likely again, not certain.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack

import pytest

import flask_ssemux
from tests.chaos.crowd import Crowd
from tests.chaos.diary import Actor
from tests.chaos.disasters import HEAL_SECONDS, Disasters, kill_worker
from tests.chaos.judge import judge
from tests.chaos.publishers import ROOMS, Publisher, from_process, http_publisher, over_http
from tests.harness.waiting import until

CLIENTS = 40

#: The maximum until everybody has the last event, once everything is healed, in seconds.
CATCH_UP = 60.0

#: Seconds after which another last event is published for those who lack the first one.
AGAIN = 10.0

#: How many faults a failure reports.
MAX_REPORTED = 10

#: Queues that a client fills if it stalls for seconds, and a `retry:` with a spread that clients can wait for.
ENV = {
    "SSEMUX_HEARTBEAT": "1",
    "SSEMUX_CLIENT_TIMEOUT": "6",
    "SSEMUX_RETRY": "1000",
    "SSEMUX_QUEUE_EVENTS": "40",
    "SSEMUX_QUEUE_BYTES": "30000",
    "SSEMUX_MAX_EVENT_BYTES": "2000",
    "SSEMUX_MAX_STREAMS_PER_USER": "1000",
}


@pytest.fixture
def start(gunicorn):
    """start(workers, …): start one gunicorn for each number of workers, all with one store."""
    return lambda *workers: [gunicorn(workers=count, env=ENV) for count in workers]


@pytest.mark.engines("sqlite", "postgres", "cluster")
def test_workers_and_stores_are_killed(start, engine, own_store, diary, seconds):
    """A store answers after a write is on disk, so that a kill loses nothing that was accepted."""
    is_file = engine == "sqlite"
    servers = start(3) if is_file else start(2, 2)
    run(diary, seconds, servers, own_store.url, Disasters(diary, servers, None if is_file else own_store))


@pytest.mark.engines("redis", within=("redis", "postgres", "cluster"))
def test_a_store_loses_its_data_once(start, own_store, diary, seconds):
    servers = start(2, 2)
    wipe_at = diary.now() + seconds * 0.4
    run(diary, seconds, servers, own_store.url, Disasters(diary, servers, own_store, wipe_at), epoch_count=2)


@pytest.mark.engines("sqlite")
def test_600_events_to_40_clients_while_a_worker_is_killed_every_2_s(start, broker_url, diary):
    """Three workers: nothing is lost, doubled or out of order, and no reset comes."""
    (server,) = start(3)
    killer = Killer(diary, server)
    with flask_ssemux.Publisher(broker_url) as store, Crowd(diary, [server.port], CLIENTS, moody=False) as crowd:
        publishers = [
            Publisher("process", diary, from_process(store)),
            Publisher("web", diary, lambda channel, payload: over_http(server.port, channel, payload)),
        ]
        everyone_has(b"ssemux.hello", crowd, diary)
        with killer:
            for number in itertools.count():
                if diary.accepted() == 600:
                    break
                publishers[number % 2].try_one(ROOMS[number % len(ROOMS)])
                killer.wait(0.02)
        killer.heal()
        conclude(diary, crowd, from_process(store))
    assert killer.killed >= 5, f"only {killer.killed} workers were killed meanwhile"
    verdict(diary, crowd)


class Killer(Actor):
    """Kills a worker every 2 s."""

    def __init__(self, diary, server):
        super().__init__("killer", diary)
        self._server = server
        self.killed = 0

    def play(self):
        while self.wait(2.0):
            kill_worker(self._server, self.chance.choice, self.diary)
            self.killed += 1

    def heal(self):
        self._server.wait_workers(3, HEAL_SECONDS)


def run(diary, seconds, servers, url, disasters, epoch_count=1):
    """Run chaos for so long, then heal everything, then judge."""
    ports = [server.port for server in servers]
    with flask_ssemux.Publisher(url) as store, Crowd(diary, ports, CLIENTS) as crowd:
        publishers = [http_publisher(number, diary, ports) for number in (1, 2, 3)]
        publishers.append(Publisher("process-publisher", diary, from_process(store)))
        with ExitStack() as stack:
            for actor in [*publishers, disasters]:
                stack.enter_context(actor)
            disasters.wait(seconds)
        disasters.heal()
        crowd.calm_down()
        conclude(diary, crowd, from_process(store))
    verdict(diary, crowd, epoch_count)


def conclude(diary, crowd, publish):
    """Publish a last event to everyone. By the order of events, a client that has it has all that is due to it.

    It is published again for clients who came after it with a cursor of a lost epoch: they are not due the first one.
    """
    everyone_has(b"ssemux.hello", crowd, diary)
    last = Publisher("last", diary, publish)
    for _ in range(int(CATCH_UP / AGAIN)):
        until(lambda: last.try_one("*", 40), CATCH_UP, "nobody can publish")
        if everyone_has(b"data: last ", crowd, diary, AGAIN):
            return


def everyone_has(text, crowd, diary, timeout=CATCH_UP):
    """Wait until every client has the text; return whether all have. Clients without it are noted, and judged later."""
    lacking = crowd.wait_all(text, timeout)
    diary.note(f"{len(lacking)} of the clients have no {text!r}" if lacking else f"every client has {text!r}")
    for who in lacking:
        diary.note(who)
    return not lacking


def verdict(diary, crowd, epoch_count=1):
    stories = crowd.stories()
    faults = [*diary.failures, *map(str, judge(diary.events, stories, epoch_count))]
    got = sum(not seen.name.startswith("ssemux.") for story in stories for seen in story.seen)
    hellos, resets = (
        sum(seen.name == name for story in stories for seen in story.seen) for name in ("ssemux.hello", "ssemux.reset")
    )
    diary.note(
        f"{diary.accepted()} of {len(diary.events)} events accepted, {got} deliveries to {len(stories)} clients "
        f"over {hellos} connections, {resets} resets, {len(faults)} faults"
    )
    assert not faults, "\n".join(faults[:MAX_REPORTED])
    assert got > 10 * CLIENTS, f"hardly anything happened: {got} deliveries"
    assert epoch_count == 1 or resets >= CLIENTS / 2, f"the store was lost, and only {resets} resets were sent"
