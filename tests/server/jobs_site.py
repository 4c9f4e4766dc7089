"""The example application as it is run: `gunicorn -c gunicorn.conf.py "legacy_app:create_app()"`, and its visitors.

A test uses it over HTTP; only which worker has which job or stream is read from the database and from the kernel.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from contextlib import ExitStack
from pathlib import Path

import httpx

import flask_ssemux
from tests.harness.client import RawStream
from tests.harness.servers import ROOT
from tests.harness.waiting import until

STREAM, WRAPPED, BEFORE = "/api/jobs/stream", "/api/jobs/stream-wrapped", "/api/jobs/stream-before"
FEED = "/api/jobs/stream-feed"
NOTICES = "/events"
WORKERS = 3
MANY = 60  # so many successive connections that each of three workers surely accepts one

#: Time-outs and the pace of jobs are scaled down.
QUICK = {
    "WEB_CONCURRENCY": str(WORKERS),
    "LEGACY_APP_STEP_SECONDS": "0.02",
    "LEGACY_APP_WATCH_SECONDS": "0.2",
    "SSEMUX_HEARTBEAT": "1",
    "SSEMUX_CLIENT_TIMEOUT": "6",
}


def start(gunicorn, folder, **env):
    """Start a JobsSite whose files are all in `folder`; `gunicorn` is the fixture."""
    env = {**QUICK, "LEGACY_APP_INSTANCE": str(folder), **env}
    server = gunicorn("legacy_app:create_app()", workers=None, config=str(ROOT / "gunicorn.conf.py"), env=env)
    server.wait_workers(WORKERS, 10)
    return JobsSite(server, Path(folder))


class JobsSite:
    """The running application."""

    def __init__(self, server, folder):
        self.server = server
        self.folder = folder

    def visitor(self, name=None):
        """Return a new visitor; with a name, one who is logged in."""
        visitor = Visitor(self.server.url)
        if name:
            visitor.log_in(name)
        return visitor

    def publish_mark(self, channel=None):
        """Publish an event `mark` to a channel (None: to all): when it arrives, everything that was due before it has
        arrived.
        """
        with flask_ssemux.Publisher("sqlite:///%s" % (self.folder / "ssemux.sqlite3")) as publisher:
            if channel:
                publisher.publish(channel, "mark", event="mark")
            else:
                publisher.broadcast("mark", event="mark")

    def worker_of(self, job_id):
        """Return the process id of the worker that runs a job."""
        connection = sqlite3.connect(str(self.folder / "jobs.sqlite3"))
        try:
            (name,) = connection.execute("SELECT process FROM jobs WHERE id = ?", (job_id,)).fetchone()
        finally:
            connection.close()
        return int(name.partition(":")[0])

    def uploads(self):
        """Return the files that are kept for jobs."""
        return list((self.folder / "jobs.sqlite3-uploads").iterdir())

    def spread(self, stack: ExitStack, path=STREAM):
        """Open streams, one after another, until each worker holds one."""
        streams = []
        while self.holders() != set(self.server.worker_pids()):
            assert len(streams) < MANY, "%d streams are all on %s" % (MANY, self.holders())
            streams.append(stack.enter_context(RawStream(self.server.port, path)))
            streams[-1].wait_for(b"event: jobs\n", 5)
        return streams

    def holders(self):
        """Return the process ids of the workers that hold a connection."""
        connections = _connections(self.server.port)
        return {pid for pid in self.server.worker_pids() if connections & _sockets(pid)}


class Visitor:
    """A visitor with cookies of their own. Each request is a new connection, so any worker may get it."""

    def __init__(self, url):
        self.url = url
        self.port = int(url.rpartition(":")[2])
        self.cookies = {}

    def request(self, method, path, **options):
        with httpx.Client(base_url=self.url, cookies=self.cookies, timeout=10, trust_env=False) as client:
            answer = client.request(method, path, **options)
            self.cookies = dict(client.cookies)
        return answer

    def log_in(self, name):
        answer = self.request("POST", "/login", data={"name": name, "password": name})
        assert answer.status_code == 303 and "session" in self.cookies, answer.text

    def send(self, name, data, path="/api/jobs"):
        """Upload a file; return the answer, whatever its status."""
        return self.request("POST", path, files={"file": (name, data)})

    def upload(self, name, data):
        """Upload a file that is accepted; return the job."""
        return self.upload_run(name, data)[0]

    def upload_run(self, name, data):
        """Upload a file that is accepted; return the job, and the URL of its run."""
        answer = self.send(name, data)
        assert answer.status_code == 201, answer.text
        job = answer.json()
        return job, job.pop("run")

    def job(self, job_id):
        return self.request("GET", "/api/jobs/%d" % job_id).json()

    def wait_job(self, job_id, timeout=10):
        """Wait until the job has ended; return it."""
        return until(lambda: ended(self.job(job_id)), timeout, lambda: str(self.job(job_id)))

    def stream(self, path=STREAM, last=None, port=None):
        headers = {"Cookie": "; ".join("%s=%s" % pair for pair in self.cookies.items()), "Last-Event-ID": last}
        return RawStream(port or self.port, path, {name: value for name, value in headers.items() if value})


def csv(rows):
    """Return a correct CSV file with that many rows, as bytes."""
    return b"number,square\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(rows))


def ended(job):
    """Return the job if it has ended, else None."""
    return job if job["state"] in ("done", "failed") else None


def names(stream):
    """Return the names of the stream's events without the library's own, which old clients do not listen to."""
    return [event.event for event in stream.events() if not event.event.startswith("ssemux.")]


def jobs(stream):
    """Return the list in each `jobs` event."""
    return [json.loads(event.data) for event in stream.events("jobs")]


def steps(stream, job_id=None):
    """Return the content of each `job` event, of one job or of all."""
    received = [json.loads(event.data) for event in stream.events("job")]
    return [job for job in received if job_id in (None, job["id"])]


def wait_ended(stream, job_id, timeout=10):
    """Wait until the stream says that the job has ended; return all its steps."""
    stream.wait_for(lambda stream: any(ended(job) for job in steps(stream, job_id)), timeout)
    return steps(stream, job_id)


def _connections(port):
    """Return the kernel's names of the server's ends of its connections."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {"socket:[%s]" % row[9] for row in rows if row[1].endswith(":%04X" % port) and row[3] == "01"}


def _sockets(pid):
    """Return the kernel's names of a process's open sockets."""
    found = set()
    for entry in Path("/proc/%d/fd" % pid).iterdir():
        try:
            name = os.readlink(str(entry))
        except FileNotFoundError:  # closed meanwhile
            continue
        if re.match(r"socket:", name):
            found.add(name)
    return found
