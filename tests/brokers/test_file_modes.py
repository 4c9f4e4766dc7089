"""Only the owner can read an SQLite store; and its group, if it was shared with the group."""

from __future__ import annotations

import os
import sqlite3
import stat

import pytest

from flask_ssemux.errors import BrokerUnavailable
from tests.brokers.test_sqlite import killed_while_appending


@pytest.fixture
def path(sqlite_url):
    return sqlite_url[len("sqlite:///") :]


@pytest.fixture(autouse=True)
def loose():
    before = os.umask(0o000)
    yield
    os.umask(before)


def modes(path):
    return {
        name[len(os.path.basename(path)) :]: stat.S_IMODE(os.stat(os.path.join(os.path.dirname(path), name)).st_mode)
        for name in os.listdir(os.path.dirname(path))
        if name.startswith(os.path.basename(path))
    }


def all_of(mode):
    return dict.fromkeys(("", "-wal", "-shm", "-reserve"), mode)


def test_a_new_file(sqlite, path):
    sqlite().history.append_event("a", b"x")
    assert modes(path) == all_of(0o600)


@pytest.mark.parametrize(
    "before, after", [(0o666, 0o600), (0o644, 0o600), (0o664, 0o600), (0o660, 0o660), (0o640, 0o640)]
)
def test_a_file_that_was_there_before(sqlite, path, before, after):
    os.close(os.open(path, os.O_CREAT, before))
    sqlite().history.append_event("a", b"x")
    assert modes(path) == all_of(after)


def test_a_file_that_is_shared_with_a_group_whatever_the_umask(sqlite, path):
    os.close(os.open(path, os.O_CREAT, 0o660))
    os.umask(0o077)
    sqlite().history.append_event("a", b"x")
    assert modes(path) == all_of(0o660)


def test_a_database_of_another_program_keeps_its_mode(sqlite, path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE users (name TEXT)")
    os.chmod(path, 0o664)
    with pytest.raises(BrokerUnavailable, match="is a database of something else"):
        sqlite().history.append_event("a", b"x")
    assert modes(path)[""] == 0o664


def test_a_log_that_was_left_by_a_crash(sqlite, sqlite_url, path):
    killed_while_appending(sqlite_url)
    for suffix in all_of(0):
        os.chmod(path + suffix, 0o666)
    sqlite().history.append_event("a", b"x")
    assert modes(path) == all_of(0o600)


def test_a_link_to_a_file_that_is_not_there_yet(sqlite, path, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target = str(tmp_path / "elsewhere" / "real.sqlite3")
    os.symlink(target, path)
    broker = sqlite()
    broker.history.append_event("a", b"x")
    assert modes(target) == all_of(0o600) and modes(path) == {"": 0o600}
    assert broker.get_figures()["bytes"] > os.path.getsize(target)  # with the log beside it


def test_a_file_of_another_user_that_everyone_reads_is_logged(sqlite, path, caplog, monkeypatch):
    os.close(os.open(path, os.O_CREAT, 0o666))

    def refused(*_):
        raise PermissionError("not yours")

    monkeypatch.setattr(os, "chmod", refused)  # the test may run as root, who may change any file
    sqlite().history.append_event("a", b"x")
    assert "has mode 666: every user of this machine can read its events" in caplog.text
    assert "chmod 600 " + path in caplog.text
