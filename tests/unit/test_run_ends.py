"""Runs at their borders: a cursor beyond the end, a system without threads, and what a generator leaves behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading

import pytest

from flask_ssemux.runs import batches as batches_module
from flask_ssemux.runs import lost as lost_module
from flask_ssemux.runs import tasks as tasks_module
from tests.harness.waiting import until
from tests.unit.test_runs import END, app, go_on, make_app, mux, read  # noqa: F401


def test_a_cursor_newer_than_the_end_gets_the_end_and_the_ends_cursor_nothing(app, mux):  # noqa: F811
    run = mux.start_run(iter("abc"))
    run.wait(10)
    foreign = str(mux.publish("room", 1))
    events, last, status = read(app, run.url, foreign)
    assert (events[1:], status) == ([END], 200)
    assert read(app, run.url, last) == ([], "", 204)
    assert read(app, run.url + "?last_event_id=" + foreign, last) == ([], "", 204)  # as a page that has a cursor does
    assert [len(read(app, run.url, last.replace("-4", "-%d" % n))[0]) for n in (0, 1, 2, 3)] == [5, 4, 3, 2]


def test_streaming_adds_nothing_to_streams_of_this_package(app, mux):  # noqa: F811
    """A view that was wrapped, and now answers with a run."""
    app.add_url_rule("/plain", "plain", lambda: mux.start_run(iter("ab")).response())
    app.add_url_rule("/wrapped", "wrapped", mux.streaming(lambda: mux.start_run(iter("ab")).response()))
    bodies = [re.sub(rb"id: .*", b"", app.test_client().get(url).get_data()) for url in ("/plain", "/wrapped")]
    assert bodies[0] == bodies[1]


class NoThreads:
    """A system that has no thread left for threads of these names."""

    def __init__(self, monkeypatch):
        self.names, self._start = (), threading.Thread.start
        monkeypatch.setattr(threading.Thread, "start", lambda thread: self._start_thread(thread))

    def _start_thread(self, thread):
        if thread.name in self.names:
            raise RuntimeError("can't start new thread")
        self._start(thread)


@pytest.mark.parametrize("name", ["ssemux-run", "ssemux-keeper"])
def test_a_run_for_which_the_system_has_no_thread_has_failed(app, mux, monkeypatch, name):  # noqa: F811
    system = NoThreads(monkeypatch)
    planned, runs = mux.plan_run(owner=7), app.extensions["ssemux"].runs
    system.names = (name,)
    with pytest.raises(RuntimeError):
        runs.begin_planned_run(planned.id, iter("abc"))
    assert planned.state == "failed" and not runs.tasks.count_running()
    assert read(app, planned.url, user="7")[0][1:] == [("ssemux.run", '{"state":"failed"}')]
    system.names = ()
    assert [mux.start_run(iter("abc"), owner=7).wait(10) for _ in range(40)] == ["done"] * 40  # no slot is left taken


def test_events_wait_until_the_system_has_a_thread_for_them(app, mux, monkeypatch):  # noqa: F811
    system, may_go_on = NoThreads(monkeypatch), threading.Event()
    monkeypatch.setattr(batches_module, "MAX_PAUSE", 0.05)

    def generate():
        yield 1
        may_go_on.wait(10)
        yield 2

    system.names = ("ssemux-work",)
    run = mux.start_run(generate())
    task = app.extensions["ssemux"].runs.tasks.find_task(run.id)
    until(lambda: task._outbox.events, 10, "nothing is yielded")
    may_go_on.set()
    until(lambda: task.is_ending, 10, "it does not end")
    system.names = ()
    assert run.wait(10) == "done"
    assert [data for _, data in read(app, run.url)[0][1:-1]] == ["1", "2"]


def test_a_worker_that_begins_goes_on_with_a_run_that_nobody_reads(app, mux, tmp_path, monkeypatch):  # noqa: F811
    """Its function is known only where the run was started: in the process that is dead."""
    monkeypatch.setattr(lost_module, "CONFIRM_SECONDS", 0.0)
    state, is_over = app.extensions["ssemux"], threading.Event()
    run = mux.start_run((is_over.wait(30) for _ in range(1)), data=3, resume=go_on)
    state.runs.stop_resuming()
    task = state.runs.tasks.find_task(run.id)
    task.lose()
    state.worker.broker.work.release_work([task.lease])
    other = make_app(tmp_path)
    other.test_client().get("/events?poll=now")
    until(lambda: state.runs.read_record(run.id).state == "done", 10, "nobody goes on with it")
    is_over.set()
    other.extensions["ssemux"].worker.stop()


def test_a_cancelled_run_whose_generator_does_not_end_is_logged_once(app, mux, monkeypatch, caplog):  # noqa: F811
    monkeypatch.setattr(tasks_module, "LATE_SECONDS", 0.0)
    begun, go = threading.Event(), threading.Event()
    run = mux.start_run((begun.set(), go.wait(30)) for _ in range(1))
    assert begun.wait(10)
    run.cancel()
    keeper = app.extensions["ssemux"].worker.work_parts.keeper
    until(lambda: "is not closed yet" in caplog.text, 20, "it is not logged")
    turn = keeper._next_turn
    keeper.wake()
    until(lambda: keeper._next_turn > turn, 10, "the keeper does not go on")
    go.set()
    assert run.wait(10) == "cancelled"
    assert caplog.text.count("the run %s is not closed yet" % run.id) == 1


#: Runs under gevent whose generators are copied by a fork, fork themselves, leave a time-out behind, and hold locks.
UNDER_GEVENT = """
from gevent import monkey; monkey.patch_all()
import gevent, gevent.os, json, os, sys, tempfile, threading, time
import flask, flask_ssemux

folder = tempfile.mkdtemp()
app = flask.Flask("runs", instance_path=folder)
mux = flask_ssemux.SSEMux(app)
app.app_context().push()
runs = []
own, notes, lock = os.getpid(), os.open(folder + "/notes", os.O_CREAT | os.O_APPEND | os.O_RDWR), threading.Lock()

def note(word):
    os.write(notes, b"%s " % (word if os.getpid() == own else word + " of a child").encode())

def copied():
    try:
        for number in range(4):
            time.sleep(0.1)
            note("step")
            yield number
    finally:
        note("end")

def finish_child(forking):
    note("over" if forking.dead else "not over")
    os._exit(0)

def forking(end):
    yield "before"
    reader, writer = os.pipe()
    if os.fork() == 0:
        gevent.spawn_later(0.5, finish_child, gevent.getcurrent())  # it holds the pipe open until then
        time.sleep(0.05)
        if end == "raises":
            raise ValueError
        if end == "exits":
            sys.exit()
        yield "of a child"
        note("goes on")
    os.close(writer)
    gevent.os.tp_read(reader, 1)
    yield "after"

def late():
    yield "late"
    gevent.Timeout(0.1).start()  # it ends while the run's end waits for the store

def busy():
    while True:
        yield None

def holding():
    with lock:
        yield "held"
        time.sleep(60)

def waiting():
    with lock:
        yield "held"

def start(generator):
    runs.append(mux.start_run(generator))
    return runs[-1]

start(copied())
time.sleep(0.15)
if os.fork() == 0:
    time.sleep(0.5)
    os._exit(0)
runs[0].wait(10)
for end in ("raises", "exits", "goes on"):
    start(forking(end)).wait(10)

runs.append(gevent.get_hub().threadpool.apply(lambda: mux.start_run(iter("ab"))))  # beside the loop
start(busy())
time.sleep(0.05)
runs[-1].cancel()
holder, second, _ = [start(make()) for make in (holding, waiting, waiting)]
time.sleep(0.05)
second.cancel()
holder.cancel()
for run in runs:
    run.wait(30)

broker = app.extensions["ssemux"].worker.broker
append = broker.work.append_work
broker.work.append_work = lambda batches: (time.sleep(0.3), append(batches))[1]
start(late()).wait(30)

def read_data(run):
    page = broker.history.read_events([run.channel], 0, broker.history.get_newest_cursor().sequence, 100)
    return [record.body.decode().partition("data: ")[2].strip() for record in page.records]

print(json.dumps([os.pread(notes, 1000, 0).decode(), lock.locked(), [read_data(run) for run in runs]]))
"""


def test_what_generators_under_gevent_leave_behind_and_what_a_fork_copies():
    done = subprocess.run([sys.executable, "-c", UNDER_GEVENT], timeout=30, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    notes, is_locked, data = json.loads(done.stdout.splitlines()[-1])
    assert notes == "step step step step end " + "over of a child " * 3
    assert not is_locked
    cancelled, ended = '{"state":"cancelled"}', '{"state":"done"}'
    assert data == [
        ["0", "1", "2", "3", ended], *[["before", "after", ended]] * 3,
        ["a", "b", ended],
        [cancelled],
        ["held", cancelled], [cancelled], ["held", ended], ["late", ended],
    ]  # fmt: skip
    assert "failed" not in done.stderr  # nobody logs what a child's copy does
