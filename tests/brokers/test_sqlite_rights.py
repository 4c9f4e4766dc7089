"""SQLite files that a user may not use, or that are no store: errors name the file, its owner, the user and the mend.

The user is a real one (``other_user``): root may use every file.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess

import pytest

from tests.brokers.other_user import NOBODY, folder, run_as, run_steps  # noqa: F401  (a fixture)

ME = "nobody, the user of this process"


@pytest.fixture
def make(folder):  # noqa: F811
    """make(name, mode, owner): a folder inside a folder that everybody may enter."""

    def made(name, mode=0o755, owner=0):
        path = os.path.join(folder, name)
        os.makedirs(path)
        os.chown(path, owner, owner)
        os.chmod(path, mode)
        return path

    return made


def fill(path, text="", owner=0, mode=0o600):
    with open(path, "w") as file:
        file.write(text)
    os.chown(path, owner, owner)
    os.chmod(path, mode)
    return path


def test_what_the_error_says(make, folder):  # noqa: F811
    """Each line: the file, and what its error says after its name."""
    of_root, own, closed = make("of-root"), make("own", 0o755, NOBODY), make("closed", 0o700)
    os.makedirs(closed + "/in")
    fill(own + "/root.db")
    fill(own + "/garbage.db", "hello" * 1000, NOBODY)
    fill(own + "/locked.db", "", NOBODY, 0o400)
    os.makedirs(own + "/folder.db")
    fill(folder + "/text")
    for suffix in ("-wal", "-shm"):
        fill(own + "/logs.db" + suffix)
    fill(own + "/reserve.db-reserve")
    os.symlink("/nowhere/else.db", own + "/link.db")
    foreign = sqlite3.connect(own + "/foreign.db")
    foreign.execute("CREATE TABLE users (name TEXT)")
    foreign.close()
    os.chown(own + "/foreign.db", NOBODY, NOBODY)
    cases = {
        of_root + "/x.db": f"{ME}, may not make files in the folder {of_root} (owner root, mode 755); "
        f"as root: chown nobody: {of_root}",
        own + "/root.db": f"{ME}, may not read and write {own}/root.db (owner root, mode 600); "
        f"as root: chown nobody: {own}/root.db",
        closed + "/x.db": f"{ME}, may not enter the folder {closed} (owner root, mode 700); "
        f"as root: chmod a+x {closed}",
        closed + "/in/x.db": f"{ME}, may not enter the folder {closed} (owner root, mode 700)",
        folder + "/no/such/x.db": f"{ME}, may not make the folder {folder}/no/such in {folder} (owner root, mode 755); "
        f"as root: install -d -o nobody {folder}/no/such",
        folder + "/text/x.db": f"{folder}/text (owner root, mode 600) is not a folder (seen by {ME}); name another "
        f"file, or move it away: mv {folder}/text {folder}/text.old",
        own + "/folder.db": f"{own}/folder.db (owner root, mode 755) is a folder (seen by {ME}); name a file in it: "
        f"SSEMUX_BROKER=sqlite:///{own}/folder.db/ssemux.sqlite3",
        own + "/garbage.db": f"file is not a database: {own}/garbage.db (owner nobody, mode 600), of 5000 bytes, "
        f"is not an SQLite database (seen by {ME}); name another file, or move it away: mv {own}/garbage.db "
        f"{own}/garbage.db.old",
        own + "/locked.db": f"{ME}, may not read and write {own}/locked.db (owner nobody, mode 400); chmod u+rwX {own}",
        own + "/logs.db": f"{ME}, may not read and write {own}/logs.db-wal (owner root, mode 600); "
        f"as root: chown nobody: {own}/logs.db-wal {own}/logs.db-shm",
        own + "/reserve.db": f"{ME}, may not read and write {own}/reserve.db-reserve (owner root, mode 600); "
        f"as root: chown nobody: {own}/reserve.db-reserve",
        own + "/link.db": f"{ME}, may not make the folder /nowhere in / (owner root, mode ",
        own + "/foreign.db": f"is a database of something else, or of another version of flask_ssemux; give the broker "
        f"a file of its own in SSEMUX_BROKER: {ME}, uses {own}/foreign.db (owner nobody, mode 644)",
        "/var/x.db": "as root: install -d -o nobody /var/ssemux, and SSEMUX_BROKER=sqlite:////var/ssemux/ssemux.sqlite3",
    }  # fmt: skip
    said = run_as(NOBODY, "append", *cases)
    for (path, expected), error in zip(cases.items(), said):
        assert error.startswith("BrokerUnavailable: the SQLite store %s: " % path)
        assert expected in error
    assert not os.path.exists("/var/x.db")


@pytest.fixture
def disk(make):
    """disk(name, size): a small file system that everybody may write to."""
    mounted = []

    def mount(name, size):
        path = make(name)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%s" % size, "tmpfs", path], capture_output=True)
        if done.returncode:
            text = "no file system can be mounted here"
            pytest.fail(text) if os.environ.get("CI") == "true" else pytest.skip(text)
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "-l", path], check=True)


def test_a_full_disk_and_one_that_is_read_only(disk):
    full, fixed = disk("full", "1m"), disk("fixed", "16m")
    with pytest.raises(OSError, match="No space"), open(full + "/fill", "wb", 0) as file:
        while True:
            file.write(bytes(4096))
    (accepted,), (of_full,) = run_steps((NOBODY, "append", fixed + "/x.db"), (NOBODY, "append", full + "/x.db"))
    assert accepted.endswith("-1")
    subprocess.run(["mount", "-o", "remount,ro", fixed], check=True)
    assert "the file system %s is full: " % full in of_full
    assert "KB of 1 MB are free for nobody, in %s (owner root, mode 1777); make room; this lists" % full in of_full
    files = [fixed + "/x.db", fixed + "/new.db", fixed + "/sub/new.db"]
    steps = [(NOBODY, "append", *files), (0, "append", *files), (NOBODY, "look", fixed + "/x.db")]
    *refused, (figures,) = run_steps(*steps)
    assert figures["events"] == 1
    for name, errors in zip(("nobody", "root"), refused):
        for error in errors:
            assert "%s, the user of this process, cannot write to %s" % (name, fixed) in error
            assert "the file system %s is mounted read-only; put the file elsewhere" % fixed in error


def test_what_root_makes_belongs_to_the_owner_of_the_folder(make):
    """As after ``docker exec … flask ssemux publish``: the server, which is another user, goes on."""
    own = make("own", 0o755, NOBODY)
    files = [own + "/x.db", own + "/new/folder/x.db"]
    first, *later = run_steps((0, "append", *files), (NOBODY, "append", *files), (0, "append", *files))
    assert [cursor.partition("-")[2] for cursor in first] == ["1", "1"]
    assert "BrokerUnavailable" not in str(later)
    for parent, _, names in os.walk(own):
        assert {os.stat(os.path.join(parent, name)).st_uid for name in (".", *names)} == {NOBODY}


def test_a_look_makes_and_changes_no_file(make):
    own = make("own", 0o755, NOBODY)
    run_as(NOBODY, "append", own + "/x.db", own + "/x.db")
    os.remove(own + "/x.db-reserve")
    before = {name: os.stat(os.path.join(own, name)) for name in os.listdir(own)}
    figures, nothing = run_as(0, "look", own + "/x.db", own + "/y.db")
    assert figures["events"] == 2
    assert nothing == (
        "BrokerUnavailable: the SQLite store %s/y.db: there is no store yet: the first stream or event makes it" % own
    )
    after = {name: os.stat(os.path.join(own, name)) for name in os.listdir(own)}
    assert {name: (it.st_mtime_ns, it.st_uid) for name, it in after.items()} == {
        name: (it.st_mtime_ns, it.st_uid) for name, it in before.items()
    }
    os.chown(own + "/x.db", 0, NOBODY)
    os.chmod(own + "/x.db", 0o640)
    assert run_as(NOBODY, "look", own + "/x.db")[0]["events"] == 2  # who may only read can look


def test_what_the_doctor_says(make, folder):  # noqa: F811
    """It never says "ok" of a file that this user cannot use, or of a folder where no file can be made."""
    of_root, own = make("of-root"), make("own", 0o755, NOBODY)
    fill(own + "/root.db")
    fill(own + "/garbage.db", "hello" * 1000, NOBODY)
    fill(folder + "/text")
    bad = [of_root + "/x.db", own + "/root.db", folder + "/no/x.db", folder + "/text/x.db", own + "/garbage.db"]
    found = run_as(NOBODY, "examine", *bad, own + "/x.db")
    assert [status for status, *_ in found] == ["fail"] * len(bad) + ["ok"]
    for path, (_, said, advice) in zip(bad, found):
        assert path in said and "nobody" in said
        assert "chown nobody: " in advice or "install -d -o nobody" in advice or "mv " in said + advice
    assert found[-1][1] == "%s/x.db is created by the first stream or event" % own
    assert os.listdir(of_root) == []
    assert sorted(os.listdir(own)) == ["garbage.db", "root.db"]
    ((as_root, for_folder),) = run_steps((0, "examine", of_root + "/x.db", own + "/x.db"))
    assert as_root[0] == "ok" and "If the application runs as another user" in as_root[2]
    assert for_folder == ["ok", "%s/x.db is created by the first stream or event" % own]
    os.chmod(own, 0o555)
    (closed,) = run_as(0, "examine", own + "/x.db")
    assert closed[0] == "fail" and "nobody, the user of the application, may not make files in" in closed[1]
