"""An older copy of an SQLite file gives no sequence twice; and history ages again after a clock was wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest

from flask_ssemux.brokers import HistoryLimits, open_broker
from flask_ssemux.brokers.contract import constants
from flask_ssemux.brokers.sqlite import leap
from tests.brokers.conftest import pretend_other_host
from tests.brokers.processes import process
from tests.brokers.test_sqlite import epoch, killed_while_appending

ALL = 10**17
YEAR = 365 * 86400.0


@pytest.fixture
def path(sqlite_url):
    return sqlite_url[len("sqlite:///") :]


def live(url, count):
    """Run a process that appends and closes; return its last cursor."""
    broker = open_broker(url, HistoryLimits())
    cursors = [broker.history.append_event("a", b"x") for _ in range(count)]
    broker.close()
    return cursors[-1]


def is_told(broker, cursor):
    """Return whether a client with this cursor is sent a reset, as the hub decides it."""
    head = broker.history.get_newest_cursor()
    return cursor.epoch != head.epoch or cursor.sequence > head.sequence or broker.history.has_lost(cursor)


def copied(path, folder):
    os.makedirs(folder)
    for suffix in ("", "-wal", "-shm", "-reserve"):
        if os.path.exists(path + suffix):
            shutil.copy2(path + suffix, folder)


def restored(path, folder, in_place):
    for suffix in ("-wal", "-shm", "-reserve", ""):
        there = os.path.join(folder, os.path.basename(path) + suffix)
        if not in_place and os.path.exists(path + suffix):
            os.unlink(path + suffix)
        if os.path.exists(there):
            shutil.copyfile(there, path + suffix)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("crashed", [False, True])
def test_a_file_put_back_from_a_backup_gives_no_sequence_twice(sqlite, sqlite_url, path, tmp_path, in_place, crashed):
    live(sqlite_url, 5)
    if crashed:
        killed_while_appending(sqlite_url)
    copied(path, str(tmp_path / "backup"))
    lost = [live(sqlite_url, 20), live(sqlite_url, 10)]  # two starts that the older file does not know
    restored(path, str(tmp_path / "backup"), in_place)
    broker = sqlite()
    kept = [record.sequence for record in broker.history.read_events(["a"], 0, ALL, 1000).records]
    assert all(is_told(broker, cursor) for cursor in lost)
    new = [broker.history.append_event("a", b"new").sequence for _ in range(50)]
    assert all(is_told(broker, cursor) for cursor in lost)
    assert min(new) > lost[1].sequence
    # A client that saw only events of the file misses nothing.
    assert not is_told(broker, lost[0]._replace(sequence=kept[-1]))
    assert [record.sequence for record in broker.history.read_events(["a"], kept[-1], ALL, 1000).records] == new


def test_a_file_in_an_image_gives_no_sequence_twice_however_often_it_is_deployed(tmp_path):
    image = str(tmp_path / "image.sqlite3")
    live("sqlite:///" + image, 9)
    seen = []
    for deploy in range(3):
        file = str(tmp_path / ("deploy%d.sqlite3" % deploy))
        shutil.copyfile(image, file)
        broker = open_broker("sqlite:///" + file, HistoryLimits())
        assert all(is_told(broker, cursor) for cursor in seen)
        mine = [broker.history.append_event("a", b"x") for _ in range(30)]
        assert all(is_told(broker, cursor) for cursor in seen)
        assert not any(is_told(broker, cursor) for cursor in mine)
        seen += mine
        broker.close()
    assert len({cursor.sequence for cursor in seen}) == 90


def test_all_workers_know_the_voids(sqlite, sqlite_url, path, tmp_path, opened):
    live(sqlite_url, 5)
    copied(path, str(tmp_path / "backup"))
    lost = live(sqlite_url, 20)
    restored(path, str(tmp_path / "backup"), False)
    first, second = sqlite(), open_broker(sqlite_url, HistoryLimits())
    opened(second)
    first.history.get_newest_cursor(), second.history.get_newest_cursor()  # both open it before the first event
    first.history.append_event("a", b"x")
    assert second.history.subscribe_channels(["a"]).after > lost.sequence and second.history.has_lost(lost)
    assert first.history.has_lost(lost)


def test_a_restart_without_loss_resets_no_client(sqlite, sqlite_url):
    last = live(sqlite_url, 5)
    for _ in range(3):
        last = live(sqlite_url, 5)
        broker = open_broker(sqlite_url, HistoryLimits())
        assert broker.history.get_newest_cursor() == last and not is_told(broker, last)
        following = broker.history.append_event("a", b"x")
        assert not is_told(broker, last) and not is_told(broker, following)
        assert [record.sequence for record in broker.history.read_events(["a"], last.sequence, ALL, 9).records] == [
            following.sequence
        ]
        broker.close()


def test_a_process_that_opens_a_file_in_use_does_not_leap(sqlite, sqlite_url):
    broker = sqlite()
    for number in range(1, 40, 4):
        assert broker.history.append_event("a", b"x").sequence == number
        assert live(sqlite_url, 1).sequence == number + 1
        code = "import sys; from flask_ssemux import Publisher; Publisher(sys.argv[1]).publish('a', 'x')"
        if number == 1:
            subprocess.run([sys.executable, "-c", code, sqlite_url], check=True)
        else:
            live(sqlite_url, 1)
        broker.prepare_fork()  # it closes the file, but a child is not alone
        assert live(sqlite_url, 1).sequence == number + 3
        broker.finish_fork()


def test_processes_that_start_at_once_leap_once(sqlite_url):
    live(sqlite_url, 5)
    script = (
        "import sys; from flask_ssemux.brokers import open_broker; b = open_broker(sys.argv[1])\n"
        "b.history.get_newest_cursor()\n"
        "print('open', flush=True); sys.stdin.readline(); print(b.history.append_event('a', b'x').sequence)"
    )
    many = [
        subprocess.Popen([sys.executable, "-c", script, sqlite_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    assert [one.stdout.readline() for one in many] == [b"open\n"] * 4
    numbers = sorted(int(one.communicate(b"\n", timeout=20)[0]) for one in many)
    assert numbers == list(range(numbers[0], numbers[0] + 4)) and numbers[0] > 10**15


def test_the_number_of_voids_is_bounded(sqlite, sqlite_url, monkeypatch):
    monkeypatch.setattr(leap, "VOIDS", 10)
    cursors = [live(sqlite_url, 2) for _ in range(30)]
    broker = sqlite()
    broker.history.get_newest_cursor()
    assert broker._store.file.read("SELECT count(*) FROM voids").fetchone()[0] == 10
    assert not any(is_told(broker, cursor) for cursor in cursors[-9:])
    assert all(is_told(broker, cursor._replace(sequence=cursor.sequence + 100)) for cursor in cursors)


def test_a_clock_that_proves_nothing_begins_an_epoch(sqlite, sqlite_url, path, monkeypatch, caplog):
    now = time.time()
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: now + YEAR)
        before = live(sqlite_url, 5)
    broker = sqlite()
    assert is_told(broker, before) and epoch(path) != before.epoch
    assert "the clock is behind the newest event" in caplog.text
    assert len(broker.history.read_events(["a"], 0, ALL, 10).records) == 5  # the events in the file are kept
    broker.history.append_event("a", b"x")
    broker.close()
    again = sqlite()
    assert (
        again.history.get_newest_cursor().epoch == epoch(path) == broker._store._before.epoch
    )  # and the warning does not come at each start


def test_sequences_ahead_of_the_clock_reset_no_client_at_a_start(sqlite_url, path, tmp_path, monkeypatch):
    live(sqlite_url, 5)
    now = time.time()
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: now + YEAR)
        live(sqlite_url, 5)
        beside = open_broker(sqlite_url, HistoryLimits())
        beside.history.append_event("a", b"x")
    last = beside.history.append_event("a", b"the clock was set right")
    beside.close()
    copied(path, str(tmp_path / "backup"))
    lost = [live(sqlite_url, 10) for _ in range(3)]
    assert {cursor.epoch for cursor in lost} == {last.epoch}
    assert lost[-1].sequence > lost[0].sequence > last.sequence + 10**9
    restored(path, str(tmp_path / "backup"), False)
    mine = live(sqlite_url, 10)
    broker = open_broker(sqlite_url, HistoryLimits())
    assert all(is_told(broker, cursor) for cursor in lost)
    assert not is_told(broker, mine) and not is_told(broker, last)
    broker.close()


# -- a clock that was wrong, then set right -------------------------------------


@pytest.mark.parametrize("restarted", [False, True])
def test_history_ages_again_after_the_clock_was_ahead(sqlite, monkeypatch, restarted):
    now = time.time()
    monkeypatch.setattr(constants, "LIVE_EVENTS", 2)
    clock = [now]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    broker = sqlite(seconds=100.0)
    broker.history.append_event("a", b"before")
    clock[0] = now + YEAR
    for _ in range(5):
        broker.history.append_event("a", b"ahead")
    clock[0] = now + 10
    if restarted:
        broker.close()
        broker = sqlite(seconds=100.0)
    for _ in range(5):
        broker.history.append_event("a", b"right")
    first = broker.history.get_newest_cursor().sequence - 4
    kept = [record.body for record in broker.history.read_events(["a"], 0, ALL, 100).records]
    assert kept == [b"before"] + [b"ahead"] * 5 + [b"right"] * 5
    clock[0] = now + 115
    broker.history.append_event("b", b"x")
    assert broker.history.read_events(["a"], 0, ALL, 100).records == []
    assert broker.history.read_events(["a"], 0, ALL, 100).missing == ["a"]
    assert broker.history.read_events(["a"], first + 4, ALL, 100).missing == []
    for _ in range(200):
        broker.history.append_event("b", b"x")
    assert broker._store.file.read("SELECT count(*) FROM events WHERE channel = 'a'").fetchone()[0] == 0


def test_leases_do_not_outlive_a_clock_that_was_ahead(sqlite, sqlite_url, monkeypatch):
    now = time.time()
    clock = [now + YEAR]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    elsewhere = open_broker(sqlite_url, HistoryLimits())
    pretend_other_host(elsewhere)  # whether its process is alive is not known here
    assert elsewhere.leases.take_user_slot("user:1", 1)
    elsewhere.leases.announce_oldest_slot("user:1", now + YEAR)
    elsewhere.presence.announce_presence({("a", "1"): 1}, 60.0)
    elsewhere.reports.write_report({"streams": 1})
    clock[0] = now
    broker = sqlite()
    broker.leases.renew_leases()
    broker.reports.write_report({"streams": 2})
    broker.presence.announce_presence({}, 60.0)
    assert [report.figures for report in broker.reports.read_reports()] == [{"streams": 2}]
    clock[0] = now + 120
    broker.leases.renew_leases()
    assert broker.leases.take_user_slot("user:1", 1)
    assert broker.presence.get_presence("a") == {}
    broker.presence.announce_presence({}, 60.0)
    for table in ("elders", "presence"):
        assert broker._store.file.read("SELECT count(*) FROM " + table).fetchone()[0] == 0
    elsewhere._store.is_closed = True


def test_a_publisher_that_was_killed_leaves_no_lock(sqlite, sqlite_url):
    code = "import sys, time; from flask_ssemux.brokers import open_broker; b = open_broker(sys.argv[1])\n"
    other = process(code + "print(b.history.append_event('a', b'x').sequence, flush=True); time.sleep(60)", sqlite_url)
    number = int(other.stdout.readline())
    other.kill()
    other.communicate(timeout=10)
    assert sqlite().history.append_event("a", b"y").sequence > number + 10**6
