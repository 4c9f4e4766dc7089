"""Processes that use one SQLite file wake each other. Looking at intervals is turned off here, so nothing else does."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys

import pytest

from flask_ssemux.brokers.sqlite import delivery, wakeups
from tests.harness.waiting import until


@pytest.fixture(autouse=True)
def no_polling(monkeypatch):
    monkeypatch.setattr(delivery, "SAFETY_POLL", 600.0)


@pytest.fixture
def folder(sqlite_url):
    """The folder of the sockets."""
    return sqlite_url[len("sqlite:///") :] + wakeups.SUFFIX


def test_an_event_of_another_broker_is_delivered_at_once(sqlite, recorder):
    reader, writer = sqlite(), sqlite()
    reader.history.start_delivery(recorder.listener)
    for number in range(20):
        writer.history.append_event("a", b"%d" % number)
        recorder.wait(number + 1)
    assert recorder.sequences == list(range(1, 21))


PUBLISH = """
import sys, flask_ssemux
with flask_ssemux.Publisher(sys.argv[1]) as publisher:
    publisher.publish_many([{"channel": "a", "data": 1}, {"channel": "a", "data": 2}])
    publisher.publish("a", 3)
"""


def test_events_of_another_process_are_delivered_at_once(sqlite, sqlite_url, recorder):
    sqlite().history.start_delivery(recorder.listener)
    subprocess.run([sys.executable, "-c", PUBLISH, sqlite_url], check=True, timeout=30)
    recorder.wait(3)


def test_a_reader_that_comes_later_is_woken_too(sqlite, recorder):
    """The writer keeps the list of sockets; it notices that there is another one, however soon."""
    writer = sqlite()
    for number in range(5):
        reader, heard = sqlite(), type(recorder)()
        writer.history.append_event("a", b"%d" % number)
        reader.history.start_delivery(heard.listener)
        writer.history.append_event("a", b"%d" % number)
        heard.wait(1)


def test_a_reader_removes_its_socket_when_it_closes(sqlite, recorder, folder):
    broker = sqlite()
    broker.history.start_delivery(recorder.listener)
    assert len(os.listdir(folder)) == 1
    broker.close()
    assert os.listdir(folder) == []


def test_a_reader_whose_socket_was_removed_makes_another(sqlite, recorder, folder, monkeypatch):
    monkeypatch.setattr(delivery, "SAFETY_POLL", 0.1)
    reader, writer = sqlite(), sqlite()
    reader.history.start_delivery(recorder.listener)
    monkeypatch.setattr(delivery, "SAFETY_POLL", 600.0)
    (removed,) = os.listdir(folder)
    shutil.rmtree(folder)
    until(lambda: os.path.exists(folder) and os.listdir(folder) not in ([], [removed]), 5, "no socket was made")
    writer.history.append_event("a", b"1")
    recorder.wait(1)


def test_the_socket_of_a_process_that_was_killed_is_removed(sqlite, recorder, folder):
    broker = sqlite()
    broker.history.start_delivery(recorder.listener)
    left = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    left.bind(os.path.join(folder, "left"))
    left.close()
    broker.history.append_event("a", b"1")
    until(lambda: os.listdir(folder) != [] and "left" not in os.listdir(folder), 5, lambda: str(os.listdir(folder)))


def test_a_reader_that_does_not_take_its_datagrams_holds_up_nobody(sqlite, folder, recorder):
    broker = sqlite()
    broker.history.start_delivery(recorder.listener)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(os.path.join(folder, "deaf"))
        for number in range(1000):
            broker.history.append_event("a", b"%d" % number)
    recorder.wait(1000, 30)


def test_who_may_write_the_file_may_reach_the_sockets(sqlite, sqlite_url, folder, recorder):
    sqlite().history.append_event("a", b"1")
    path = sqlite_url[len("sqlite:///") :]
    for mode, expected in ((0o600, 0o700), (0o660, 0o770), (0o640, 0o700), (0o666, 0o777)):
        os.chmod(path, mode)
        assert wakeups._find_folder_mode(os.stat(path).st_mode) == expected
    os.chmod(path, 0o660)
    sqlite().history.start_delivery(recorder.listener)
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o770


def test_the_folder_belongs_to_the_group_of_the_file(sqlite, sqlite_url, folder, recorder, monkeypatch):
    """A member of that group may have another group of its own."""
    monkeypatch.setattr(wakeups, "is_root", lambda: False)
    group = 12345 if os.getuid() == 0 else os.getgroups()[-1]
    path = sqlite_url[len("sqlite:///") :]
    sqlite().history.append_event("a", b"1")
    os.chown(path, -1, group)
    sqlite().history.start_delivery(recorder.listener)
    assert os.stat(folder).st_gid == group


def test_a_path_that_is_too_long_for_a_socket(sqlite, recorder, monkeypatch):
    monkeypatch.setattr(wakeups, "MAX_PATH", 10)
    reader, writer = sqlite(), sqlite()
    reader.history.start_delivery(recorder.listener)
    writer.history.append_event("a", b"1")
    recorder.wait(1)


def test_a_process_that_cannot_listen_looks_at_short_intervals(sqlite, recorder, monkeypatch):
    monkeypatch.setattr(wakeups, "MAX_PATH", 10)
    monkeypatch.setattr(wakeups, "OPEN_FILES", "/nowhere")  # as on macOS
    reader, writer = sqlite(), sqlite()
    reader.history.start_delivery(recorder.listener)
    writer.history.append_event("a", b"1")
    recorder.wait(1)


FORK = """
import os, sys, time
from gevent import monkey
monkey.patch_all()
from flask_ssemux.brokers import open_broker
from flask_ssemux.brokers.sqlite import delivery
from tests.brokers.recorder import Recorder
delivery.SAFETY_POLL = 600.0
recorder = Recorder()
broker = open_broker(sys.argv[1])
broker.history.start_delivery(recorder.listener)
time.sleep(0.1)
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
other = open_broker(sys.argv[1])
other.history.append_event("a", b"1")
monkey.get_original("time", "sleep")(0.5)  # the child's loop runs, and this one does not
recorder.wait(1)
os.kill(child, 9)
os.waitpid(child, 0)
print(len(recorder.sequences))
"""


def test_a_forked_child_takes_no_datagram_of_its_parent(sqlite_url):
    done = subprocess.run([sys.executable, "-c", FORK, sqlite_url], capture_output=True, timeout=50)
    assert done.stdout == b"1\n", done.stderr.decode()
