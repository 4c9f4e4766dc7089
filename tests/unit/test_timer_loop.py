"""The timers of all applications have their turns in one thread, and their loop lag is measured once."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from flask_ssemux import testing
from flask_ssemux.worker import shared_lag
from flask_ssemux.worker.timer import Timer
from flask_ssemux.worker.timer_loop import get_timer_loop
from tests.harness.waiting import until


def list_timer_threads():
    return [thread for thread in threading.enumerate() if thread.name == "ssemux-timer"]


class Member:
    """A member that is called as often as its timer has turns, and notes when, and in which thread."""

    def __init__(self, then=lambda: None):
        self.timer_slot = None
        self.calls, self.threads, self.then = [], set(), then

    def run_due_work(self, now):
        self.calls.append(time.monotonic())
        self.threads.add(threading.current_thread())
        self.then()
        return now


@pytest.fixture
def begin():
    """begin(heartbeat, member): a timer with this member, stopped after the test."""
    timers = []

    def made(heartbeat, member):
        timer = Timer(heartbeat)
        timers.append(timer)
        timer.add(member, timer.clock())
        return timer

    yield made
    for timer in timers:
        timer.stop()


def await_calls(count, *members):
    """Wait until each member was called so many times more."""
    before = {member: len(member.calls) for member in members}
    until(
        lambda: all(len(member.calls) >= before[member] + count for member in members), 10,
        lambda: str([len(member.calls) for member in members]),
    )  # fmt: skip


def test_timers_of_all_ticks_have_their_turns_in_one_thread(begin):
    members = [Member() for _ in range(6)]
    for member, heartbeat in zip(members, (20.0, 20.0, 20.0, 8.0, 0.8, 0.08)):
        begin(heartbeat, member)
    await_calls(3, *members)
    assert len(set.union(*(member.threads for member in members))) == 1
    until(lambda: len(list_timer_threads()) == 1, 5, lambda: str(list_timer_threads()))
    fast = members[-1].calls
    assert min(after - before for before, after in zip(fast, fast[1:])) < 0.1  # it does not wait for the others


def test_a_timer_that_comes_later_does_not_wait_for_the_turn_of_another(begin):
    """The thread sleeps until the turn of a timer with a tick of an hour."""
    slow, fast = Member(), Member()
    timer = Timer(20.0)
    timer._wheel.tick = 3600.0
    timer.add(slow, timer.clock())
    await_calls(1, slow)
    begin(0.08, fast)
    await_calls(3, fast)
    assert len(slow.calls) == 1
    timer.stop()


def test_a_timer_that_fails_harms_no_other(begin):
    def fail():
        raise ValueError("of a member")

    good, bad = Member(), Member(fail)
    begin(0.8, good)
    begin(0.8, bad)
    await_calls(1, bad)
    await_calls(3, good)


def test_what_ends_the_thread_ends_it_until_the_next_member_comes(begin, monkeypatch):
    """As a greenlet that is killed; the next stream starts it again."""
    monkeypatch.setattr("threading.excepthook", lambda *_: None)
    errors = [SystemExit()]

    def end_once():
        if errors:
            raise errors.pop()

    good, ending = Member(), Member(end_once)
    begin(0.8, good)
    begin(0.8, ending)
    await_calls(1, ending)
    (first,) = ending.threads
    first.join(5)
    begin(0.8, Member())
    await_calls(3, good, ending)
    assert first not in list_timer_threads()


def test_a_timer_without_members_has_no_turns_and_the_thread_ends_with_the_last_one(begin):
    member = Member()
    timer = begin(0.8, member)
    loop = get_timer_loop()
    assert loop.has(timer)
    timer.remove(member)
    until(lambda: not loop.has(timer), 5, "it still has turns")
    timer.add(member, timer.clock())
    await_calls(1, member)
    thread = next(iter(member.threads))
    timer.stop()
    assert not loop.has(timer)
    timer.add(member, timer.clock())
    assert not loop.has(timer)
    thread.join(5)
    assert not thread.is_alive() or loop._turns  # other applications of this process may be running


def test_applications_share_one_thread(make_app):
    apps = [make_app(name="app%d" % number) for number in range(5)]
    for app in apps:
        with testing.stream(app) as stream:
            assert stream.hello
    until(lambda: len(list_timer_threads()) == 1, 5, lambda: str(list_timer_threads()))
    workers = [app.extensions["ssemux"].worker.running() for app in apps]
    assert len({id(worker.timer.loop_lag) for worker in workers}) == 1
    assert all(get_timer_loop().has(worker.timer) for worker in workers)
    testing.close(apps[0])
    with testing.stream(apps[1]) as stream, testing.frozen(apps[2]) as clock, testing.stream(apps[2]) as other:
        clock.advance(60)
        assert other.heartbeats >= 3 and stream.heartbeats == 0


def test_a_block_is_one_line_for_all_applications(make_app, caplog):
    apps = [
        make_app(name="short", SSEMUX_CLIENT_TIMEOUT=60), make_app(name="long"), make_app(name="idle"),
        make_app(name="closed"),
    ]  # fmt: skip
    lag = shared_lag.get_loop_lag()
    streams = [testing.stream(app) for app in (*apps[:2], apps[3], apps[1])]
    for stream in streams:
        assert stream.hello
    apps[2].extensions["ssemux"].worker.running()
    testing.close(apps[3])
    for app in apps:
        app.extensions["ssemux"].worker.running().timer.pause()
    before, lag._logged_at = lag.late_turns, float("-inf")
    lag.note_turn(1000.0, 0.25)
    lag.note_turn(1003.25)
    assert lag.late_turns == before + 1
    (line,) = [line for line in caplog.messages if "the worker was blocked" in line]
    assert line.startswith(
        "the worker was blocked and is late by 3000 ms: its streams (3) got neither heartbeats nor events "
        "(heartbeats are due every 20 s, clients wait 60 s)"
    )
    for stream in streams:
        stream.close()


FORKING = """
    import gevent.monkey
    GEVENT
    import os, sys, threading, time, flask, flask_ssemux
    from flask_ssemux import testing
    from flask_ssemux.worker.timer_loop import get_timer_loop

    apps = []
    for name in "ab":
        app = flask.Flask(name, instance_path="/nowhere")
        app.config.update(SSEMUX_BROKER="memory:", SSEMUX_HEARTBEAT=0.2, SSEMUX_CLIENT_TIMEOUT=1)
        flask_ssemux.init_app(app)
        apps.append(app)

    def watch(app):
        with testing.stream(app) as stream:
            deadline = time.monotonic() + 20
            while stream.heartbeats < 3:
                assert time.monotonic() < deadline, stream.comments
                time.sleep(0.01)

    watch(apps[0])
    parents = get_timer_loop()
    child = os.fork()
    watch(apps[0])
    watch(apps[1])
    assert (get_timer_loop() is parents) == bool(child)
    assert len(get_timer_loop()._turns) == 2
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("patch", ["gevent.monkey.patch_all()", ""], ids=["greenlets", "threads"])
def test_a_forked_child_has_a_thread_of_its_own(patch):
    code = textwrap.dedent(FORKING.replace("GEVENT", patch))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=90, cwd=os.sep
    )
    assert done.returncode == 0, done.stderr
