"""Which errors are logged and which are raised again, and loops that go on; with gevent's own exceptions too."""

from __future__ import annotations

import threading

import gevent
import pytest
from greenlet import GreenletExit

from flask_ssemux.util import supervise
from flask_ssemux.util.supervise import Loop, attempt
from tests.harness.waiting import until


def raising(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize("error", [ValueError("no"), RecursionError(), MemoryError(), gevent.Timeout(1)])
def test_an_error_is_logged_with_its_traceback_and_not_raised(error, caplog):
    assert attempt("it could not be done", raising(error)) is False
    [line] = caplog.records
    assert line.getMessage() == "it could not be done: %r" % error and line.exc_info[1] is error


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt, GeneratorExit, GreenletExit])
def test_an_exception_that_ends_a_thread_is_raised_again(end, caplog):
    with pytest.raises(end):
        attempt("it could not be done", raising(end()))
    assert not caplog.records


def test_the_same_error_is_logged_once_a_minute(caplog):
    for error in (ValueError(1), ValueError(2), TypeError(3)):
        attempt("it could not be done", raising(error))
    assert [line.getMessage() for line in caplog.records] == [
        "it could not be done: ValueError(1)",
        "it could not be done: TypeError(3)",
    ]


class Work:
    """A loop whose turns raise these errors."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.turns = 0
        self.is_over = False
        self.lock = threading.Lock()
        self.loop = Loop("a loop", self.lock, lambda: not self.is_over, self.turn, 0.001)

    def turn(self):
        self.turns += 1
        if self.errors:
            raise self.errors.pop(0)

    def start(self):
        with self.lock:
            self.loop.start()

    def end(self):
        self.is_over = True
        until(lambda: not self.loop.is_running, 2, "the loop does not end")


def test_a_loop_goes_on_after_an_error_and_pauses_first(monkeypatch):
    monkeypatch.setattr(supervise, "PAUSE", 0.01)
    work = Work(ValueError("no"), gevent.Timeout(1))
    work.start()
    until(lambda: work.turns > 3, 2, "the loop has ended")
    work.end()


def test_a_loop_whose_condition_raises_goes_on(monkeypatch):
    monkeypatch.setattr(supervise, "PAUSE", 0.01)
    answers = [ValueError("no")]
    work = Work()

    def is_needed():
        if answers:
            raise answers.pop()
        return not work.is_over

    work.loop._is_needed = is_needed
    work.start()
    until(lambda: work.turns > 1, 2, "the loop has ended")
    work.end()


@pytest.mark.filterwarnings("ignore:Exception in thread")
def test_a_loop_that_was_ended_is_started_again_by_the_next_call():
    work = Work(SystemExit())
    work.start()
    until(lambda: not work.loop.is_running, 2, "the loop does not end")
    work.start()
    until(lambda: work.turns > 1, 2, "the loop was not started again")
    work.end()


def test_a_loop_that_could_not_start_is_started_by_the_next_call(monkeypatch):
    work = Work()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda self: raising(RuntimeError("can't start new thread"))())
        with pytest.raises(RuntimeError):
            work.start()
    work.start()
    until(lambda: work.turns > 1, 2, "the loop was not started")
    work.end()
