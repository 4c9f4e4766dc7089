"""The loop lag with time passed in; and what the watchdog sees in a process that gevent has patched."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import textwrap
import threading
import time

import gevent.hub
import pytest

from flask_ssemux.worker.loop_lag import LATE, LoopLag, describe_calls, select_own_calls
from flask_ssemux.worker.timer import Timer

VIEW = ("/srv/shop/views.py", 42, "report")
MODEL = ("/srv/shop/models.py", 1, "all")
DRIVER = ("/srv/venv/lib/python3.11/site-packages/driver.py", 7, "execute")
OURS = (sys.modules[LoopLag.__module__].__file__, 1, "turn")
STDLIB = (sysconfig.get_path("stdlib") + "/re.py", 9, "match")


class Seen:
    """A watcher that has seen these calls."""

    def __init__(self, *calls):
        self.calls, self.asked = calls, []

    def get_calls(self, due):
        self.asked.append(due)
        return self.calls

    def stop(self):
        pass


def watched(watcher=None, streams=3):
    loop_lag = LoopLag(lambda: streams, watcher and (lambda loop_lag: watcher), " (a margin)")
    loop_lag.start_watching()
    return loop_lag


def late(loop_lag, at, by):
    """A turn at this time which was due so many seconds before."""
    loop_lag.stop_watching()  # whatever was before
    loop_lag.note_turn(at - by - 0.25, 0.25)
    loop_lag.note_turn(at)


# -- counted -----------------------------------------------------------------


def test_turns_that_are_on_time_are_not_counted(caplog):
    loop_lag = watched()
    for number in range(100):
        loop_lag.note_turn(number, 0.25)
        loop_lag.note_turn(number + 0.25 + 0.99 * LATE)
    assert (loop_lag.late_turns, loop_lag.longest, caplog.messages) == (0, 0.0, [])


def test_the_first_turn_is_never_late_nor_is_the_first_after_an_end(caplog):
    loop_lag = watched()
    loop_lag.note_turn(1000.0, 0.25)
    loop_lag.stop_watching()
    loop_lag.start_watching()
    loop_lag.note_turn(2000.0)
    assert (loop_lag.late_turns, caplog.messages) == (0, [])


def test_without_streams_no_turn_is_late(caplog):
    loop_lag = watched(streams=0)
    late(loop_lag, 100, 50)
    assert (loop_lag.late_turns, caplog.messages) == (0, [])


def test_late_turns_are_counted_and_the_longest_is_kept():
    loop_lag = watched()
    for at, by in [(100, 2), (200, 5), (300, 3)]:
        late(loop_lag, at, by)
    assert (loop_lag.late_turns, loop_lag.longest) == (3, 5)


# -- said --------------------------------------------------------------------


def test_a_line_names_the_lag_the_streams_and_what_ran():
    watcher = Seen(VIEW, DRIVER, STDLIB)
    loop_lag = watched(watcher)
    with_line = logged(lambda: late(loop_lag, 100, 3.0125))
    first, *rest = with_line.splitlines()
    assert first == (
        "the worker was blocked and is late by 3012 ms: its streams (3) got neither heartbeats nor events (a margin); "
        "report (/srv/shop/views.py:42) ran; let it wait as gevent does (a driver that yields, monkey.patch_all() "
        "before other imports), or compute in gevent's threadpool: docs/blocking.md"
    )
    assert rest[0] == "What ran then (most recent call last):"
    assert [line.strip() for line in rest[1:4]] == [
        'File "%s", line %d, in %s' % call for call in (VIEW, DRIVER, STDLIB)
    ]
    assert watcher.asked == [100 - 3.0125]


def test_one_line_a_minute_and_the_next_one_counts_those_left_out():
    loop_lag = watched(Seen(VIEW))
    assert logged(lambda: late(loop_lag, 100, 2))
    assert logged(lambda: (late(loop_lag, 110, 4), late(loop_lag, 120, 3), late(loop_lag, 159, 2))) == ""
    said = logged(lambda: late(loop_lag, 161, 2))
    assert "; since the last such line it was late 3 times more, by up to 4000 ms\n" in said
    assert "since" not in logged(lambda: late(loop_lag, 230, 2))
    assert loop_lag.late_turns == 6


def test_in_threads_the_cause_is_not_known():
    said = logged(lambda: late(watched(), 100, 2))
    assert said.endswith(
        "(a margin); in threads the cause is not known: native code that keeps the interpreter's lock, or too few "
        "processors"
    )


def logged(work):
    import logging

    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("flask_ssemux")
    logger.addHandler(handler)
    try:
        work()
    finally:
        logger.removeHandler(handler)
    assert len(lines) <= 1
    return "".join(lines)


@pytest.mark.parametrize(
    "calls, expected",
    [
        ([VIEW], [VIEW]),
        ([VIEW, DRIVER, STDLIB], [VIEW]),
        ([DRIVER, VIEW, OURS], [VIEW]),
        ([VIEW, DRIVER, MODEL, STDLIB], [VIEW, MODEL]),
        ([VIEW, VIEW, MODEL, MODEL, VIEW], [MODEL, MODEL, VIEW]),
        ([DRIVER, STDLIB], [STDLIB]),
        ([VIEW, ("<frozen importlib._bootstrap>", 1, "_load")], [VIEW]),
        ([DRIVER, ("<string>", 1, "<module>")], [("<string>", 1, "<module>")]),
    ],
)
def test_the_calls_that_are_shown_are_the_innermost_of_the_application(calls, expected):
    assert select_own_calls(calls) == expected


def test_a_process_that_got_no_processor():
    assert describe_calls([(gevent.hub.__file__, 647, "run")]) == (
        "nothing ran: the process got no processor (an overloaded or swapping machine)"
    )


def test_calls_that_were_not_seen():
    assert describe_calls([]).startswith("what ran was not seen: ")


# -- a timer of its own ------------------------------------------------------


class SlowMember:
    """A member whose first call takes long."""

    timer_slot = None

    def __init__(self, work):
        self.work, self.done = work, threading.Event()

    def run_due_work(self, now):
        self.work()
        self.done.set()


def test_a_call_of_a_member_that_takes_too_long_makes_the_turn_late():
    loop_lag = LoopLag(lambda: 1)
    timer = Timer(20, loop_lag=loop_lag)
    look = SlowMember(lambda: time.sleep(LATE + 0.1))
    timer.add(look, timer.clock())
    timer.add(SlowMember(lambda: None), timer.clock() + LATE + 0.6)
    assert look.done.wait(5)
    deadline = time.monotonic() + 5
    while not loop_lag.late_turns and time.monotonic() < deadline:
        time.sleep(0.01)
    assert loop_lag.late_turns == 1 and loop_lag.longest >= LATE


# -- seen, while it blocks ---------------------------------------------------

BEGIN = """
import gevent.monkey
gevent.monkey.patch_all()
import logging, os, sys, time
import flask, flask_ssemux
lines = []
handler = logging.Handler()
handler.emit = lambda record: lines.append(record.getMessage())
logging.getLogger("flask_ssemux").addHandler(handler)
app = flask.Flask("x", instance_path=sys.argv[1])
flask_ssemux.init_app(app)
worker = app.extensions["ssemux"].worker

def hang(seconds=1.3):
    gevent.monkey.get_original("time", "sleep")(seconds)

def threads():
    return len(os.listdir("/proc/self/task"))

def open_stream():
    running = worker.running()
    permit = running.admission.admit(None)
    permit.stream = running.hub.open_stream(["*"], None, on_closed=running.on_stream_closed)
    return permit.stream

def late():
    return [line for line in lines if "late by" in line]
"""


def patched(script, tmp_path):
    code = BEGIN + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_code_that_blocks_is_seen_in_a_worker_and_in_its_forked_child(tmp_path):
    patched(
        """
        worker.broker
        assert threads() == 1
        worker.running().hub
        time.sleep(0.4)
        assert threads() == 2
        hang()
        time.sleep(0.4)
        assert not late() and worker.running().timer.loop_lag.late_turns == 0, lines  # nobody has a stream yet
        stream = open_stream()
        time.sleep(0.4)
        child = os.fork()
        if not child:
            open_stream()
            time.sleep(0.4)
            assert threads() == 2, threads()
        hang()
        time.sleep(0.4)
        assert len(late()) == 1 and "; hang (<string>:" in late()[0], lines
        assert worker.running().timer.loop_lag.late_turns == 1
        if not child:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """,
        tmp_path,
    )
