"""The queue of openings in a loop of gevent, the WSGI border, and within which time a drain lets clients come back."""

from __future__ import annotations

import flask
import gevent
import gevent.event
import pytest
from gevent import get_hub
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import flask_ssemux
from flask_ssemux.http import opening_border
from flask_ssemux.options import Options
from flask_ssemux.worker import drain, opening_queue
from flask_ssemux.worker.opening_queue import (
    FEW_SAMPLES,
    FIRST_COST,
    PER_TURN,
    SAMPLES,
    SERVER_SHARE,
    OpeningQueue,
    QueueFull,
)


@pytest.fixture
def queue(monkeypatch):
    monkeypatch.setattr(opening_queue, "runs_greenlets", lambda: True)
    return OpeningQueue()


@pytest.fixture
def turns():
    """turns(): how often the loop has looked at its sockets."""
    count = [0]

    def note():
        count[0] += 1

    watcher = get_hub().loop.check()
    watcher.start(note)
    yield lambda: count[0]
    watcher.stop()
    watcher.close()


def open_in_greenlets(queue, number, begun):
    def open_stream(name):
        queue.await_turn()
        begun(name)

    return [gevent.spawn(open_stream, name) for name in range(number)]


# -- the queue -----------------------------------------------------------------


def test_a_single_opening_does_not_wait(queue):
    for _ in range(3):
        queue.await_turn()
        gevent.sleep(0.01)
    assert len(queue) == 0


def test_few_begin_in_each_turn_in_the_order_in_which_they_came(queue, turns):
    begun = []
    gevent.joinall(open_in_greenlets(queue, 50, lambda name: begun.append((name, turns()))), timeout=5)
    assert [name for name, _ in begun] == list(range(50))
    per_turn = [sum(1 for _, turn in begun if turn == number) for number in {turn for _, turn in begun}]
    assert max(per_turn) <= PER_TURN + 1 and len(per_turn) >= 50 / PER_TURN


def test_what_is_ready_meanwhile_runs_between_the_openings(queue, turns):
    """A page that arrives after 100 requests for streams is answered when a few of them have been opened."""
    begun, page = [], []
    streams = open_in_greenlets(queue, 100, begun.append)
    gevent.spawn(lambda: page.append(len(begun)))
    gevent.joinall(streams, timeout=5)
    assert len(begun) == 100 and page[0] < 50


def test_an_opening_that_waits_for_something_else_holds_up_nobody(queue):
    begun, go_on = [], gevent.event.Event()

    def begin(name):
        begun.append(name)
        go_on.wait()

    streams = open_in_greenlets(queue, 30, begin)
    with gevent.Timeout(5):
        while len(begun) < 30:
            gevent.sleep(0.001)
    go_on.set()
    gevent.joinall(streams, timeout=5)


def test_a_queue_that_is_full_refuses(queue):
    """A waiting request uses the server's capacity, of which half is left for pages."""
    queue.limit_waiting(400)
    queue.await_turn()  # another one is being opened in this turn
    queue._waiting.extend([gevent.Greenlet() for _ in range(200)])
    with pytest.raises(QueueFull):
        queue.await_turn()
    queue._waiting.clear()


def test_a_request_that_is_given_up_while_it_waits_leaves_the_queue(queue):
    begun = []
    streams = open_in_greenlets(queue, 10, begun.append)
    gevent.sleep(0)
    streams[9].kill()
    gevent.joinall(streams, timeout=5)
    assert begun == list(range(9)) and len(queue) == 0


def test_the_loop_sleeps_when_nothing_waits(queue, turns):
    gevent.joinall(open_in_greenlets(queue, 10, lambda name: None), timeout=5)
    gevent.sleep(0.01)
    before = turns()
    gevent.sleep(0.05)
    assert turns() - before < 10


def test_a_forked_child_has_turns_of_its_own(queue):
    """The parent's watcher is active in the child's copy of the loop, too; it ends itself there."""
    begun, errors = [], []

    def fork(name):
        begun.append(name)
        if name == 2:
            queue._forget()  # what a child does

    hub = get_hub()
    hub.handle_error, handle_error = lambda *error: errors.append(error), hub.handle_error
    try:
        open_in_greenlets(queue, 10, fork)
        with gevent.Timeout(5):
            while 2 not in begun or queue._watcher is not None:
                gevent.sleep(0.001)
        gevent.sleep(0.01)
        gevent.joinall(open_in_greenlets(queue, 10, lambda name: begun.append(name + 100)), timeout=5)
    finally:
        hub.handle_error = handle_error
    assert errors == [] and begun[-10:] == list(range(100, 110))


def test_nothing_waits_without_greenlets():
    queue = OpeningQueue()
    for _ in range(100):
        queue.await_turn()


@pytest.fixture
def cpu(monkeypatch):
    """A clock of CPU time that the test moves on."""
    now = [0.0]
    monkeypatch.setattr(opening_queue.time, "thread_time", lambda: now[0])

    def use(seconds):
        now[0] += seconds

    return use


def test_what_an_opening_costs(queue, cpu):
    assert queue.cost == FIRST_COST * (1 + SERVER_SHARE)
    for number in range(SAMPLES):
        with queue.measure_opening():
            cpu(5.0 if number % 3 == 0 else 0.002)  # every third was interrupted by long work of others
    assert queue.cost == pytest.approx(0.002 * (1 + SERVER_SHARE))


def test_the_first_openings_start_the_workers_parts_and_do_not_say_what_one_costs(queue, cpu):
    for _ in range(2):
        with queue.measure_opening():
            cpu(0.030)
        assert queue.cost == FIRST_COST * (1 + SERVER_SHARE)
    for _ in range(FEW_SAMPLES):
        with queue.measure_opening():
            cpu(0.002)
    assert queue.cost == pytest.approx(0.002 * (1 + SERVER_SHARE))


def test_openings_that_overlap_are_measured_together(queue, cpu):
    """Each waits while the others work, so the CPU time from its beginning to its end has theirs in it."""
    openings = [queue.measure_opening() for _ in range(200)]
    for opening in openings:
        opening.__enter__()
    for opening in openings:
        cpu(0.002)
        opening.__exit__(None, None, None)
    assert queue.cost == pytest.approx(0.002 * (1 + SERVER_SHARE))


def test_nothing_is_measured_in_threads_whose_clocks_differ(cpu):
    queue = OpeningQueue()
    with queue.measure_opening():
        cpu(5.0)
    assert queue.cost == FIRST_COST * (1 + SERVER_SHARE)


def test_a_request_that_forks_and_continues_in_the_child_ends_no_opening_there(queue, cpu, monkeypatch):
    with queue.measure_opening():
        queue._forget()  # what the fork does in the child
        monkeypatch.setattr(opening_queue.forks, "generation", opening_queue.forks.generation + 1)
        cpu(5.0)
    for _ in range(FEW_SAMPLES):
        with queue.measure_opening():
            cpu(0.002)
    assert queue.cost == pytest.approx(0.002 * (1 + SERVER_SHARE))


# -- the border ------------------------------------------------------------------


@pytest.fixture
def full(make_app, monkeypatch):
    """An application whose queue is full."""

    def refuse():
        raise QueueFull

    made = make_app()
    made.add_url_rule("/page", "page", lambda: "a page")
    monkeypatch.setattr(opening_border.opening_queue, "await_turn", refuse)
    return made


STREAM = {"Accept": "text/event-stream"}


def test_a_client_that_finds_the_queue_full_is_told_when_to_come_back(full):
    answer = full.test_client().get("/events", headers=STREAM)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["X-Accel-Buffering"] == "no"
    retry, note = answer.get_data(as_text=True).split("\n", 1)
    assert 1500 <= int(retry[len("retry: ") :]) <= 4500 and note == ": many streams are being opened\n"


def test_a_client_that_finds_the_queue_full_comes_back_within_the_maximum(full, machine, monkeypatch):
    machine(0.1)
    monkeypatch.setattr(OpeningQueue, "__len__", lambda queue: 2000)
    answers = [full.test_client().get("/events", headers=STREAM).get_data(as_text=True) for _ in range(50)]
    retries = [int(answer.split("\n")[0][len("retry: ") :]) for answer in answers]
    assert all(1500 <= retry <= 60000 for retry in retries) and max(retries) > 20000


def test_a_client_of_another_origin_is_told_so_by_the_application(full):
    """Its ``after_request`` functions add the headers without which a browser would not read the answer."""

    @full.after_request
    def allow_origin(response):
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    answer = full.test_client().get("/events", headers={**STREAM, "Origin": "https://shop.test"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.get_data(as_text=True).startswith("retry: ") and "many streams" in answer.get_data(as_text=True)


def test_a_page_passes(full):
    assert full.test_client().get("/page").data == b"a page"


def test_a_path_at_which_streams_were_served_is_known(full, make_app):
    with full.test_client() as client:
        assert b"ssemux.hello" in next(client.get("/events").response)  # no EventSource, so the first request passes
        assert client.get("/events").get_data(as_text=True).startswith("retry: ")


def test_a_page_at_the_path_of_a_stream_is_no_stream(full):
    """A view may answer with a page or with a stream, whatever the client accepts."""

    @flask_ssemux.streaming
    def negotiate():
        if flask.request.accept_mimetypes.best == "text/html":
            return "a page"
        return flask.Response(iter(["data: x\n\n"]), mimetype="text/event-stream")

    full.add_url_rule("/both", "both", negotiate)
    client = full.test_client()
    assert b"data: x" in client.get("/both").data and b"many streams" in client.get("/both").data
    assert client.get("/both", headers={"Accept": "text/html,*/*"}).data == b"a page"


def test_an_application_within_another_has_one_turn_and_paths_of_its_own(make_app, monkeypatch):
    """Middleware changes the path of the request in its place."""
    turns = []
    outer, inner = make_app(), make_app()
    outer.wsgi_app._application = DispatcherMiddleware(outer.wsgi_app._application, {"/in": inner})
    monkeypatch.setattr(opening_border.opening_queue, "await_turn", lambda: turns.append(1))
    client = outer.test_client()
    for headers, count in (({}, 0), ({}, 1), (STREAM, 2)):
        response = client.get("/in/events", headers=headers)
        assert b"ssemux.hello" in next(response.response)
        response.close()
        assert len(turns) == count
    assert outer.wsgi_app._paths == {"/in/events"} and inner.wsgi_app._paths == {"/events"}


def test_a_wrapped_body_of_another_type_passes(full):
    def table():
        return flask.Response(iter(["id,name\n"]), mimetype="text/csv")

    full.add_url_rule("/table", "table", flask_ssemux.streaming(table))
    client = full.test_client()
    assert [client.get("/table").data for _ in range(2)] == [b"id,name\n"] * 2


# -- when the clients of a worker that stops come back ----------------------------------


@pytest.fixture
def machine(monkeypatch):
    """machine(cost=…, workers=…, cores=…): what an opening costs here, and who shares how many cores."""

    def make(cost, workers=1, cores=1):
        monkeypatch.setattr(OpeningQueue, "cost", property(lambda queue: cost))
        monkeypatch.setattr(drain, "_count_workers", lambda: workers)
        monkeypatch.setattr(drain, "_count_cores", lambda: cores)

    return make


@pytest.mark.parametrize(
    "count, workers, cores, seconds",
    [
        (200, 1, 1, 3.0),  # never less than SSEMUX_RETRY
        (9000, 1, 1, 18.0),  # half of the core: twice what all openings take
        (4500, 2, 1, 18.0),
        (4500, 2, 2, 9.0),
        (4500, 1, 4, 9.0),  # a worker uses one core, however many there are
        (100_000, 1, 1, 58.5),  # never later than SSEMUX_RETURN_WITHIN
    ],
)
def test_over_how_many_seconds_clients_come_back(machine, count, workers, cores, seconds):
    machine(0.001, workers, cores)
    options = Options.resolve({}, {})
    assert drain.choose_return_seconds(options, count) == pytest.approx(seconds)
    drawn = [drain.draw_return(options, seconds) for _ in range(1000)]
    assert min(drawn) >= 1500 and max(drawn) <= 1500 + seconds * 1000 <= 60000
    assert max(drawn) - min(drawn) > seconds * 900


def test_a_maximum_of_the_application(machine):
    machine(0.001)
    assert drain.choose_return_seconds(Options.resolve({"SSEMUX_RETURN_WITHIN": 10}, {}), 9000) == 8.5


def test_a_client_that_asks_during_the_drain_comes_back_when_the_others_do(make_app, monkeypatch):
    monkeypatch.setattr(drain, "choose_return_seconds", lambda options, count: 40.0)
    app = make_app()
    app.extensions["ssemux"].worker.running()
    app.extensions["ssemux"].worker.drain()
    answers = [app.test_client().get("/events").get_data(as_text=True) for _ in range(50)]
    retries = [int(answer.split("\n")[0][len("retry: ") :]) for answer in answers]
    assert all(1500 <= retry <= 41500 for retry in retries) and max(retries) > 10000


def test_openings_that_wait_are_counted_by_the_drain(make_app, monkeypatch):
    """They are sent away, too, and come back with the clients of the open streams."""
    counts = []
    monkeypatch.setattr(drain, "choose_return_seconds", lambda options, count: counts.append(count) or 3.0)
    monkeypatch.setattr(OpeningQueue, "__len__", lambda queue: 700)
    app = make_app()
    app.extensions["ssemux"].worker.running()
    app.extensions["ssemux"].worker.drain()
    assert counts == [700]
