"""The acceptance test: the example application, three workers on its own gunicorn.conf.py, from an upload to its end.

Only what a visitor sees is asserted: pages, answers, streams. Units of legacy_app/ are not tested here.
"""

from __future__ import annotations

import html
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

from tests.harness.client import RawStream
from tests.harness.servers import ROOT
from tests.harness.waiting import until
from tests.server import jobs_site
from tests.server.jobs_site import BEFORE, FEED, NOTICES, STREAM, WRAPPED, csv, jobs, names, steps, wait_ended

KEYS = [
    "by", "created_at", "done", "finished_at", "id", "kind", "lines", "message", "name", "notes", "problems",
    "revision", "rows", "size", "state",
]  # fmt: skip
WORTH = [
    ("log.txt", "eins\nzwei\ndrei ß\n".encode(), "done", "3 rows, all good", []),
    ("log.log", b"good\n\xff\n" + b"x" * 10001, "done", "3 rows, 2 problems",
     ["line 2: not UTF-8", "line 3: 10001 characters, more than 10000"]),
    ("short.csv", b"a;b\n1;2\n3\n", "done", "2 rows, 1 problem", ["line 3: 1 column, the header has 2"]),
    ("quote.csv", b'a,b\n"' + b"x,y\n" * 40000, "failed", r"line \d+: field larger .*\(is a quote left open\?\)", []),
]  # fmt: skip
REFUSED = [
    ("cat.png", b"\x89PNG",
     "'cat.png' is not a file that this page can check: its name must end in .csv, .txt or .log."),
    ("empty.csv", b" \n", "'empty.csv' is empty."),
    ("wide.txt", "a\n".encode("utf-16"),
     "'wide.txt' is not UTF-8 text: it contains NUL bytes. Is it a binary file, or UTF-16?"),
    ("old.csv", b"caf\xe9\n",
     "'old.csv' is not UTF-8 text: byte 0xe9 at position 3. Save it as 'CSV UTF-8' and send it again."),
    ("", b"a\n", "No file was chosen: send one in the form field 'file'."),
]  # fmt: skip
SLOW = {"LEGACY_APP_STEP_SECONDS": "0.2"}  # a job of 30 steps takes 6 s, or until its worker is killed


@pytest.fixture
def site(gunicorn, tmp_path):
    return jobs_site.start(gunicorn, tmp_path / "instance")


@pytest.fixture
def visitor(site):
    return site.visitor()


# -- one job, from the upload to its end ----------------------------------------


def test_the_progress_of_an_uploaded_csv_is_sent_step_by_step(site, visitor):
    with visitor.stream() as stream:
        stream.wait_events(1, 2, "jobs")
        job = visitor.upload("numbers.csv", csv(60))
        received = wait_ended(stream, job["id"])
        site.publish_mark("jobs")
        stream.wait_events(1, 2, "mark")
        assert names(stream) == ["jobs"] + ["job"] * len(received) + ["mark"]
        assert stream.events()[0].event == "ssemux.hello" and jobs(stream) == [[]]
    first, *running, last = received
    assert first == job and (first["state"], first["done"], first["lines"]) == ("queued", 0, 61)
    assert {step["state"] for step in running} == {"running"}
    assert [step["done"] for step in running] == list(range(0, 61, 3))
    assert (last["state"], last["done"], last["rows"], last["message"]) == ("done", 61, 60, "60 rows, all good")
    assert [step["revision"] for step in received] == list(range(first["revision"], first["revision"] + len(received)))
    assert visitor.job(job["id"]) == last and site.uploads() == []


def test_the_result_of_a_file_is_sent_at_the_end(visitor):
    with visitor.stream() as stream:
        stream.wait_events(1, 2, "jobs")
        for name, data, state, message, notes in WORTH:
            received = wait_ended(stream, visitor.upload(name, data)["id"])[-1]
            assert (received["name"], received["state"], received["notes"]) == (name, state, notes)
            assert re.fullmatch(message, received["message"])


def test_a_file_that_is_refused_says_why_and_makes_no_job(site, visitor):
    with visitor.stream() as stream:
        stream.wait_events(1, 2, "jobs")
        for name, data, message in REFUSED:
            answer, page = visitor.send(name, data), visitor.send(name, data, "/jobs")
            assert (answer.status_code, answer.json()) == (400, {"error": message})
            assert page.status_code == 400 and message in html.unescape(page.text)
        site.publish_mark("jobs")
        stream.wait_events(1, 2, "mark")
        assert names(stream) == ["jobs", "mark"]
    assert visitor.request("GET", "/api/jobs").json() == [] and site.uploads() == []


def test_the_form_takes_a_file_without_javascript(visitor):
    answer = visitor.send("<b>.txt", b"one line", "/jobs")
    assert (answer.status_code, answer.headers["location"].rpartition(":")[2].lstrip("0123456789")) == (303, "/")
    job = visitor.wait_job(1)
    page = visitor.request("GET", "/").text
    assert job["message"] == "1 row, all good" and job["message"] in page
    assert "&lt;b&gt;.txt" in page and "<b>" not in page


def test_a_file_that_is_too_large_is_refused(gunicorn, tmp_path):
    site = jobs_site.start(gunicorn, tmp_path / "instance", LEGACY_APP_MAX_BYTES="100000")
    answer = site.visitor().send("large.csv", csv(50000))
    assert answer.status_code == 413
    assert answer.json() == {"error": "The upload is larger than 100,000 bytes, the maximum of this page."}


# -- before, wrapped, after ----------------------------------------------------------


def test_the_stream_sends_what_it_sent_before_the_migration(gunicorn, tmp_path):
    visitor = jobs_site.start(gunicorn, tmp_path / "instance", LEGACY_APP_STEP_SECONDS="0.08").visitor()
    earlier = visitor.wait_job(visitor.upload("earlier.csv", csv(5))["id"])
    with visitor.stream(BEFORE) as before, visitor.stream(WRAPPED) as wrapped, visitor.stream() as after:
        for stream in (before, wrapped, after):
            stream.wait_events(1, 2, "jobs")
        job = visitor.upload("numbers.csv", csv(2000))
        received = {stream: wait_ended(stream, job["id"]) for stream in (before, wrapped, after)}
        for stream in received:
            assert names(stream) == ["jobs"] + ["job"] * len(received[stream])
            assert jobs(stream) == [[earlier]] and sorted(earlier) == KEYS
            assert all(sorted(step) == KEYS for step in received[stream])
            assert received[stream] == [step for step in received[after] if step in received[stream]]
            assert len(received[stream]) >= 2, "the job was over before the old generator asked twice"
            assert received[stream][-1] == visitor.job(job["id"])


def test_the_old_generator_as_a_feed_runs_once_for_the_clients_of_all_workers(site, visitor):
    with ExitStack() as stack:
        streams = site.spread(stack, FEED)
        job = visitor.upload("numbers.csv", csv(60))
        for stream in streams:
            assert wait_ended(stream, job["id"])[-1] == visitor.job(job["id"])
        assert len({tuple(event.own_id for event in stream.events("job")) for stream in streams}) == 1
        began, queries = time.monotonic(), count_queries(visitor)
        until(lambda: count_queries(visitor) >= queries + 4, 20, "the feed does not ask the database")
        assert time.monotonic() - began >= 3, "it asks more than once a second"
        with visitor.stream(FEED, last=streams[0].last_event_id) as again:
            later = visitor.upload("later.csv", csv(3))
            assert {step["id"] for step in wait_ended(again, later["id"])} == {later["id"]}
            assert steps(again, job["id"]) == []


def count_queries(visitor, stream=FEED):
    return visitor.request("GET", "/api/queries").json()[stream]


def test_behind_default_nginx_the_old_stream_hangs_and_ours_opens_at_once(site, nginx):
    port = nginx(site.server.port).port
    with RawStream(port, BEFORE) as before, RawStream(port, WRAPPED) as wrapped, RawStream(port, STREAM) as after:
        for stream in (wrapped, after):
            stream.wait_events(1, 2, "jobs")
            assert stream.headers_at - stream.opened_at < 0.9
            assert stream.first_byte_at - stream.opened_at < 0.9
        with pytest.raises(AssertionError, match="not within 2 s: the headers"):
            before.wait_headers(2)
        assert before.status is None and not before.ended
        assert after.longest_silence() < 1.5 and wrapped.longest_silence() < 1.5


# -- who receives what, and where --------------------------------------------------------


def test_a_notice_goes_to_the_owner_of_the_job_and_to_nobody_else(site):
    ada, grace, anonymous = site.visitor("ada"), site.visitor("grace"), site.visitor()
    with ada.stream(NOTICES) as hers, grace.stream(NOTICES) as other, anonymous.stream(NOTICES) as nobodys:
        for stream in (hers, other, nobodys):
            stream.wait_events(1, 2, "ssemux.hello")
        anonymous.wait_job(anonymous.upload("nobody's.csv", csv(3))["id"])
        job = ada.upload("ada's.csv", csv(3))
        (notice,) = hers.wait_events(1, 5, "notice")
        site.publish_mark()
        for stream in (hers, other, nobodys):
            stream.wait_events(1, 2, "mark")
        assert [names(stream) for stream in (hers, other, nobodys)] == [["notice", "mark"], ["mark"], ["mark"]]
    ending = {"name": "ada's.csv", "state": "done", "message": "3 rows, all good"}
    assert json.loads(notice.data) == {"job": job["id"], **ending}
    assert {**ada.job(job["id"]), **ending, "by": "ada"} == ada.job(job["id"])


def test_streams_of_all_workers_get_the_jobs_of_all_workers(site, visitor):
    with ExitStack() as stack:
        streams = site.spread(stack)
        ran_in = {}

        def upload_to_all():
            job = visitor.upload("numbers.csv", csv(30))
            ran_in[job["id"]] = site.worker_of(job["id"])
            return set(ran_in.values()) == set(site.server.worker_pids())

        until(upload_to_all, 20, lambda: "jobs ran in %s" % ran_in)
        for stream in streams:
            for job_id in ran_in:
                received = wait_ended(stream, job_id)
                revisions = [step["revision"] for step in received]
                assert revisions == list(range(revisions[0], revisions[-1] + 1))
        assert len({tuple(event.own_id for event in stream.events("job")) for stream in streams}) == 1


def test_a_client_that_reconnects_misses_nothing(site, visitor):
    with visitor.stream() as stream:
        stream.wait_events(1, 2, "jobs")
        job = visitor.upload("numbers.csv", csv(60))
        stream.wait_events(4, 5, "job")
    seen = steps(stream)
    last = visitor.wait_job(job["id"])
    with visitor.stream(last=stream.last_event_id) as again:
        missed = wait_ended(again, job["id"])
        assert jobs(again) == [] and again.events("ssemux.reset") == []
    assert [step["revision"] for step in seen + missed] == list(range(job["revision"], last["revision"] + 1))
    assert missed[-1] == last


# -- a worker that dies ------------------------------------------------------------------


def kill_worker_of(site, job):
    """Kill the worker that runs the job, and wait for the worker that replaces it."""
    victim = site.worker_of(job["id"])
    os.kill(victim, signal.SIGKILL)
    site.server.wait_workers(3, 10, gone=[victim])


def test_a_job_whose_worker_is_killed_ends_as_failed_and_everyone_is_notified(gunicorn, tmp_path):
    site = jobs_site.start(gunicorn, tmp_path / "instance", **SLOW)
    ada = site.visitor("ada")
    with ExitStack() as stack:
        streams = site.spread(stack)
        job = ada.upload("numbers.csv", csv(60))
        for stream in streams:
            stream.wait_events(3, 5, "job")
        kill_worker_of(site, job)
        until(lambda: any(stream.ended for stream in streams), 5, "no stream ended")
        cut = [stream for stream in streams if stream.ended]
        others = [stream for stream in streams if not stream.ended]
        assert cut and others
        endings = [wait_ended(stream, job["id"]) for stream in others]
        for stream in cut:
            with ada.stream(last=stream.last_event_id) as again:
                endings.append(steps(stream) + wait_ended(again, job["id"]))
        site.publish_mark()
        with ada.stream(NOTICES, last=cut[0].last_event_id) as hers:
            hers.wait_events(1, 3, "mark")
            (notice,) = hers.events("notice")
    for received in endings:
        assert received == endings[0]
        assert [step["state"] for step in received].count("failed") == 1
    assert endings[0][-1]["message"].startswith("interrupted: ") and json.loads(notice.data)["state"] == "failed"
    assert ada.job(job["id"]) == endings[0][-1] and site.uploads() == []


def test_a_check_outlives_its_page_and_a_deploy_and_is_read_by_its_owner_alone(gunicorn, tmp_path):
    site = jobs_site.start(gunicorn, tmp_path / "instance", **SLOW)
    ada = site.visitor("ada")
    job, run = ada.upload_run("numbers.csv", csv(60))
    with ada.stream(run) as stream:
        stream.wait_events(3, 5, "job")
    for visitor, status in ((site.visitor(), 401), (site.visitor("grace"), 403)):
        assert visitor.request("GET", run).status_code == status
        assert visitor.request("DELETE", "/api/runs/" + run.rpartition("/")[2]).status_code == 404
    old = site.server.worker_pids()
    with ada.stream(run, last=stream.last_event_id) as again:
        again.wait_for(b"ssemux.hello", 5)
        site.server.signal(signal.SIGHUP)
        assert again.wait_end(5) == "clean"
    last = ada.wait_job(job["id"], 20)
    assert (last["state"], last["message"]) == ("done", "60 rows, all good")
    site.server.wait_workers(3, 20, gone=old)
    with ada.stream(run) as whole:
        assert whole.wait_end(5) == "clean"
    received = steps(whole)
    assert [step["revision"] for step in received] == list(range(2, last["revision"] + 1))
    assert [json.loads(event.data) for event in whole.events("ssemux.run")] == [{"state": "done"}]


def test_a_check_that_is_cancelled_ends_as_failed(gunicorn, tmp_path):
    site = jobs_site.start(gunicorn, tmp_path / "slow", **SLOW)
    visitor = site.visitor()
    job, run = visitor.upload_run("numbers.csv", csv(60))
    with visitor.stream(run) as stream:
        stream.wait_events(3, 5, "job")
        assert visitor.request("DELETE", "/api/runs/" + run.rpartition("/")[2]).status_code == 204
        assert stream.wait_end(5) == "clean"
        assert [json.loads(event.data) for event in stream.events("ssemux.run")] == [{"state": "cancelled"}]
    assert visitor.wait_job(job["id"])["message"] == "cancelled before its end"


@pytest.mark.parametrize("url", ["off", "/elsewhere"])
def test_another_url_of_the_stream_is_refused_at_start(tmp_path, url):
    env = {**os.environ, "SSEMUX_URL": url, "LEGACY_APP_INSTANCE": str(tmp_path)}
    command = [sys.executable, "-c", "import legacy_app; legacy_app.create_app()"]
    done = subprocess.run(command, cwd=str(ROOT), env=env, stderr=subprocess.PIPE, text=True, timeout=60)
    assert "load /events/ssemux.js and read /events: remove SSEMUX_URL" in done.stderr
