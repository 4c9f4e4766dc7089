"""The recipes of docs/runs.md, exactly as printed there: a run that another worker resumes, and a Celery task.

Its page is tested in ``tests/browser/test_runs.py``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import signal
import sys
from pathlib import Path

import pytest

from tests.harness.document import command, modules
from tests.harness.packages import missing
from tests.harness.servers import ROOT, Server, children
from tests.harness.waiting import until
from tests.server.conftest import Site


class Celery(Server):
    """The worker of Celery, started as in the document."""

    name = "celery"

    def command(self):
        program, *arguments = shlex.split(command("runs.md", "celery "))
        return [str(Path(sys.executable).parent / program), *arguments]

    def ready(self):
        return " ready." in self.log

    def processes(self):
        return [self.pid, *children(self.pid)]


@pytest.fixture
def folder(tmp_path):
    modules("runs.md", tmp_path)
    return tmp_path


def list_done(stream):
    """Return how far the progress was in each event."""
    return [json.loads(event.data)["done"] for event in stream.events("progress")]


def list_ends(stream):
    return [json.loads(event.data) for event in stream.events("ssemux.run")]


def test_a_run_whose_worker_is_killed_goes_on_in_another_one(gunicorn, folder):
    site = Site(gunicorn("exports:app", workers=2, cwd=folder))
    url = site.post("/exports", rows=20)["url"]
    with site.stream(url) as stream:
        stream.wait_events(5, 10, "progress")
        killed = site.server.worker_pids()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        until(lambda: stream.ended, 5, "the stream did not end")
    done = list_done(stream)
    site.server.wait_workers(2, 20, gone=killed)
    with site.stream(url, last=stream.last_event_id) as again:
        assert again.wait_end(30) == "clean"
        assert done + list_done(again) == list(range(1, 21))
        assert list_ends(again) == [{"state": "done"}]


def test_a_task_of_celery_is_read_as_a_run(gunicorn, running, folder, shared_redis):
    if importlib.util.find_spec("celery") is None:
        missing("the package celery is missing: pip install celery")
    env = {
        "SSEMUX_BROKER": "sqlite:///%s" % (folder / "events.sqlite3"),
        "QUEUE": re.sub(r"/0$", "/4", shared_redis.url),
        "PYTHONPATH": "%s:%s" % (folder, ROOT),
    }
    site = Site(gunicorn("warehouse:app", cwd=folder, env=env))
    url = site.post("/counts", shelves=20)["url"]
    with site.stream(url) as stream:
        stream.wait_for(b"ssemux.hello", 5)
        running(Celery(env, folder))
        assert stream.wait_end(30) == "clean"
        assert (list_done(stream), list_ends(stream)) == (list(range(1, 21)), [{"state": "done"}])
