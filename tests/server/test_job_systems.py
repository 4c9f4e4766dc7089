"""Publishing from real workers of Celery, RQ and Huey, and from the shell: the recipes of docs/job-systems.md, run.

One gunicorn serves the streams on each broker; the queues use the same Redis. The workers have no Flask application and
no gevent.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

import flask_ssemux
from tests.harness.document import command, modules
from tests.harness.packages import missing
from tests.harness.servers import ROOT, Gunicorn, Server, children
from tests.server.conftest import Site

COMMANDS = {
    "celery": command("job-systems.md", "celery "),
    "rq": command("job-systems.md", "rq "),
    "huey": command("job-systems.md", "huey_consumer "),
}
ENQUEUE = {
    "celery": command("job-systems.md", "python -c 'import celery_tasks"),
    "rq": command("job-systems.md", "python -c 'import os, redis, rq"),
    "huey": command("job-systems.md", "python -c 'import huey_tasks"),
}
BIN = Path(sys.executable).parent

#: The log line with which a worker says that it waits for jobs.
SYSTEMS = {"celery": r" ready\.", "rq": r"Listening on", "huey": r"Huey consumer (initialized|started)"}


class Worker(Server):
    """A job system's worker, started as in the document."""

    def __init__(self, system: str, env: dict, cwd: Path) -> None:
        super().__init__(env, cwd)
        self.name, self.system = system, system
        self.log_path = self.log_path.with_name("%s-%d.log" % (system, self.port))

    def command(self) -> list[str]:
        program, *arguments = shlex.split(COMMANDS[self.system].replace("$QUEUE", self.env["QUEUE"]))
        return [str(BIN / program), *arguments]

    def ready(self) -> bool:
        return re.search(SYSTEMS[self.system], self.log) is not None

    def processes(self) -> list[int]:
        return [self.pid, *children(self.pid)]


def enqueue(system, options):
    """Enqueue a job from a shell, as in the document."""
    subprocess.run([sys.executable, *shlex.split(ENQUEUE[system])[1:]], check=True, timeout=30, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("shop")
    modules("job-systems.md", made)
    return made


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def env(request, folder, shared_redis):
    on_redis = "%s?prefix=jobs" % shared_redis.url
    return {
        "SSEMUX_BROKER": on_redis if request.param == "redis" else "sqlite:///%s" % (folder / "events.sqlite3"),
        "QUEUE": re.sub(r"/0$", "/%d" % (1 + request.param_index), shared_redis.url),
        "PYTHONPATH": "%s:%s" % (folder, ROOT),
    }


@pytest.fixture(scope="module")
def site(env, folder):
    with ExitStack() as stack:
        yield Site(stack.enter_context(Gunicorn("shop:app", env=env, cwd=folder)))


@pytest.mark.parametrize("system", list(SYSTEMS))
def test_the_recipe(system, site, env, folder, running):
    if importlib.util.find_spec(system) is None:
        missing("the package %s is missing: pip install %s" % (system, system))
    options = {"env": {**os.environ, **env}, "cwd": str(folder)}
    with site.stream("/events?channel=jobs:" + system) as stream:
        stream.wait_for(b"ssemux.hello", 3)
        worker = running(Worker(system, env, folder))
        enqueue(system, options)
        events = stream.wait_events(4, 15)[1:]
        assert [event.event for event in events] == ["progress"] * 3
        assert [event.data for event in events] == ['{"done":%d,"of":3}' % done for done in (1, 2, 3)]
        if system != "huey":  # which imports gevent itself if it is installed
            assert not any("gevent" in maps(pid) for pid in worker.processes())


def maps(pid):
    """Return the files that a process has loaded; none of a process that ended meanwhile, as RQ's work-horses do."""
    try:
        return Path("/proc/%d/maps" % pid).read_text()
    except FileNotFoundError:
        return ""


def test_the_shells_recipe(site, env, folder):
    setting, program, *arguments = shlex.split(command("job-systems.md", "FLASK_APP=shop flask "))
    options = {"env": {**os.environ, **env, **dict([setting.split("=")])}, "cwd": str(folder)}
    with site.stream("/events?channel=jobs:cron") as stream:
        stream.wait_for(b"ssemux.hello", 3)
        subprocess.run([str(BIN / program), *arguments], check=True, timeout=30, stdout=subprocess.PIPE, **options)
        event = stream.wait_events(2, 5)[1]
        assert (event.event, event.data) == ("progress", '{"done":3,"of":3}')


FORKING = """
import os, sys, threading
import flask_ssemux

publisher = flask_ssemux.Publisher()
publisher.publish("jobs", "parent, before")
closed = flask_ssemux.Publisher()
closed.close()
stop = threading.Event()

def hammer():
    while not stop.is_set():
        publisher.publish("noise", "x")

thread = threading.Thread(target=hammer)
thread.start()
for number in range(20):
    pid = os.fork()
    if pid == 0:
        try:
            publisher.publish("jobs", "child %d" % number)
            try:
                closed.publish("jobs", "from a closed one")
            except flask_ssemux.BrokerError:
                os._exit(0)
            os._exit(2)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0, "child %d failed" % number
    publisher.publish("jobs", "parent %d" % number)
stop.set()
thread.join()
publisher.close()
assert "gevent" not in sys.modules
"""


def test_a_publisher_works_after_a_fork(env, folder):
    """A fork while another thread of the parent publishes, so that locks are held, and with what was open before."""
    (folder / "forking.py").write_text(FORKING, encoding="utf-8")
    forking = [sys.executable, "-W", "ignore::DeprecationWarning", "forking.py"]
    publisher = flask_ssemux.Publisher(env["SSEMUX_BROKER"])
    try:
        broker = publisher._get_broker()
        before = broker.history.get_newest_cursor().sequence
        subprocess.run(forking, check=True, timeout=60, env={**os.environ, **env}, cwd=str(folder))
        found = broker.history.read_events(["jobs"], before, broker.history.get_newest_cursor().sequence, 1000).records
        published = [record.body.decode().split("data: ")[1].strip() for record in found]
        turns = [text % number for number in range(20) for text in ("child %d", "parent %d")]
        assert published == ["parent, before", *turns]
    finally:
        publisher.close()
