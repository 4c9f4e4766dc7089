"""Room for one more stream is taken once and given back once; and the states of a worker."""

from __future__ import annotations

import os
import threading

import flask
import pytest
from werkzeug.test import EnvironBuilder

import flask_ssemux
from flask_ssemux.util.once import OncePerProcess
from flask_ssemux.worker.admission import NoRoom
from flask_ssemux.worker.drain import STOPPING
from flask_ssemux.worker.worker import WorkerState


@pytest.fixture
def worker(make_app):
    return make_app(SSEMUX_MAX_STREAMS=3, SSEMUX_MAX_STREAMS_PER_USER=2).extensions["ssemux"].worker


def held(worker):
    """Streams of this worker, and user slots."""
    return worker.count_streams(), worker.broker.get_figures()["held"]


def opened(worker, permit, user="ann"):
    running = worker.running()
    permit.stream = running.hub.open_stream(["a"], user, on_closed=running.on_stream_closed)
    return permit.stream


# -- permits -------------------------------------------------------------------


def test_a_permit_that_is_not_used_gives_its_room_back_once(worker):
    first, second = (worker.running().admission.admit("ann") for _ in range(2))
    assert held(worker) == (2, 2)
    for _ in range(3):
        first.release()
        assert held(worker) == (1, 1)
    second.release()
    assert held(worker) == (0, 0)


def test_an_open_stream_counts_itself_and_its_end_gives_the_room_back(worker):
    permit = worker.running().admission.admit("ann")
    stream = opened(worker, permit)
    assert held(worker) == (1, 1)
    stream.mark_closed("its client left")
    assert held(worker) == (0, 0)
    permit.release()
    assert held(worker) == (0, 0)


def test_a_permit_ends_its_stream_if_something_fails_later(worker):
    permit = worker.running().admission.admit("ann")
    stream = opened(worker, permit)
    for _ in range(2):
        permit.release()
        assert (stream.reason, held(worker)) == ("its request failed", (0, 0))


def test_a_refused_stream_holds_nothing(worker):
    admission = worker.running().admission
    permits = [admission.admit("ann"), admission.admit("ann")]
    with pytest.raises(NoRoom, match="this user holds 2 streams") as refusal:
        admission.admit("ann")
    assert not refusal.value.is_stopping and held(worker) == (2, 2)
    permits.append(admission.admit(None))
    with pytest.raises(NoRoom, match="this worker holds 3 streams"):
        admission.admit("bob")
    assert held(worker) == (3, 2)
    for permit in permits:
        permit.release()
    assert held(worker) == (0, 0)


def test_a_worker_that_stops_says_that_another_one_may_have_room(worker):
    admission = worker.running().admission
    worker.drain()
    with pytest.raises(NoRoom, match=STOPPING) as refusal:
        admission.admit("ann")
    assert refusal.value.is_stopping and held(worker) == (0, 0)


def test_a_worker_that_stops_while_a_user_slot_is_taken_admits_nobody(worker, monkeypatch):
    running = worker.running()
    take = running.user_limit.take_user_slot
    monkeypatch.setattr(running.user_limit, "take_user_slot", lambda user_id: take(user_id) and not worker.drain())
    with pytest.raises(NoRoom, match=STOPPING):
        running.admission.admit("ann")
    assert held(worker) == (0, 0)


# -- a worker's states ---------------------------------------------------------


def test_a_worker_opens_nothing_before_it_is_used(worker):
    before = threading.active_count(), set(os.listdir("/dev/fd"))
    assert worker.state is WorkerState.NEW and worker.count_streams() == 0
    worker.drain()
    assert worker.state is WorkerState.NEW
    assert (threading.active_count(), set(os.listdir("/dev/fd"))) == before


def test_the_states_of_a_worker(worker):
    running = worker.running()
    assert worker.state is WorkerState.RUNNING and worker.running() is running
    worker.drain()
    assert worker.state is WorkerState.DRAINING
    worker.close()
    assert worker.state is WorkerState.CLOSED
    worker.disown()  # as in a forked child
    assert worker.state is WorkerState.NEW
    assert worker.running() is not running and worker.state is WorkerState.RUNNING


def test_a_value_is_made_once_and_again_after_an_error():
    errors, made, together = [OSError()], [], threading.Barrier(5)

    def make():
        if errors:
            raise errors.pop()
        made.append(object())
        return made[-1]

    once = OncePerProcess(make, threading.Lock)
    with pytest.raises(OSError):
        once.get()
    assert once.value is None
    found = []
    threads = [threading.Thread(target=lambda: (together.wait(5), found.append(once.get()))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == made * 5 and once.value is made[0]
    once.forget()
    assert once.get() is made[1]


def test_a_block_that_ends_in_a_drain_is_counted(worker):
    """A worker that gunicorn ends since it was blocked drains before its timer's next turn."""
    running = worker.running()
    opened(worker, running.admission.admit("ann"))
    running.timer.pause()
    running.timer.loop_lag.note_turn(running.timer.clock() - 40, 0.25)
    late = running.timer.loop_lag.late_turns
    running.drain.begin()
    assert running.timer.loop_lag.late_turns == late + 1


def test_a_wrapped_stream_that_begins_during_a_drain_ends(make_app):
    app = make_app()

    @app.route("/old")
    @flask_ssemux.streaming
    def old():
        return flask.Response(("data: %d\n\n" % number for number in range(1000)), mimetype="text/event-stream")

    worker = app.extensions["ssemux"].worker
    body = app.wsgi_app(EnvironBuilder("/old").get_environ(), lambda *_: None)  # nothing has been read yet
    worker.drain()
    read = b"".join(body)
    body.close()
    assert b"data: 999" not in read
    assert worker.count_streams() == 0
