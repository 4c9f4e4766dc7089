"""Presence over real workers: each of them gives the right users, after a crash at once or within a heartbeat."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
from collections import Counter

import pytest

from tests.harness.waiting import until

ATTENDED = "tests.apps.attended:create_app()"

#: Nothing expires by itself while a test looks.
CALM = {"SSEMUX_HEARTBEAT": "30", "SSEMUX_CLIENT_TIMEOUT": "120"}


def presence(site, channel="room:1"):
    found = site.get("/presence?channel=" + channel)
    return {"": found["visitors"], **found["users"]}


def wait(site, expected, channel="room:1", timeout=5.0):
    expected = {"": 0, **expected}
    until(lambda: presence(site, channel) == expected, timeout, lambda: str(presence(site, channel)))


@pytest.mark.engines("sqlite", "postgres", "cluster")
def test_three_workers_and_a_shell_agree_while_users_come_and_go_and_a_worker_is_killed(serve, lab_env):
    site = serve(ATTENDED, workers=3, env=CALM)
    shell = [sys.executable, "-m", "flask", "ssemux", "presence", "room:1", "--json"]

    def from_a_shell():
        env = {**lab_env, **CALM, "FLASK_APP": ATTENDED}
        return json.loads(subprocess.run(shell, check=True, env=env, stdout=subprocess.PIPE, timeout=30).stdout)

    def headers_of(i):
        return {"X-User": str(i % 4)} if i % 4 else {}

    with site.herd(24, lambda i: "/events?channel=room:%d" % (i % 2), headers_of=headers_of) as herd:
        herd.wait_all(b"ssemux.hello", 5)
        wait(site, {"1": 6, "3": 6})
        wait(site, {"": 6, "2": 6}, "room:0")
        wait(site, {"": 6, "1": 6, "2": 6, "3": 6}, "*")
        streams = {}

        def all_workers_answered():
            answer = site.get("/presence?channel=room:1")
            assert answer["users"] == {"1": 6, "3": 6} and answer["visitors"] == 0
            streams[answer["pid"]] = answer["here"]
            return len(streams) == 3

        until(all_workers_answered, 20, "not all workers answered")
        assert from_a_shell() == {"users": {"1": 6, "3": 6}, "visitors": 0}

        for i in (1, 5, 3):
            herd[i].close()
        wait(site, {"1": 4, "3": 5})

        victim = max(streams, key=streams.get)
        os.kill(victim, signal.SIGKILL)
        until(lambda: any(stream.ended and i not in (1, 5, 3) for i, stream in enumerate(herd)), 5, "none was cut")
        site.server.wait_workers(3, 10, gone=[victim])
        left = [str(i % 4) for i, stream in enumerate(herd) if i % 2 and not stream.ended]
        wait(site, {user: left.count(user) for user in left})

        assert site.server.stop(10)
        assert from_a_shell() == {"users": {}, "visitors": 0}


@pytest.mark.engines("redis", "postgres")
def test_the_users_of_a_machine_that_died_are_gone_within_a_heartbeat(serve):
    timing = {"SSEMUX_HEARTBEAT": "3", "SSEMUX_CLIENT_TIMEOUT": "12"}
    here = serve(ATTENDED, env=timing)
    foreign = serve(ATTENDED, env={**timing, "FOREIGN": "1"})
    path = "/events?channel=room:1"
    with here.stream(path, user="ann") as ours, foreign.stream(path, user="bob") as theirs:
        for stream in (ours, theirs):
            stream.wait_for(b"ssemux.hello", 2)
        wait(here, {"ann": 1, "bob": 1})
        later = time.monotonic() + 4  # it is renewed, not only announced
        while time.monotonic() < later:
            assert presence(here) == {"": 0, "ann": 1, "bob": 1}
            time.sleep(0.1)
        foreign.server.kill()
        started = time.monotonic()
        wait(here, {"ann": 1})
        assert time.monotonic() - started < 4  # a heartbeat, and the query


@pytest.mark.engines("redis", "postgres", within=("redis", "postgres", "cluster"))
def test_presence_is_announced_anew_after_the_store_was_wiped(serve, own_store):
    site = serve(ATTENDED, workers=2)
    with site.herd(6, "/events?channel=room:1&user=ann") as herd:
        herd.wait_all(b"ssemux.hello", 5)
        wait(site, {"ann": 6})
        own_store.empty()
        until(lambda: ask_presence(site) == {"": 0, "ann": 6}, 20, lambda: str(ask_presence(site)))


def ask_presence(site):
    """Return the presence, or the error: in each process one call fails if the tables are gone."""
    try:
        return presence(site)
    except urllib.error.HTTPError as error:
        return error.code


# -- arrivals and departures as events ---------------------------------------------------

HALL = "/events?channel=hall:1"


def count_changes(stream):
    """Return how often each user came and went, as this stream was told."""
    found = [frame for frame in stream.events() if frame.event in ("join", "leave")]
    return Counter((frame.event, json.loads(frame.data)["user"]) for frame in found)


def wait_changes(stream, expected):
    until(
        lambda: count_changes(stream) == expected,
        20,
        lambda: "too many %s, missing %s" % (count_changes(stream) - expected, expected - count_changes(stream)),
    )


@pytest.mark.engines("sqlite", "postgres")
def test_each_user_comes_and_goes_once_over_all_workers(serve):
    site = serve(ATTENDED, workers=3, env={**CALM, "GRACE": "0.5"})
    with site.stream(HALL, user="guard") as guard:
        guard.wait_for(b"event: join", 5)
        users = [str(number % 12) for number in range(36)]
        with site.herd(36, HALL, headers_of=lambda i: {"X-User": users[i]}) as herd:
            herd.wait_all(b"ssemux.hello", 5)
            expected = Counter({("join", user): 1 for user in ["guard", *users]})
            wait_changes(guard, expected)
            with site.stream(HALL, user="0") as another:
                another.wait_for(b"ssemux.hello", 5)
                for one in list(herd)[:30]:  # the users 6 to 11 keep one stream each
                    one.close()
                expected.update(("leave", str(user)) for user in range(1, 6))
                wait_changes(guard, expected)
        expected.update(("leave", str(user)) for user in (0, *range(6, 12)))
        wait_changes(guard, expected)
        site.publish("hall:1", "the end")
        guard.wait_for(b"data: the end", 5)
        assert count_changes(guard) == expected


@pytest.mark.engines("sqlite", "redis")
def test_the_users_of_a_killed_worker_leave_once_and_others_do_not(serve):
    """Ten users have two streams each, ten have one."""
    site = serve(ATTENDED, workers=3, env={"GRACE": "0.5"})
    users = [str(number % 20) for number in range(30)]
    with site.herd(30, HALL, headers_of=lambda i: {"X-User": users[i]}) as herd:
        herd.wait_all(b"ssemux.hello", 5)
        here = {}

        def all_workers_answered():
            answer = site.get("/presence?channel=hall:1")
            here[answer["pid"]] = answer["here"]
            return len(here) == 3 and answer["users"] == Counter(users)

        until(all_workers_answered, 20, "not all workers answered")
        victim = max(here, key=here.get)
        os.kill(victim, signal.SIGKILL)
        until(lambda: sum(stream.ended is not None for stream in herd) == here[victim], 10, "its streams go on")
        left = [stream for stream in herd if stream.ended is None]
        gone = set(users) - {user for user, stream in zip(users, herd) if stream.ended is None}
        expected = Counter({("leave", user): 1 for user in gone})

        def count_leaves(stream):
            changes = count_changes(stream)
            assert max(changes.values(), default=0) <= 1, changes
            return Counter({change: number for change, number in changes.items() if change[0] == "leave"})

        for stream in left:
            until(
                lambda stream=stream: count_leaves(stream) == expected, 20, lambda stream=stream: count_leaves(stream)
            )
        site.publish("hall:1", "the end")
        for stream in left:
            stream.wait_for(b"data: the end", 5)
            assert count_leaves(stream) == expected
