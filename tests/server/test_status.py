"""The status of three workers equals what is counted from outside, in each of its forms; a killed worker disappears."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

import flask_ssemux
from tests.harness.client import Herd
from tests.harness.engines import ALL
from tests.harness.waiting import until
from tests.server.test_poll import whole

APP = "tests.apps.watched:create_app()"
STATUS = "/events/status.json"
STREAM = "/events/status/stream"

#: A report is made every 5 s and sent every 2 s; on a busy machine later.
SOON = 15

ROOMS = ["room:%d" % number for number in range(5)]
USERS = ["user%d" % number for number in range(7)]
STREAMS = 41
EVENTS = 23


def room_of(client):
    return ROOMS[client % len(ROOMS)]


def user_of(client):
    """Return a client's user; every fourth client is anonymous."""
    return {} if client % 4 == 3 else {"X-User": USERS[client % len(USERS)]}


def fresh(site, since, workers):
    """Return the first status in which so many workers have reported after this time (of the machine's clock)."""

    def fresh_status():
        now = site.get(STATUS)
        return now if [one["at"] > since for one in now["workers"]] == [True] * workers else None

    return until(fresh_status, SOON, lambda: str(site.get(STATUS)))


def metrics(site):
    """Return the sum of each metric over its series, as Prometheus would read and sum it."""
    parser = pytest.importorskip("prometheus_client.parser")
    with site.stream("/events/metrics") as answer:
        answer.wait_end(5)
        assert answer.status == 200
        sums = Counter()
        for family in parser.text_string_to_metric_families(answer.body.decode()):
            for sample in family.samples:
                sums[sample.name] += sample.value
        return sums


@pytest.fixture
def sites(engine, serve):
    """Three workers in all: on SQLite of one server, on the other engines of two, as on two hosts."""
    return [serve(APP, workers=count) for count in ([3] if engine == "sqlite" else [2, 1])]


def pids(sites):
    return {pid for site in sites for pid in site.server.worker_pids()}


def herd_of(sites):
    return Herd(
        lambda number: sites[number % len(sites)].port,
        STREAMS,
        lambda number: "/events?channel=" + room_of(number),
        user_of,
    )


def publish(sites):
    """Publish events in all rooms, for everyone and for a user; return how many there are in each channel."""
    made = Counter()
    for number in range(EVENTS):
        channel = [*ROOMS, "*", "user:user3"][number % 7]
        site = sites[number % len(sites)]
        if channel == "*":
            site.post("/broadcast", data=number)
        elif channel in ROOMS:
            site.publish(channel, number)
        else:
            site.post("/send", user="user3", data=number)
        made[channel] += 1
    return made


def channels_of(client):
    who = user_of(client)
    return [room_of(client), "*", *("user:" + name for name in who.values())]


@pytest.mark.engines("sqlite", "postgres", "cluster")
def test_totals_are_what_is_counted_from_outside(sites):
    with herd_of(sites) as clients:
        clients.wait_all(b"ssemux.hello", 10)
        made = publish(sites)
        due = [sum(made[channel] for channel in channels_of(number)) for number in range(STREAMS)]
        for client, events in zip(clients, due):
            client.wait_for(lambda it, events=events: len(it.events("message")) == events, 5)
        status = fresh(sites[0], time.time(), 3)
        totals = status["totals"]
        assert (totals["workers"], totals["streams"], totals["handed_over"]) == (3, STREAMS, STREAMS)
        assert (totals["users"], totals["users_exact"]) == (len(USERS), True)
        assert (totals["channels"], totals["channels_exact"]) == (len(ROOMS), True)
        assert (totals["delivered"], totals["published"], totals["events"]) == (sum(due), EVENTS, EVENTS)
        assert (sum(totals["silence"]), totals["queued"], totals["refused"], totals["late"]) == (STREAMS, 0, 0, 0)
        assert {one["pid"] for one in status["workers"]} == pids(sites)
        assert {one["version"] for one in status["workers"]} == {flask_ssemux.__version__}

        for site in sites:
            sums = metrics(site)
            assert (sums["ssemux_workers"], sums["ssemux_streams"]) == (3, STREAMS)
            assert (sums["ssemux_users"], sums["ssemux_channels"]) == (len(USERS), len(ROOMS))
            assert (sums["ssemux_delivered_total"], sums["ssemux_published_total"]) == (sum(due), EVENTS)
            assert (sums["ssemux_events_total"], sums["ssemux_broker_up"]) == (EVENTS, 1)
            assert sums["ssemux_silence_seconds_gcount"] == STREAMS
        assert by_command(sites[0])["totals"]["streams"] == STREAMS

        live_until_one_is_killed(sites, clients)


def by_command(site):
    command = [sys.executable, "-m", "flask", "ssemux", "status", "--json"]
    env = {**site.server.env, "FLASK_APP": APP}
    return json.loads(subprocess.run(command, check=True, env=env, timeout=30, capture_output=True, text=True).stdout)


def frames(stream):
    return [json.loads(event.data) for event in stream.events("ssemux.status")]


def by_polls(site, watching):
    """What a client gets where streams are buffered: whole answers, at first the present status, then what others
    get.
    """
    (now,) = frames(whole(site, STREAM + "?poll=now"))
    polled = []
    while not polled:  # a heartbeat may be sooner
        polled = frames(whole(site, STREAM + "?poll=1"))
    assert now["totals"]["workers"] == polled[-1]["totals"]["workers"] == 1
    watching.wait_for(lambda stream: polled[-1] in frames(stream), 5)


def live_until_one_is_killed(sites, clients):
    """The page's stream counts itself, notices leaving clients, and drops a worker that was killed."""
    with sites[0].stream(STREAM, user="root") as watching:

        def shows(streams, workers=3):
            def shown(stream):
                totals = frames(stream)[-1]["totals"]
                return (totals["streams"], totals["workers"]) == (streams, workers)

            watching.wait_for(shown, SOON)
            return frames(watching)[-1]

        watching.wait_events(1, 3, "ssemux.status")
        shows(STREAMS + 1)
        for client in clients[:5]:
            client.close()
        status = shows(STREAMS + 1 - 5)
        others = [one for one in status["workers"] if one["name"] != status["teller"]]
        victim = max(others, key=lambda one: one["streams"])
        os.kill(victim["pid"], signal.SIGKILL)
        until(lambda: sum(it.ended == "severed" for it in clients) == victim["streams"], 5, "its streams go on")
        status = shows(STREAMS + 1 - 5 - victim["streams"], workers=2)
        assert victim["name"] not in {one["name"] for one in status["workers"]}
        assert not any(event.own_id for event in watching.events("ssemux.status")), "it is not part of the history"
        assert status["totals"]["events"] == EVENTS, "none of it is published"


@pytest.mark.engines("postgres", within=("redis", "postgres", "cluster"))
def test_it_continues_without_its_broker(serve, own_store):
    site = serve(APP)
    with site.stream(STREAM) as watching, site.stream("/events?channel=room:1", user="ada"):
        watching.wait_for(lambda stream: frames(stream) and frames(stream)[-1]["totals"]["users"] == 1, SOON)
        by_polls(site, watching)
        own_store.kill()
        status = watching.wait_for(lambda it: not frames(it)[-1]["broker"]["is_reachable"] and frames(it)[-1], 15)
        assert (status["totals"]["workers"], status["totals"]["streams"], status["totals"]["users"]) == (1, 2, 1)
        assert status["broker"]["trouble"] and status["totals"]["events"] is None
        assert site.get(STATUS)["totals"]["streams"] == 2
        assert metrics(site)["ssemux_broker_up"] == 0
        own_store.restart()
        watching.wait_for(lambda stream: frames(stream)[-1]["broker"]["is_reachable"], 15)


@pytest.mark.engines("sqlite", within=ALL)
def test_slow_clients_and_old_streams_are_shown(serve):
    site = serve(APP)
    with site.stream("/events?channel=room:1", rcvbuf=4096, mss=536) as slow, site.stream("/old/sleeper") as old:
        slow.wait_for(b"ssemux.hello", 3)
        old.wait_for(b"first", 3)
        slow.pause()
        site.post("/burst?count=300&size=2000")
        totals = until(lambda: found(site, deepest=True), 5, lambda: str(site.get(STATUS)))
        assert totals["deepest"] == totals["queued"] <= 300
        assert 2000 * (totals["queued"] - 1) < totals["queued_bytes"] < 2300 * totals["queued"]
        assert (totals["streams"], sum(totals["silence"]), totals["handed_over"]) == (2, 2, 1)
        old.close()
        slow.resume()
        slow.wait_for(lambda stream: len(stream.events("n")) == 300, 5)
        until(lambda: found(site, deepest=False), 5, lambda: str(site.get(STATUS)))


def found(site, deepest):
    totals = site.get(STATUS)["totals"]
    return totals if bool(totals["deepest"]) is deepest else None


@pytest.mark.engines("sqlite", within=ALL)
def test_in_threads(serve_threads):
    site = serve_threads(APP)
    with site.stream(STREAM) as watching, site.stream("/events?channel=room:1"):
        watching.wait_for(lambda stream: frames(stream) and frames(stream)[-1]["totals"]["streams"] == 2, SOON)
        assert site.get(STATUS)["totals"]["handed_over"] == 0
        by_polls(site, watching)
