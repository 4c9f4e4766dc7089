"""The SQLite broker with a file that others change, and with a machine that restarts."""

from __future__ import annotations

import os
import sqlite3
import stat
import time

import pytest

from flask_ssemux.brokers import HistoryLimits, Record, names, open_broker
from flask_ssemux.brokers.contract import constants
from flask_ssemux.brokers.sqlite import file as open_file
from flask_ssemux.brokers.sqlite import trimming
from flask_ssemux.errors import BrokerUnavailable
from tests.brokers.conftest import pretend_other_host
from tests.brokers.processes import process
from tests.harness.waiting import until

ALL = 10**9


@pytest.fixture
def path(sqlite_url):
    return sqlite_url[len("sqlite:///") :]


# -- several processes -------------------------------------------------------


def test_history_outlives_every_process(sqlite, sqlite_url):
    first = open_broker(sqlite_url)
    cursor = first.history.append_event("a", b"x")
    first.close()
    assert sqlite().history.get_newest_cursor() == cursor


def test_leases_that_are_not_renewed_expire(sqlite, sqlite_url, monkeypatch):
    broker = sqlite()
    elsewhere = open_broker(sqlite_url)
    pretend_other_host(elsewhere)  # as a container on the same volume
    assert elsewhere.leases.take_user_slot("user:1", 1)
    assert not broker.leases.take_user_slot("user:1", 1)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + constants.LEASE_SECONDS / 2)
    elsewhere.leases.renew_leases()
    monkeypatch.setattr(time, "time", lambda: now + constants.LEASE_SECONDS * 1.2)
    assert not broker.leases.take_user_slot("user:1", 1)
    monkeypatch.setattr(time, "time", lambda: now + constants.LEASE_SECONDS * 2)
    assert broker.leases.take_user_slot("user:1", 1)
    elsewhere.close()


def test_a_slot_that_could_not_be_released_is_when_leases_are_renewed(sqlite, path, monkeypatch):
    monkeypatch.setattr(constants, "WAIT_SECONDS", 0.1)
    broker, elsewhere = sqlite(), sqlite()
    assert broker.leases.take_user_slot("user:1", 1)
    with other_writer(path) as other:
        other.execute("BEGIN IMMEDIATE")
        broker.leases.release_user_slot("user:1")
        other.execute("ROLLBACK")
    assert not elsewhere.leases.take_user_slot("user:1", 1)
    broker.leases.renew_leases()
    assert elsewhere.leases.take_user_slot("user:1", 1)


# -- a store that fails ------------------------------------------------------


def test_a_busy_store_is_waited_for(sqlite, path):
    broker = sqlite()
    broker.history.get_newest_cursor()
    with other_writer(path) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        with pytest.raises(BrokerUnavailable, match="the SQLite store .* database is locked"):
            broker.history.append_event("a", b"x")
        assert constants.WAIT_SECONDS - 0.5 < time.monotonic() - started < constants.WAIT_SECONDS + 1.5
        other.execute("ROLLBACK")
    assert broker.history.append_event("a", b"x").sequence == 1


def test_reading_goes_on_while_another_process_writes(sqlite, path):
    broker = sqlite()
    broker.history.append_event("a", b"x")
    with other_writer(path) as other:
        other.execute("BEGIN IMMEDIATE")
        assert broker.history.read_events(["a"], 0, ALL, 10).records == [Record(1, "a", b"x")]
        other.execute("ROLLBACK")


def test_a_store_that_was_removed_begins_an_epoch(sqlite, path, recorder, monkeypatch):
    monkeypatch.setattr(open_file, "FILE_CHECK", 0.0)
    broker = sqlite()
    start = broker.history.start_delivery(recorder.listener)
    broker.history.append_event("a", b"x")
    recorder.wait(1)
    for suffix in ("", "-wal", "-shm"):
        os.unlink(path + suffix)
    until(lambda: recorder.renewals, 5, "no renewal was reported")
    assert recorder.renewals[0].epoch != start.epoch
    assert broker.history.append_event("a", b"y") == (recorder.renewals[0].epoch, 1)
    assert recorder.wait(2)[1] == Record(1, "a", b"y")


def test_an_older_copy_that_is_put_back_begins_an_epoch(sqlite, path, recorder, monkeypatch):
    monkeypatch.setattr(open_file, "FILE_CHECK", 0.0)
    broker = sqlite()
    broker.history.append_event("a", b"old")
    with other_writer(path) as other:
        other.execute("VACUUM INTO '%s.copy'" % path)
    start = broker.history.start_delivery(recorder.listener)
    broker.history.append_event("a", b"newer")
    recorder.wait(1)
    os.rename(path + ".copy", path)
    until(lambda: recorder.renewals, 5, "no renewal was reported")
    assert recorder.renewals[0].epoch != start.epoch
    broker.history.append_event("a", b"after")
    assert recorder.wait(2)[1].body == b"after"


@pytest.mark.parametrize("way", ["deleted", "put back"])
def test_events_that_another_program_takes_back_begin_an_epoch(sqlite, path, recorder, monkeypatch, way):
    """Their sequences are given again, and whoever has seen them would take the new events for the old ones."""
    monkeypatch.setattr(open_file, "FILE_CHECK", 0.0)
    broker = sqlite()
    start = broker.history.start_delivery(recorder.listener)
    broker.history.append_event("a", b"old")
    with other_writer(path) as other, other_writer(":memory:") as copy:
        other.backup(copy)
        broker.history.append_event("a", b"newer")
        recorder.wait(2)
        if way == "deleted":
            other.execute("DELETE FROM events")
        else:
            copy.backup(other)
    until(lambda: recorder.renewals, 5, "no renewal was reported")
    assert recorder.renewals[0].epoch != start.epoch
    assert broker.history.append_event("a", b"after").epoch == recorder.renewals[0].epoch
    assert recorder.wait(3)[2].body == b"after"


def test_no_sequence_is_given_twice_before_it_is_noticed_that_events_were_taken_back(sqlite, path):
    broker = sqlite()
    first = [broker.history.append_event("a", b"old") for _ in range(3)][0]
    with other_writer(path) as other:
        other.execute("DELETE FROM events")
    with pytest.raises(BrokerUnavailable, match="events were deleted by another program"):
        broker.history.append_event("a", b"refused")
    again = broker.history.append_event("a", b"after")
    assert again.epoch != first.epoch
    assert [record.body for record in broker.history.read_events(["a"], 0, ALL, 10).records] == [b"after"]


def test_waiting_is_bounded_for_all_callers(sqlite, path, monkeypatch):
    """The lock and the store share one deadline; and reading does not wait for a writer, also not after one failed."""
    monkeypatch.setattr(constants, "WAIT_SECONDS", 0.5)
    broker = sqlite()
    broker.history.append_event("a", b"x")
    with other_writer(path) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(BrokerUnavailable):
                broker.history.append_event("a", b"x")
            assert time.monotonic() - started < 1.0
        assert len(broker.history.read_events(["a"], 0, ALL, 10).records) == 1
        other.execute("ROLLBACK")


def test_the_listener_is_called_when_the_store_is_lost_and_found(sqlite, path, recorder, monkeypatch):
    monkeypatch.setattr(open_file, "FILE_CHECK", 0.0)
    broker = sqlite()
    broker.history.append_event("a", b"x")
    broker.history.start_delivery(recorder.listener)
    folder = os.path.dirname(path)
    os.rename(folder, folder + ".away")
    open(folder, "w").close()  # root could make the folder again; a file of its name stops even root
    until(lambda: recorder.losses, 5, "no loss was reported")
    with pytest.raises(BrokerUnavailable):
        broker.history.append_event("a", b"lost")
    os.unlink(folder)
    os.rename(folder + ".away", folder)
    until(lambda: recorder.finds, 5, "no find was reported")
    assert broker.history.append_event("a", b"y").sequence == 2
    assert recorder.wait(1) == [Record(2, "a", b"y")]
    assert recorder.renewals == []


def test_a_database_of_something_else_is_left_alone(sqlite, path):
    with other_writer(path) as other:
        other.execute("CREATE TABLE users (name TEXT)")
    with pytest.raises(BrokerUnavailable, match="is a database of something else"):
        sqlite().history.append_event("a", b"x")
    with other_writer(path) as other:
        assert [row[0] for row in other.execute("SELECT name FROM sqlite_master")] == ["users"]


def test_a_file_that_is_no_database_is_an_error_that_names_it(sqlite, path):
    with open(path, "w") as file:
        file.write("hello " * 1000)
    with pytest.raises(BrokerUnavailable, match="%s: file is not a database" % path):
        sqlite().history.get_newest_cursor()


def test_the_file_is_its_owners_alone(sqlite, path):
    sqlite().history.append_event("a", b"x")
    for suffix in ("", "-wal"):
        assert stat.S_IMODE(os.stat(path + suffix).st_mode) == 0o600


# -- restarts of the machine -------------------------------------------------


def test_a_clean_restart_of_the_machine_keeps_the_history(sqlite, sqlite_url, monkeypatch):
    first = open_broker(sqlite_url)
    cursor = first.history.append_event("a", b"x")
    first.close()
    monkeypatch.setattr(names, "read_boot_id", lambda: "another boot")
    assert sqlite().history.get_newest_cursor() == cursor


def test_a_power_failure_begins_a_new_epoch(sqlite_url, path, monkeypatch, opened):
    """Events that were only in the log may be lost then, and their sequences would be given again."""
    before = killed_while_appending(sqlite_url)
    monkeypatch.setattr(names, "read_boot_id", lambda: "another boot")
    broker = open_broker(sqlite_url, HistoryLimits())
    opened(broker)
    assert broker.history.get_newest_cursor().epoch != before
    assert broker.history.get_newest_cursor().epoch == epoch(path)


def test_a_crash_of_processes_alone_does_not_begin_an_epoch(sqlite, sqlite_url):
    before = killed_while_appending(sqlite_url)
    assert sqlite().history.get_newest_cursor().epoch == before


# -- bounds ------------------------------------------------------------------


def test_floors_of_channels_that_are_no_more_are_bounded(sqlite, path, monkeypatch):
    monkeypatch.setattr(trimming, "FLOORS", 100)
    monkeypatch.setattr(trimming, "FLOORS_SECONDS", 0.0)
    monkeypatch.setattr(trimming, "TRIM_SECONDS", 0.0)
    monkeypatch.setattr(constants, "LIVE_SECONDS", 0.0)
    monkeypatch.setattr(constants, "LIVE_EVENTS", 0)
    broker = sqlite(seconds=0.0)
    for number in range(400):
        broker.history.append_event("once:%d" % number, b"x")
    with other_writer(path) as other:
        assert other.execute("SELECT count(*) FROM channels").fetchone()[0] <= 102
    missing = broker.history.read_events(["once:1", "once:399", "never"], 0, ALL, 10).missing
    assert "once:1" in missing and "never" in missing  # a gap is never hidden
    assert (
        broker.history.read_events(["once:1", "never"], broker.history.get_newest_cursor().sequence, ALL, 10).missing
        == []
    )
    broker.history.append_event("once:1", b"again")
    assert broker.history.read_events(["once:1"], 0, ALL, 10).missing == ["once:1"]


def test_trimming_by_age_keeps_up_with_any_rate(sqlite, monkeypatch):
    broker = sqlite(seconds=5.0)
    now = time.time()
    for number in range(3000):
        monkeypatch.setattr(time, "time", lambda number=number: now + number / 100)  # 100 events a second
        broker.history.append_event("a", b"x")
    assert broker.get_figures()["events"] < 5 * 100 + trimming.TRIM_APPENDS + 2


def killed_while_appending(url):
    """No process is left that closes the log; return the epoch that the writer saw."""
    writer = process(
        "import sys, itertools; from flask_ssemux.brokers import open_broker\n"
        "broker = open_broker(sys.argv[1])\n"
        "for _ in itertools.count(): print(broker.history.append_event('a', b'x').epoch, flush=True)",
        url,
    )
    seen = [writer.stdout.readline() for _ in range(20)]
    writer.kill()
    writer.communicate(timeout=30)
    return seen[-1].strip()


class other_writer:
    """Another program's connection to the file."""

    def __init__(self, path):
        self.connection = sqlite3.connect(path, isolation_level=None)

    def __enter__(self):
        return self.connection

    def __exit__(self, *_):
        self.connection.close()


def epoch(path):
    with other_writer(path) as other:
        return other.execute("SELECT epoch FROM life").fetchone()[0]
