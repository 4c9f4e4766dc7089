"""Runs on real servers: readers that come and go, workers that are killed and deployed, and who may do what."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness.client import RawStream
from tests.harness.engines import ALL
from tests.harness.waiting import until
from tests.server.conftest import Site

pytestmark = pytest.mark.engines("sqlite")

APP = "tests.apps.runs:create_app()"


class RunSite(Site):
    """A server that has runs, and their readers."""

    def send(self, path, user="7", method="POST"):
        """Return the status and the answer of a request."""
        with RawStream(self.port, path, {"X-User": user, "Content-Length": "0"}, method=method) as stream:
            stream.wait_end(20)
            return stream.status, json.loads(stream.body or b"null")

    def start_run(self, kind, query="", user="7"):
        status, answer = self.send("/start/%s?%s" % (kind, query), user)
        assert status == 200, answer
        return answer

    def start_elsewhere(self, kind, query, pid):
        """Start a run that another process than this one executes."""
        run = self.start_run(kind, query)
        while run["pid"] == pid:
            self.send("/cancel/" + run["id"])
            run = self.start_run(kind, query)
        return run

    def post_run(self, path, user="7"):
        """Start a run whose answer is the run itself."""
        return RawStream(self.port, path, {"X-User": user, "Content-Length": "0"}, method="POST")

    def get_state(self, run_id):
        return self.send("/state/" + run_id, method="GET")[1]["state"]

    def read_run(self, url, seconds=None, first=None, timeout=40):
        """Read a run to its end; come back after so many seconds, and whenever a stream ends before.

        :param first: a stream that was opened already.
        :return: the data of all events in the order in which they came, and the run's state.
        """
        events, last, deadline = [], None, time.monotonic() + timeout
        while time.monotonic() < deadline:
            stream, first = first or self.stream(url, user="7", last=last), None
            with stream:
                leave_at = deadline if seconds is None else time.monotonic() + random.uniform(0.5, 1.0) * seconds
                while not stream.ended and time.monotonic() < min(leave_at, deadline):
                    time.sleep(0.01)
                ended = stream.ended
                stream.close()  # first, so that nothing comes between the lines below
                found = [one for one in stream.events() if one.event not in ("ssemux.hello", "ssemux.run")]
                ends = stream.events("ssemux.run")
                assert not stream.events("ssemux.reset"), stream.describe()
                events += [one.data for one in found]
                last = stream.last_event_id or last
                if ends:
                    assert ended in ("clean", None), stream.describe()  # None: it was left just before its end
                    with self.stream(url, user="7", last=last) as again:
                        again.wait_end(5)
                        assert again.status == 204
                    return events, json.loads(ends[0].data)["state"]
        raise AssertionError("no end within %d s: %d events" % (timeout, len(events)))


@pytest.fixture
def serve_runs(gunicorn):
    def start(env=None, **options):
        return RunSite(gunicorn(APP, env=env, **options))

    return start


def get_numbers(events):
    return [json.loads(data)["n"] for data in events]


@pytest.mark.engines("sqlite", "redis", "postgres")
def test_readers_that_come_late_reload_and_leave_get_each_token_once(serve_runs, own_store):
    """And the store is away for a second meanwhile."""
    site, count = serve_runs(workers=3), 800
    with ThreadPoolExecutor(8) as pool:
        post = site.post_run("/start/tokens?count=%d&rate=400&stream" % count)
        url = post.wait_headers(10)["content-location"]
        assert post.headers["ssemux-run"] == url.rpartition("/")[2]
        results = [pool.submit(site.read_run, url, first=post)]
        results += [pool.submit(site.read_run, url, seconds) for seconds in (None, 1.0, 0.3)]
        time.sleep(1)
        results += [pool.submit(site.read_run, url, seconds) for seconds in (None, 0.5)]
        own_store.kill()
        time.sleep(1)
        own_store.restart()
        for result in results:
            events, state = result.result(60)
            assert get_numbers(events) == list(range(count))
            assert state == "done"
    assert get_numbers(site.read_run(url)[0]) == list(range(count))  # as long as the history keeps it


@pytest.mark.engines("sqlite", "cluster")
def test_the_readers_of_a_killed_worker_hear_of_it_or_read_on(serve_runs):
    site = serve_runs(workers=3)
    query = "count=100&rate=50"
    lost = site.start_run("tokens", query)
    resumed = site.start_run("tokens", query + "&resume")
    while resumed["pid"] != lost["pid"]:
        site.send("/cancel/" + resumed["id"])
        resumed = site.start_run("tokens", query + "&resume")
    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(site.read_run, run["url"], seconds) for run in (lost, resumed) for seconds in (None, 1)]
        time.sleep(1)
        os.kill(lost["pid"], signal.SIGKILL)
        killed_at = time.monotonic()
        for result in results[:2]:
            events, state = result.result(30)
            assert get_numbers(events) == list(range(len(events))) and 0 < len(events) < 100
            assert state == "lost"
        assert time.monotonic() - killed_at < 8  # on an idle machine, 2 to 3 s
        for result in results[2:]:
            events, state = result.result(30)
            assert get_numbers(events) == list(range(100))
            assert len({json.loads(data)["pid"] for data in events}) == 2
            assert state == "done"
    assert site.get_state(lost["id"]) == "lost"
    assert site.get_state(resumed["id"]) == "done"


@pytest.mark.engines("sqlite", "postgres")
def test_cancelling_ends_a_run_where_it_waits_and_leaving_does_not(serve_runs):
    site = serve_runs(workers=3)
    left = site.post_run("/start/tokens?count=60&rate=40&stream")
    url = left.wait_headers(10)["content-location"]
    left.wait_events(3, 10)
    left.close(reset=True)
    for kind in ("sleeping", "listening"):
        run = site.start_run(kind)
        with site.stream(run["url"], user="7") as stream:
            stream.wait_for(kind[:4].replace("slee", "asle").encode(), 10)
            assert site.send("/cancel/" + run["id"], user="8")[1]["cancelled"] is False
            asked_at = time.monotonic()
            assert site.send("/cancel/" + run["id"])[1]["cancelled"] is True
            end = stream.wait_events(1, 5, "ssemux.run")[0]
            assert json.loads(end.data) == {"state": "cancelled"}
            assert end.at - asked_at < 5  # of 60; on an idle machine, some 10 ms
            assert stream.wait_end(5) == "clean"
        site.server.wait_log(kind + ": finally", 5)
        assert site.send("/cancel/" + run["id"])[1]["cancelled"] is False
    events, state = site.read_run(url)
    assert (get_numbers(events), state) == (list(range(60)), "done")


def test_a_deploy_waits_for_runs_and_their_readers_move_on_at_once(serve_runs):
    site = serve_runs(workers=2, args=("--graceful-timeout", "30"))
    runs = [site.start_run("tokens", "count=60&rate=20") for _ in range(10)]
    old = site.server.worker_pids()
    with ThreadPoolExecutor(12) as pool:
        results = [pool.submit(site.read_run, run["url"]) for run in runs]
        with site.stream(runs[0]["url"], user="7") as stream:
            stream.wait_events(3, 10)
            site.server.signal(signal.SIGHUP)
            assert stream.wait_end(5) == "clean"  # long before the run's end
            assert not stream.events("ssemux.run")
        for result in results:
            events, state = result.result(40)
            assert get_numbers(events) == list(range(60))
            assert state == "done"
    site.server.wait_workers(2, 20, gone=old)


def test_a_run_that_outlasts_the_graceful_timeout_is_lost_or_goes_on_elsewhere(serve_runs):
    site = serve_runs(workers=2, args=("--graceful-timeout", "3"))
    lost = site.start_run("sleeping")
    resumed = site.start_run("tokens", "count=50&rate=20&resume")
    old = site.server.worker_pids()
    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(site.read_run, run["url"]) for run in (lost, resumed)]
        site.server.signal(signal.SIGHUP)
        assert results[0].result(20) == (["asleep"], "lost")
        events, state = results[1].result(40)
        assert (get_numbers(events), state) == (list(range(50)), "done")
    site.server.wait_log("the run %s is lost: the worker stops" % lost["id"], 5)
    site.server.wait_log("the run %s goes on elsewhere: the worker stops" % resumed["id"], 5)
    site.server.wait_log("sleeping: finally", 5)
    site.server.wait_workers(2, 20, gone=old)
    # once: no worker that is about to stop goes on with it
    assert site.server.log.count("the run %s is resumed" % resumed["id"]) == 1


@pytest.mark.engines("sqlite", within=ALL)
def test_who_may_read_a_run_and_what_it_sends(serve_runs):
    site = serve_runs({"SSEMUX_MAX_RUNS_PER_OWNER": "2", "SSEMUX_MAX_RUNS": "3"})
    run = site.start_run("raising")
    unknown = "/events/run/" + "x" * 23
    for user, status in ((None, 401), ("8", 403)):
        answers = []
        for path in (run["url"], unknown, "/events/run/nothing"):
            with site.stream(path, user=user) as stream:
                stream.wait_end(5)
                answers.append((stream.status, stream.body))
        assert answers[0][0] == status and len(set(answers)) == 1
    with site.stream("/events?channel=run:" + run["id"], user="support") as stream:
        stream.wait_end(5)
        assert stream.status == 403
    assert "its generator" in site.send("/publish/" + run["id"])[1]["error"]
    with site.stream(run["url"], user="support") as stream:
        assert stream.wait_events(1, 5, "ssemux.run")[0].data == '{"state":"failed"}'
    assert "secret" not in re.sub("ZeroDivisionError.*", "", site.read_run(run["url"])[1])
    site.server.wait_log("the run %s failed: ZeroDivisionError" % run["id"], 5)
    told = site.start_run("telling")
    with site.stream(told["url"], user="7") as stream:
        assert stream.wait_events(1, 5, "ssemux.run")[0].data == '{"state":"failed","error":"no more credit"}'
    with site.post_run("/start/openai?stream") as post:
        assert post.wait_end(5) == "clean"
        body = re.sub(rb"id: .*\n", b"", post.body)
        assert body == (
            b'data: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: [DONE]\n\n'
            b'event: ssemux.run\ndata: {"state":"done"}\n\n'
        )
    with site.post_run("/start/openai?stream&comments") as post:
        assert post.wait_events(1, 5, "ssemux.hello")
    assert site.read_run(site.start_run("context")["url"])[0] == ['[false,"unset"]']
    anonymous = site.start_run("telling", user="")
    with site.stream(anonymous["url"]) as stream:
        stream.wait_events(1, 5, "ssemux.run")
    mine = [site.start_run("sleeping")["id"] for _ in range(2)]
    status, answer = site.send("/start/sleeping")
    assert status == 429 and "SSEMUX_MAX_RUNS_PER_OWNER" in answer["error"]
    site.start_run("sleeping", user="8")
    status, answer = site.send("/start/sleeping", user="9")
    assert status == 429 and "SSEMUX_MAX_RUNS allows" in answer["error"]
    site.send("/cancel/" + mine[0])
    until(lambda: site.get_state(mine[0]) == "cancelled", 5, "it is not cancelled")
    site.start_run("sleeping")
