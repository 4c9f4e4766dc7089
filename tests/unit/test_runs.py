"""Runs without a server: in threads, with a client in the same process; their arguments, their end and their limits."""

from __future__ import annotations

import contextvars
import functools
import json
import sys
import threading
import time

import flask
import pytest

import flask_ssemux
from flask_ssemux import Publisher, RunFailed, TooManyRuns
from flask_ssemux.errors import ApplicationError, InvalidChannel, InvalidEvent
from flask_ssemux.runs import lost as lost_module
from flask_ssemux.runs.messages import WORK_CHANNEL, WorkMessage
from tests.harness.parser import Parser
from tests.harness.waiting import until
from tests.unit.test_extension import refusal

VARIABLE = contextvars.ContextVar("variable", default="unset")


def make_app(folder, **config):
    app = flask.Flask("runs", instance_path=str(folder))
    app.config.update(TESTING=True, SSEMUX_BROKER="sqlite:", **config)
    mux = flask_ssemux.SSEMux(app)
    mux.identify(lambda: flask.request.headers.get("X-User"))
    return app


@pytest.fixture
def app(tmp_path):
    app = make_app(tmp_path)
    yield app
    app.extensions["ssemux"].worker.stop()


@pytest.fixture
def mux(app):
    """The functions, which act on the application."""
    with app.app_context():
        yield flask_ssemux


@pytest.fixture
def publisher(app, tmp_path):
    with Publisher("sqlite:///%s/ssemux.sqlite3" % tmp_path) as made:
        yield made


def read(app, url, last=None, user=None):
    """Return the events of a run that has ended, as a client gets them, and the status."""
    headers = {name: value for name, value in (("Last-Event-ID", last), ("X-User", user)) if value is not None}
    answer = app.test_client().get(url, headers=headers)
    parser = Parser()
    parser.feed(answer.get_data(), 0.0)
    return [(one.event, one.data) for one in parser.events], parser.last_event_id, answer.status_code


def list_events(app, run):
    events, _, _ = read(app, run.url)
    assert events[0][0] == "ssemux.hello"
    return events[1:]


END = ("ssemux.run", '{"state":"done"}')


def test_all_forms_of_a_yield_become_events(app, mux):
    run = mux.start_run(iter([{"a": 1}, ("named", [2]), "text", 'event: old\nid: 7\ndata: {"x": 1}\n\n: no\n\n', None]))
    assert run.wait(10) == "done" == run.state
    assert list_events(app, run) == [
        ("message", '{"a":1}'), ("named", "[2]"), ("message", "text"), ("old", '{"x": 1}'), END,
    ]  # fmt: skip


def test_a_generator_has_the_applications_context_and_nothing_of_the_request(app, mux):
    seen = {}

    def generate():
        seen.update(app=flask.current_app.name, request=flask.has_request_context(), variable=VARIABLE.get())
        seen["fence"] = flask_ssemux.current_fence()
        yield 1

    def view():
        VARIABLE.set("of the request")
        seen["run"] = flask_ssemux.start_run(generate())
        seen["url"] = seen["run"].url
        return seen["run"].response()

    app.add_url_rule("/start", "start", view, methods=["POST"])
    answer = app.test_client().post("/start", base_url="http://localhost/our prefix/", headers={"X-User": "7"})
    assert answer.get_data().startswith(b"data: 1\nid: ")
    assert b"ssemux.hello" not in answer.get_data()
    assert answer.headers["Content-Location"] == "/our%20prefix/events/run/" + seen["run"].id == seen["url"]
    assert answer.headers["Ssemux-Run"] == seen["run"].id
    assert seen.pop("run").owner == "7" and seen.pop("url")
    assert isinstance(seen.pop("fence"), int)
    assert seen == {"app": "runs", "request": False, "variable": "unset"}


def test_a_run_that_fails_tells_no_reason_unless_it_says_one(app, mux, caplog):
    def fail(error):
        yield 1
        raise error

    run = mux.start_run(fail(ValueError("secret")))
    assert run.wait(10) == "failed"
    assert list_events(app, run)[1:] == [("ssemux.run", '{"state":"failed"}')]
    assert "the run %s failed: ValueError('secret')" % run.id in caplog.text
    run = mux.start_run(fail(RunFailed("no more credit")))
    assert run.wait(10) == "failed"
    assert list_events(app, run)[1:] == [("ssemux.run", '{"state":"failed","error":"no more credit"}')]
    run = mux.start_run(fail(RunFailed("\ud800")))  # such text cannot be encoded
    assert run.wait(10) == "failed"
    assert list_events(app, run)[1:] == [("ssemux.run", '{"state":"failed","error":"?"}')]
    caplog.clear()
    run = mux.start_run(fail(None) for _ in range(1))  # what it yields cannot be expressed in JSON
    assert run.wait(10) == "failed"
    assert "the run %s failed: it yielded an invalid event" % run.id in caplog.text
    assert "generator object" not in caplog.text


def test_a_cancelled_run_is_closed_at_its_next_yield_in_threads(app, mux):
    begun, may_go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def generate():
        try:
            yield 1
            begun.set()
            may_go_on.wait(10)
            yield 2
        finally:
            closed.set()

    run = mux.start_run(generate(), owner=7)
    assert begun.wait(10)
    assert mux.run_state(run.id) == "running"
    assert mux.cancel_run(run.id, owner=8) is False
    assert mux.cancel_run(run.id, owner=7) is True
    may_go_on.set()
    assert run.wait(10) == "cancelled" == mux.run_state(run.id)
    assert closed.is_set()
    assert read(app, run.url, user="7")[0][1:] == [("message", "1"), ("ssemux.run", '{"state":"cancelled"}')]
    assert mux.cancel_run(run.id) is False
    assert mux.cancel_run("x" * 23) is False
    assert mux.run_state("x" * 23) is mux.run_state("nothing") is mux.get_run("x" * 23) is None


def test_a_client_that_has_all_is_not_to_come_back_and_one_that_missed_its_end_is_told(app, mux, tmp_path):
    run = mux.start_run(iter(range(5)))
    run.wait(10)
    events, last, _ = read(app, run.url)
    assert read(app, run.url, last) == ([], "", 204)
    cursor, _, sequence = last.partition("-")
    assert read(app, run.url, "%s-%d" % (cursor, int(sequence) - 1))[0][1:] == [END]
    assert read(app, run.url, "not ours")[0] == events
    other = make_app(tmp_path, SSEMUX_HISTORY_SECONDS=0)  # for it, all events of the run are too old
    found, end, status = read(other, run.url)
    assert [name for name, _ in found] == ["ssemux.reset", "ssemux.hello", "ssemux.run"]
    assert status == 200 and read(other, run.url, end)[2] == 204
    other.extensions["ssemux"].worker.stop()


def test_applications_cannot_publish_on_the_channel_of_a_run_but_on_others_of_its_form(mux):
    run = mux.start_run(iter([1]))
    with pytest.raises(InvalidChannel, match="is the channel of a run, whose events come from its generator only"):
        mux.publish(run.channel, 1)
    assert mux.publish("run:42", 1)
    run.wait(10)


def test_a_ticket_of_the_owner_opens_a_run_unless_it_is_for_other_channels(app, mux):
    app.secret_key = "for tests"
    run = mux.start_run(iter([1]), owner=7)
    run.wait(10)
    for channels, user, status in (
        (None, 7, 200),
        ([run.channel], 7, 200),
        (["room"], 7, 403),
        ([run.channel], 8, 403),
    ):
        ticket = mux.ticket(user, channels=channels)
        assert app.test_client().get(run.url + "?ticket=" + ticket).status_code == status, (channels, user)
    answer = app.test_client().get("/events?channel=" + run.channel)
    assert answer.status_code == 403 and "is read at its own URL" in answer.get_json()["message"]


def test_arguments_that_cannot_be_used(mux):
    def generate():
        yield 1

    async def stream():
        yield 1

    assert "call it: start_run(generate(...))" in refusal(ApplicationError, lambda: mux.start_run(generate))
    assert "not async" in refusal(ApplicationError, lambda: mux.start_run(stream()))
    for value in (None, "text", {"a": 1}, 7):
        found = refusal(ApplicationError, functools.partial(mux.start_run, value))
        assert found.startswith("start_run takes a generator, not ")
    assert "define it at the level of its module" in refusal(
        ApplicationError, lambda: mux.start_run(generate(), resume=lambda run, last: ())
    )
    assert refusal(InvalidEvent, lambda: mux.start_run(generate(), owner=1.5)).startswith("a user's id is")
    assert refusal(InvalidEvent, lambda: mux.start_run(generate(), data={"a": object()}))
    assert "has at most 65536 bytes" in refusal(ApplicationError, lambda: mux.start_run(generate(), data="x" * 70000))
    assert "there is none here" in refusal(ApplicationError, mux.start_run(generate()).response)


def test_the_limits_of_a_worker_and_of_an_owner(tmp_path):
    app = make_app(tmp_path, SSEMUX_MAX_RUNS=3, SSEMUX_MAX_RUNS_PER_OWNER=2)
    is_over = threading.Event()

    def generate():
        is_over.wait(20)
        yield 1

    with app.app_context():
        runs = [flask_ssemux.start_run(generate(), owner="7") for _ in range(2)]
        assert refusal(TooManyRuns, lambda: flask_ssemux.start_run(generate(), owner="7")) == (
            "the user '7' has 2 runs, as many as SSEMUX_MAX_RUNS_PER_OWNER allows: answer 429, or cancel one"
        )
        runs.append(flask_ssemux.start_run(generate()))
        assert refusal(TooManyRuns, lambda: flask_ssemux.start_run(generate())) == (
            "this worker has 3 runs, as many as SSEMUX_MAX_RUNS allows: answer 429, or raise the option"
        )
        figures = app.extensions["ssemux"].runs.tasks.get_figures()
        assert (figures["runs"], figures["runs_started"]) == (3, 3)
        is_over.set()
        assert [run.wait(10) for run in runs] == ["done"] * 3
        assert flask_ssemux.start_run(generate(), owner="7").wait(10) == "done"
        assert app.extensions["ssemux"].runs.tasks.get_figures()["runs_done"] == 4
    app.extensions["ssemux"].worker.stop()


def test_a_job_publishes_a_run_that_the_application_planned(app, mux, publisher):
    planned = mux.plan_run(owner="7", data={"rows": 2})
    assert planned.state == "waiting"
    assert planned.url == "/events/run/" + planned.id
    run = publisher.start_run(iter(range(2)), id=planned.id)
    assert (run.owner, run.data) == ("7", {"rows": 2})
    assert run.wait(10) == "done" == planned.wait(10)
    assert read(app, planned.url, user="8")[2] == 403
    assert read(app, planned.url, user="7")[0][1:] == [("message", "0"), ("message", "1"), END]
    assert "does not wait to be started: it is done" in refusal(
        ApplicationError, lambda: publisher.start_run(iter([1]), id=planned.id)
    )
    assert "has neither a URL nor a response" in refusal(ApplicationError, lambda: run.url).replace("have", "has")
    given_up = mux.plan_run()
    assert given_up.cancel() is True
    assert given_up.state == "cancelled"
    assert list_events(app, given_up) == [("ssemux.run", '{"state":"cancelled"}')]
    assert "it is cancelled" in refusal(ApplicationError, lambda: publisher.start_run(iter([1]), id=given_up.id))


def test_the_application_cancels_a_run_of_a_job(mux, publisher):
    def generate():
        while True:
            yield 1
            time.sleep(0.01)

    run = publisher.start_run(generate())
    assert mux.cancel_run(run.id) is True
    assert run.wait(10) == "cancelled" == mux.run_state(run.id)


def read_messages(app):
    history = app.extensions["ssemux"].worker.broker.history
    page = history.read_events([WORK_CHANNEL], 0, history.get_newest_cursor().sequence, 100)
    return [WorkMessage.from_json(record.body) for record in page.records]


def test_processes_tell_each_other_at_once_what_was_cancelled_and_what_was_given_up(app, mux, publisher, tmp_path):
    is_over = threading.Event()

    def generate():
        while not is_over.is_set():
            yield 1
            time.sleep(0.01)

    other = make_app(tmp_path)
    with other.app_context():
        elsewhere = mux.start_run(generate())
    assert mux.cancel_run(elsewhere.id) is True
    assert read_messages(app) == [WorkMessage(cancel=elsewhere.id)]
    run = mux.start_run(generate())
    app.extensions["ssemux"].worker.work_parts.messages.handle_body(WorkMessage(cancel=run.id).to_json())
    assert run.wait(10) == "cancelled"
    run = mux.start_run(generate(), resume=go_on, data=0)
    app.extensions["ssemux"].runs.give_up("a test")
    assert read_messages(app)[-1] == WorkMessage(free=(run.channel,))
    app.extensions["ssemux"].runs.lost.settle([run.id])  # it hears of it, too, and does not take it up again
    assert app.extensions["ssemux"].runs.tasks.find_task(run.id) is None
    record = app.extensions["ssemux"].runs.read_record(run.id)
    assert (record.state, record.is_held) == ("running", False)
    other.extensions["ssemux"].worker.work_parts.messages.handle_body(read_messages(app)[-1].to_json())
    with other.app_context():
        assert mux.get_run(run.id).wait(10) == "done"  # the other one went on with it
    assert elsewhere.wait(10) == "cancelled"
    other.extensions["ssemux"].worker.stop()


def test_a_lease_that_ends_with_its_run_while_it_is_renewed_is_not_lost(app, mux):
    state, is_over = app.extensions["ssemux"], threading.Event()
    run = mux.start_run(is_over.wait(10) for _ in range(1))
    task = state.runs.tasks.find_task(run.id)
    kept = state.worker.broker.work.keep_work([task.lease])
    append, may_append = state.worker.broker.work.append_work, threading.Event()
    state.worker.broker.work.append_work = lambda batches: (may_append.wait(10), append(batches))[1]
    is_over.set()
    until(lambda: task.is_ending, 10, "it does not end")
    state.runs.tasks.note_kept(
        kept._replace(held=[]), [task.lease]
    )  # the store released it, and the answer is on its way
    may_append.set()
    assert run.wait(10) == "done"


def test_a_publisher_that_is_closed_gives_its_runs_up(mux, publisher, caplog):
    is_over = threading.Event()

    def generate():
        yield 1
        is_over.wait(20)  # it neither yields nor ends

    run = publisher.start_run(generate())
    until(lambda: mux.cursor().rpartition("-")[2] != "0", 10, "it yields nothing")
    publisher.close()
    assert mux.run_state(run.id) == "lost"
    assert "the run %s is lost: its Publisher was closed" % run.id in caplog.text
    is_over.set()


def read_now(state, run):
    """Return the events of a run in the store."""
    history = state.worker.broker.history
    return history.read_events([run.channel], 0, history.get_newest_cursor().sequence, 100).records


def go_on(run, last):
    yield from range(0 if last is None else int(last.data) + 1, run.data)


def test_a_run_whose_process_is_dead_is_lost_or_goes_on_after_its_last_event(app, mux, publisher, monkeypatch):
    """The process is a broker that writes what a run writes, and is closed."""
    monkeypatch.setattr(lost_module, "CONFIRM_SECONDS", 0.0)
    state = app.extensions["ssemux"]
    is_over = threading.Event()

    def generate():
        yield from range(3)
        is_over.wait(20)

    runs = [mux.start_run(generate(), data=5), mux.start_run(generate(), data=5, resume=go_on)]
    until(lambda: all(len(read_now(state, run)) == 3 for run in runs), 10, "they yield nothing")
    tasks = [state.runs.tasks.find_task(run.id) for run in runs]
    for task in tasks:
        task.lose()
    state.worker.broker.work.release_work([task.lease for task in tasks])
    state.runs.lost.settle([run.id for run in runs])
    is_over.set()
    assert [run.wait(10) for run in runs] == ["lost", "done"]
    assert list_events(app, runs[0])[3:] == [("ssemux.run", '{"state":"lost"}')]
    assert list_events(app, runs[1]) == [*(("message", str(n)) for n in range(5)), END]


def test_a_run_whose_resume_function_is_not_here_is_left_to_others_for_a_while(app, mux, monkeypatch):
    monkeypatch.setattr(lost_module, "CONFIRM_SECONDS", 0.0)
    state, is_over = app.extensions["ssemux"], threading.Event()
    run = mux.start_run((is_over.wait(20) for _ in range(1)), resume=go_on)
    task = state.runs.tasks.find_task(run.id)
    task.lose()
    state.worker.broker.work.release_work([task.lease])
    monkeypatch.setattr(state.runs.lost._resume_functions, "find_function", lambda name: None)
    state.runs.lost.settle([run.id])
    assert state.runs.read_record(run.id).state == "running"
    monkeypatch.setattr(lost_module, "UNKNOWN_SECONDS", 0.0)
    until(lambda: mux.run_state(run.id) == "lost", 10, "nobody ends it")
    is_over.set()


def test_a_name_of_the_store_imports_nothing_and_finds_only_functions_of_its_module(app, mux):
    find = app.extensions["ssemux"].runs.lost._resume_functions.find_function
    assert find("%s:go_on" % __name__) is go_on
    name = "this"  # prints when it is imported
    assert name not in sys.modules
    for other in ("this:go", "posix:system", "os:system", "%s:Publisher" % __name__, "%s:json.loads" % __name__,
                  "%s:until" % __name__, "..:x", ":", "", "nothing"):  # fmt: skip
        assert find(other) is None, other
    assert name not in sys.modules


def test_a_rule_is_also_asked_about_a_run_that_does_not_exist(tmp_path):
    app, asked = flask.Flask("runs", instance_path=str(tmp_path)), []
    mux = flask_ssemux.SSEMux(app)
    mux.identify(lambda: flask.request.headers.get("X-User"))

    @mux.authorize("run:<run_id>")
    def may_read(user_id, run_id):
        asked.append(run_id)
        return user_id == "support"

    with app.app_context():
        run = flask_ssemux.start_run(iter([1]), owner="7")
        run.wait(10)
    for user, status in (("8", 403), ("support", 200)):
        assert read(app, run.url, user=user)[2] == status
        assert read(app, "/events/run/" + "x" * 23, user=user)[2] == 403
    assert asked == [run.id, "x" * 23] * 2
    app.extensions["ssemux"].worker.stop()


def test_an_application_without_runs_has_no_thread_for_them_and_asks_nothing(app, mux):
    with app.test_client() as client:
        client.get("/events?poll=now")
        mux.publish("room", 1)
    worker = app.extensions["ssemux"].worker
    broker, parts = worker.broker, worker.work_parts
    assert not parts.keeper._loop.is_running and not parts.batches._loop.is_running
    with broker.history._store.opened() as file, file.reading():
        assert file.read("SELECT count(*) FROM runs").fetchone() == (0,)


def test_the_data_of_an_end_is_json():
    from flask_ssemux.runs.details import make_end_body

    body = make_end_body("failed", "a \n line")
    assert json.loads(body.decode().split("data: ")[1]) == {"state": "failed", "error": "a \n line"}
