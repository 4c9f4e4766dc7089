"""An SQLite store on a full disk: real small file systems, which only root can mount."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from flask_ssemux.brokers import HistoryLimits, open_broker
from flask_ssemux.errors import BrokerUnavailable
from tests.brokers.processes import process

ALL = 10**17


@pytest.fixture
def disk(tmp_path):
    """A file system of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        text = "no file system can be mounted here (it takes root): %s" % mounted.stderr.strip()
        pytest.fail(text) if os.environ.get("CI") == "true" else pytest.skip(text)
    yield str(folder)
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(broker, size, most=100_000):
    """Append until the disk is full; return how many events were accepted, and the errors."""
    for number in range(most):
        try:
            broker.history.append_event("c%d" % (number % 7), b"x" * size)
        except BrokerUnavailable as error:
            return number, str(error)
    return most, ""


@pytest.mark.parametrize("size", [5_000, 200_000])
def test_publishing_works_again_when_history_is_past_its_age(disk, opened, monkeypatch, size):
    clock = [time.time()]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    url = "sqlite:///%s/x.sqlite3" % disk
    broker = open_broker(url, HistoryLimits(seconds=60.0))
    accepted, said = fill(broker, size)
    assert accepted > 6_000_000 / size * 0.8
    assert "is full, and no event is over a limit of the history; make room on the disk, or lower" in said
    assert fill(broker, size)[0] == 0 and len(broker.history.read_events(["c0"], 0, ALL, 2).records) == 2
    assert broker.leases.take_user_slot("user:1", 5) and broker.one_time_keys.use_one_time_key(
        "ticket:1", 30.0
    )  # small changes have room
    for _ in range(3):
        clock[0] += 70.0
        assert fill(broker, size)[0] > accepted * 0.8
    clock[0] += 70.0
    broker.close()
    after_restart = open_broker(url, HistoryLimits(seconds=60.0))
    opened(after_restart)
    assert fill(after_restart, size)[0] > accepted * 0.8


def test_several_processes_do_not_use_up_the_room_that_one_released(disk, opened, monkeypatch):
    clock = [time.time()]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    brokers = [open_broker("sqlite:///%s/x.sqlite3" % disk, HistoryLimits(seconds=60.0)) for _ in range(3)]
    for broker in brokers:
        opened(broker)
        broker.history.append_event("a", b"x")
    accepted = sum(fill(broker, 9000)[0] for broker in brokers)
    assert accepted > 400
    for _ in range(2):
        clock[0] += 70.0
        assert fill(brokers[1], 9000)[0] > accepted * 0.8
        assert sum(fill(broker, 9000)[0] for broker in brokers) < 5


@pytest.mark.parametrize("size", [5_000, 200_000])
def test_a_limit_of_bytes_keeps_a_small_disk_from_filling(disk, opened, size):
    broker = open_broker("sqlite:///%s/x.sqlite3" % disk, HistoryLimits(size=1024**2))
    opened(broker)
    assert fill(broker, size, 40_000_000 // size) == (40_000_000 // size, "")
    kept = sum(
        len(record.body) for record in broker.history.read_events(["c%d" % n for n in range(7)], 0, ALL, 1000).records
    )
    assert 1024**2 - size <= kept <= 1024**2


def test_a_disk_that_others_filled(disk, opened):
    """An error says so; reading goes on; publishing works again when there is room, or when events are over a limit."""
    broker = open_broker("sqlite:///%s/x.sqlite3" % disk, HistoryLimits(events=20))
    opened(broker)
    assert fill(broker, 5000, 400)[0] == 400
    other = os.path.join(disk, "other")
    with open(other, "wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(b"x" * 4096)
    # Events over the limit are deleted, delivered or not, and their room is used again.
    assert fill(broker, 5000, 2000)[1] == ""
    accepted, said = fill(broker, 100_000, 100)
    assert accepted == 100 or "is full" in said
    os.unlink(other)
    assert fill(broker, 5000, 200) == (200, "")
    assert broker._store.file.reserve.is_whole


def test_a_process_that_was_killed_on_a_full_disk(disk, opened):
    url = "sqlite:///%s/x.sqlite3" % disk
    writer = process(
        "import sys; from flask_ssemux.brokers import HistoryLimits, open_broker\n"
        "broker = open_broker(sys.argv[1], HistoryLimits(seconds=0.5))\n"
        "try:\n    while True: broker.history.append_event('a', b'x' * 9000)\n"
        "except Exception as error: print(error, flush=True); sys.stdin.read()",
        url,
    )
    assert "is full" in writer.stdout.readline()
    writer.kill()
    writer.communicate(timeout=10)
    broker = open_broker(url, HistoryLimits(seconds=0.0))
    opened(broker)
    assert fill(broker, 5000, 300) == (300, "")
