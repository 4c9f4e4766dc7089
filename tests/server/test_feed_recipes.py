"""The recipes of docs/feeds.md, exactly as printed there: a database that is polled, a log file, devices."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

from tests.harness.document import block, modules
from tests.harness.servers import environment
from tests.harness.waiting import until
from tests.server.conftest import Site

#: Who may read what the program of the document publishes.
RULE = '\n\n@mux.authorize("weights")\ndef may_read_weights(user_id):\n    return True\n'


@pytest.fixture
def folder(tmp_path):
    """A folder with the document's modules, and the database, the log and the device that they read."""
    modules("feeds.md", tmp_path)
    recipes = [
        block("feeds.md", "python", '@mux.authorize("log")'),
        block("feeds.md", "python", '@mux.authorize("scale")'),
    ]
    with (tmp_path / "boards.py").open("a") as module:
        module.write("\n\n".join(["", *recipes]) + RULE)
    with sqlite3.connect(str(tmp_path / "shop.sqlite3")) as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT, changed REAL)")
        database.execute("INSERT INTO orders VALUES (1, 'new', 0)")
    (tmp_path / "shop.log").write_text("a line of before\n")
    os.mkfifo(str(tmp_path / "scale"))
    return tmp_path


@pytest.fixture
def env(folder):
    paths = {"SHOP_DATABASE": "shop.sqlite3", "SHOP_LOG": "shop.log", "SCALE": "scale"}
    broker = "sqlite:///%s" % (folder / "events.sqlite3")
    return {"SSEMUX_BROKER": broker, **{name: str(folder / file) for name, file in paths.items()}}


@pytest.fixture
def site(gunicorn, folder, env):
    return Site(gunicorn("boards:app", workers=2, cwd=folder, env=env))


def change_order(folder, number, state):
    with sqlite3.connect(str(folder / "shop.sqlite3")) as database:
        database.execute("INSERT OR REPLACE INTO orders VALUES (?, ?, ?)", (number, state, time.time()))


def test_a_polled_database_a_followed_log_and_a_device(site, folder):
    device = os.open(str(folder / "scale"), os.O_RDWR)
    with ExitStack() as stack:
        stack.callback(os.close, device)
        streams = [stack.enter_context(site.stream("/events?channel=orders&channel=log&channel=scale")) for _ in "1234"]
        for stream in streams:
            stream.wait_events(1, 5, "order")  # the snapshot
        change_order(folder, 2, "paid")
        write_line(folder / "shop.log", "begun\n", streams)
        os.write(device, b"17.5\n18")
        os.write(device, b".0\n")
        change_order(folder, 1, "sent")
        os.rename(str(folder / "shop.log"), str(folder / "shop.log.1"))
        (folder / "shop.log").write_text("a new file\n")
        for stream in streams:
            stream.wait_events(3, 10, "order")
            stream.wait_events(2, 10, "weight")
            stream.wait_for(b"data: a new file\n", 10)
    for stream in streams:
        orders = [event.data for event in stream.events("order")]
        assert orders[0] == '{"id":1,"state":"new"}'
        assert sorted(orders[1:]) == ['{"id":1,"state":"sent"}', '{"id":2,"state":"paid"}']
        assert [event.data for event in stream.events("weight")] == ["17.5", "18.0"]
        assert [event.data for event in stream.events("line") if event.data != "begun"] == ["a new file"]


def write_line(path, line, streams):
    """Append a line to the log until the feed tells of it: a line that is written before it has begun is not told."""

    def write():
        with path.open("a") as file:
            file.write(line)
        return all(stream.events("line") for stream in streams)

    until(write, 10, lambda: repr(streams))


def test_a_program_with_a_thread_that_reads_a_device_and_publishes(site, folder, env):
    with site.stream("/events?channel=weights") as stream:
        stream.wait_for(b"ssemux.hello", 5)
        program = subprocess.Popen([sys.executable, "scale.py"], cwd=str(folder), env=environment(env))
        with open(str(folder / "scale"), "w") as device:
            device.write("17.5\n")
        assert program.wait(20) == 0
        assert [event.data for event in stream.wait_events(1, 5, "weight")] == ["17.5"]
