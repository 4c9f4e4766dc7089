"""A generator in a greenlet or thread of its own: its context, its end, and how it is stopped."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import contextmanager, nullcontext

import pytest

from flask_ssemux.runs.runner import Runner

#: Under gevent: what each generator noted, and how long its end took after ``stop``.
UNDER_GEVENT = """
from gevent import monkey; monkey.patch_all()
import contextvars, threading, time
from contextlib import nullcontext
from flask_ssemux.runs.runner import Runner

variable = contextvars.ContextVar("variable", default="none")
variable.set("of a request")
notes = []

def endless():
    notes.append(variable.get())
    try:
        yield 1
        threading.Event().wait()
    except Exception:
        notes.append("must not be caught")
    finally:
        time.sleep(0.05)
        notes.append("closed")

def stubborn():
    try:
        while True:
            time.sleep(1000)
            yield 1
    except GeneratorExit:
        yield "one more"

for make in (endless, stubborn):
    values = []
    runner = Runner("test", lambda runner: runner.iterate(make, nullcontext, values.append))
    runner.start()
    time.sleep(0.05)
    began = time.monotonic()
    runner.stop()
    runner.stop()
    assert runner.wait(5) and time.monotonic() - began < 1
    notes.append(values)

runner = Runner("test", lambda runner: runner.pause(1000))
runner.start()
runner.stop()  # before it began
assert runner.wait(5)
print(notes)
"""


def run(make, context=nullcontext, take=None, after=None):
    """Run a generator; return what was taken, and the error that it ended with."""
    values, errors = [], []

    def work(runner):
        try:
            runner.iterate(make, context, take or values.append)
        except BaseException as error:
            errors.append(error)
            raise

    runner = Runner("test", work)
    runner.start()
    if after is not None:
        after(runner)
    assert runner.wait(10) and runner.is_over
    return values, errors


def test_a_generator_runs_to_its_end_in_its_context():
    notes = []

    @contextmanager
    def context():
        notes.append("begin")
        yield
        notes.append("end")

    def make():
        notes.append(threading.current_thread() is not threading.main_thread())
        yield 1
        yield 2

    assert run(make, context) == ([1, 2], []) and notes == ["begin", True, "end"]
    assert run(lambda: [1, 2]) == ([1, 2], [])


def test_an_error_of_the_generator_or_of_its_taker_closes_it():
    closed = []

    def make():
        try:
            yield 1
            yield 1 / 0
        finally:
            closed.append(True)

    values, (error,) = run(make)
    assert values == [1] and isinstance(error, ZeroDivisionError)

    def refuse(value):
        raise LookupError(value)

    _, (error,) = run(make, take=refuse)
    assert isinstance(error, LookupError) and closed == [True, True]


def test_in_a_thread_a_generator_is_stopped_at_its_next_yield():
    going, may_go, closed = threading.Event(), threading.Event(), threading.Event()

    def make():
        try:
            yield 1
            going.set()
            may_go.wait(10)
            yield 2
            yield 3
        finally:
            closed.set()

    def stop(runner):
        assert going.wait(10)
        runner.stop()
        may_go.set()

    values, (error,) = run(make, after=stop)
    assert values == [1] and isinstance(error, GeneratorExit) and closed.is_set()


def test_a_pause_ends_when_the_runner_is_stopped():
    runner = Runner("test", lambda runner: runner.pause(1000))
    runner.start()
    runner.stop()
    assert runner.wait(10)
    with pytest.raises(GeneratorExit):
        runner.check()


def test_under_gevent_a_generator_is_stopped_where_it_waits():
    done = subprocess.run([sys.executable, "-c", UNDER_GEVENT], stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.stdout == "['none', 'closed', [1], []]\n"
