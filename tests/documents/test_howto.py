"""The How-to pages, done as they say: their files, their commands, and what they promise.

One gunicorn serves the commands of all pages; the applications that pages move are opened without a server.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from flask_ssemux import testing
from flask_ssemux.testing import stream
from tests.documents.terminal import Foreground, Terminal, shows
from tests.harness.client import RawStream
from tests.harness.document import block, command, modules
from tests.harness.ports import free_port
from tests.harness.servers import ROOT, Gunicorn, environment, listens
from tests.harness.waiting import until
from tests.server.conftest import Site

WAIT = 20
MORE_RULES = """
app.secret_key = "a secret of the tests, 32 bytes long"
mux.authorize("jobs:<job_id>")(lambda user_id, job_id: True)
mux.authorize("readings")(lambda user_id: True)
mux.authorize("orders")(lambda user_id: user_id is not None)
"""


def wait_status(terminal, line):
    """Type the command until it shows a worker, which it does a second after the worker's first stream."""
    return until(lambda: [out for out in [terminal.type(line)] if "\nworker " in out], WAIT, line)[0]


#: Lines of the doctor that say how fast this machine is, and the sum of all lines.
TIMED = r"^  ok +(first byte|flow|second stream|silence) .*|^\d+ ok, in .*"


# -- a server and a shell --------------------------------------------------------


@pytest.fixture
def shop(tmp_path):
    """The folder of README's shop, with rules for the channels of the pages."""
    source = block("../README.md", "python", "# shop.py")
    (tmp_path / "shop.py").write_text(source + MORE_RULES, encoding="utf-8")
    modules("howto/cron-threads-devices.md", tmp_path)
    (tmp_path / ".curlrc").write_text("silent\nshow-error\n", encoding="utf-8")  # as curl is in a terminal
    return tmp_path


@pytest.fixture
def env(shop):
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    broker = "sqlite:///%s" % (shop / "events.sqlite3")
    return environment({"PATH": path, "CURL_HOME": str(shop), "SSEMUX_BROKER": broker, "PYTHONPATH": str(ROOT)})


def test_why_nothing_arrives_step_by_step(shop, env, running):
    """And what other pages do in a shell beside a server: cron's command, a device's program, the bytes of a stream."""
    server = running(Gunicorn("shop:app", env={**env, "SSEMUX_HEARTBEAT": "1"}, cwd=shop))
    site, terminal = Site(server), running(Terminal(shop, env))
    line = command("howto/nothing-arrives.md", "curl -N").replace("127.0.0.1:8000", "127.0.0.1:%d" % server.port)
    curl = running(Foreground(line, "event: ssemux.hello", shop, env))
    terminal.type(command("howto/nothing-arrives.md", "FLASK_APP=shop flask ssemux publish"))
    curl.wait_log("\ndata: hello\n", WAIT)
    tail = command("howto/nothing-arrives.md", "FLASK_APP=shop flask ssemux tail")
    tail = running(Foreground("env " + tail, "", shop, env))
    terminal.type(command("howto/cron-threads-devices.md", "FLASK_APP=shop flask ssemux publish"))
    curl.wait_log("\nevent: report\nchannel: news\ndata: the report is ready\n", WAIT)
    status = wait_status(terminal, command("howto/nothing-arrives.md", "FLASK_APP=shop flask ssemux status"))
    assert str(shop / "events.sqlite3") in status
    shown = [line for line in block("blocking.md", "text", "workers  ").splitlines() if not line.startswith("[")]
    assert shows(status, "\n".join(shown).replace(" (up to 3.147 s)", "")), status  # no loop was late here
    assert '"error": "forbidden"' in terminal.type(line.replace("news", "nobody"))
    assert '"error": "unauthorized"' in terminal.type(line.replace("news", "orders"))

    (shop / "device").write_text("21.5\n21.7\n", encoding="utf-8")
    with RawStream(site.port, "/events?channel=readings&channel=jobs:42") as reader:
        reader.wait_for(b"ssemux.hello", WAIT)
        terminal.type(command("howto/cron-threads-devices.md", "cat /dev/ttyUSB0").replace("/dev/ttyUSB0", "device"))
        reader.wait_for(lambda reader: reader.events()[-1].data == "21.7", WAIT)  # the first one may be outdated
        terminal.type("FLASK_APP=shop flask ssemux publish jobs:42 '{\"done\":7}' --json --event progress")
        reader.wait_for(lambda reader: reader.events()[-1].event == "progress", WAIT)
        reader.wait_for(lambda reader: reader.body.rstrip().endswith(b": heartbeat"), WAIT)
        server.signal(signal.SIGTERM)
        reader.wait_for(lambda reader: reader.ended, WAIT)
        assert shows(reader.body.decode(), block("client.md", "text", "retry: "))


def test_the_doctors_reports(shop, env, running, nginx):
    """Both reports of the page: of an old stream and of one of flask_ssemux, behind nginx as Debian configures it."""
    old = running(Gunicorn("tests.apps.before:create_app()", env={"FIRST_EVENT_AFTER": "60"}))
    new = running(Gunicorn("shop:app", env={**env, "SSEMUX_HEARTBEAT": "1"}, cwd=shop))
    doctor = (
        "FLASK_APP=shop SSEMUX_HEARTBEAT=1 flask ssemux doctor --timeout %d http://127.0.0.1:%d/events?channel=news"
    )
    terminal, seconds = running(Terminal(shop, env)), {old: 3, new: 20}  # the old stream never answers
    reports = [terminal.type(doctor % (seconds[server], nginx(server.port).port)) for server in (old, new)]
    pages = [
        block("doctor.md", "text", "http://shop.example/events (nginx/1.22.1)\n  fail "),
        block("doctor.md", "text", "http://shop.example/events (nginx/1.22.1)\n  ok "),
    ]
    for report, page in zip(reports, pages):
        report = re.sub(r"http://127\S+", "http://shop.example/events", report)
        assert shows(report, re.sub(TIMED, "", page, flags=re.M)), report
        assert re.findall(r"^  \w+ +([a-z ]+?)  ", report, re.M) == re.findall(r"^  \w+ +([a-z ]+?)  ", page, re.M)


def test_a_server_that_cannot_stream(shop, env, running):
    server = running(Gunicorn("shop:app", args=("-k", "sync"), env=env, cwd=shop))
    terminal = running(Terminal(shop, env))
    curl = command("servers.md", "curl ").replace(":8000", ":%d" % server.port)
    assert shows(terminal.type(curl), block("servers.md", "text", "retry: "))


def test_a_clock(shop, env, running):
    """Its thread goes on for ever, so it has a process of its own."""
    server = running(Gunicorn("clock:app", env=env, cwd=shop))
    with RawStream(server.port, "/events?channel=clock") as reader:
        assert reader.wait_events(2, WAIT)[1].event == "tick"


def test_pywsgi(shop, env, running):
    port = free_port()
    source = block("servers.md", "python", "from gevent import monkey").replace("8000", str(port))
    (shop / "serve.py").write_text(source, encoding="utf-8")
    server = running(Listening("%s serve.py" % sys.executable, port, shop, env))
    with RawStream(port, "/events?channel=news") as reader:
        reader.wait_for(b"ssemux.hello", WAIT)
        server.signal(signal.SIGTERM)
        reader.wait_for(lambda reader: reader.ended, WAIT)
        assert reader.ended == "clean"
    server.wait(WAIT)


class Listening(Foreground):
    """A command that prints nothing when it is ready."""

    def __init__(self, line, port, folder, env):
        super().__init__(line, "", folder, env)
        self._port = port

    def ready(self):
        return listens(self._port)


def test_the_crontab_is_the_command_of_the_page():
    line = block("howto/cron-threads-devices.md", "text", "15 3 ").strip().replace(".venv/bin/", "")
    assert line.endswith(command("howto/cron-threads-devices.md", "FLASK_APP=shop flask ssemux publish"))


# -- applications that are moved --------------------------------------------------


@pytest.fixture
def load(tmp_path, monkeypatch):
    """load(document, name): a module of a page, with the memory broker; its application is closed after the test."""
    made = []
    monkeypatch.setenv("SSEMUX_BROKER", "memory:")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "jobs.py").write_text('def poll_the_database():\n    yield "event: job\\ndata: 1\\n\\n"\n')

    def start(name):
        made.append(importlib.import_module(name))
        made[-1].app.testing = True
        return made[-1].app

    yield start
    for module in made:
        if "ssemux" in module.app.extensions:
            testing.close(module.app)
    for name in ("jobs", *(module.__name__ for module in made)):
        sys.modules.pop(name, None)


def test_a_hand_written_stream(load, tmp_path):
    modules("howto/hand-written-stream.md", tmp_path)
    with stream(load("wrapped"), "/api/jobs/stream") as events:
        events.expect("job", 1)
    app = load("published")
    with stream(app, "/api/jobs/stream") as events:
        app.test_client().put("/api/jobs/7", data={"state": "done"})
        events.expect("job", {"id": "7", "state": "done"})


def test_the_announcer(load, tmp_path):
    """The view before and the view after send a page the same event."""
    modules("howto/message-announcer.md", tmp_path)
    app = load("announcer")
    listeners = sys.modules["announcer"].announcer.listeners

    def read_first():
        with app.test_client().get("/listen") as answer:
            return next(iter(answer.response))

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(read_first)
        until(lambda: listeners, WAIT, "the view listens")
        app.test_client().post("/ping")
        before = first.result(WAIT)
    app = load("announced")
    with stream(app, "/listen") as events:
        app.test_client().post("/ping")
        events.expect("ping", "pong")
    assert before == b"event: ping\ndata: pong\n\n"


def test_flask_socketio(load, tmp_path):
    modules("howto/flask-socketio.md", tmp_path)
    app = load("stocks")
    with stream(app, channels=["stock:7"]) as events:
        app.test_client().put("/stock/7", data={"price": "2.5"})
        events.expect("price", {"price": 2.5})
    with stream(app, channels=["stock:x"]) as events:
        assert events.status == 401


def test_accounts(load, tmp_path):
    modules("howto/authenticate.md", tmp_path)
    app, client = load("accounts"), load("accounts").test_client()
    client.post("/login", data={"name": "ann"})
    with stream(app, channels=["orders:ann"], client=client) as events:
        client.post("/logout")
        events.wait_closed(timeout=WAIT)
        assert events.events[-1].event == "ssemux.stop"
    for channel, user, status in (("orders:ann", "ben", 403), ("orders:ann", None, 401)):
        with stream(app, channels=[channel], user=user) as events:
            assert events.status == status
