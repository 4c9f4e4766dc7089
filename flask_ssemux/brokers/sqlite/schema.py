"""The tables of the SQLite broker, and how a file of an older version gets the tables and columns that it lacks.

    events    sequence, channel, at (Unix time), body,      the history, in its order; latest is the key of a latest
              latest, total                                 event; total: see below
    channels  name, kept, floor                             floor: the channel's newest event that is over a limit of
                                                            events, or was deleted; kept: how many events come after it
    life      epoch, boot, forgotten, gone, leap, floor,    one row: see below
              recount, seconds, events, size
    voids     low, high                                     sequences that are not given: see ``leap.py``
    clocks    upto, at                                      events up to this sequence are not younger than this time
    holds     key, holder, places, until                    leases: the slots that a process took
    shares    holder, size, until                       user slots of every key that a process may take without a row
                                                            in ``holds``; the key's row replaces its share
    elders    key, holder, since (Unix time)                since when a process has had its oldest slot, if it
                                                            announced it
    reports   holder, at (Unix time), figures               reports of workers, in JSON
    presence  channel, user ("" is anonymous), holder,      the streams that a process announced
              streams
    present   holder, until                                 until when what a process announced counts
    roster    channel, user, grace (seconds), due (Unix     who is on the roster of a channel; due: when somebody who
              time), change, owner                          is away leaves it; owner: the process that announces change
    claims    key, until (Unix time)                        one-time keys that were used
    applications  holder, name, key, script_name, at        registered applications
    work      name, fence, holder ("": nobody), until       leases of work, by their newest fence
    wants     name, holder, until                           which work a process wants to be done
    runs      id, state, details, begin (a cursor),         records of runs; until: how long they are kept
              is_cancelled, until
    fences    id (0), last                                  one row: the last fence that was given

A holder is a process, by its broker's ``process_name``.

An event is in the history as long as its sequence is greater than three floors: its channel's; ``life.floor``, which
follows from the bytes of all events; and the one that follows from their age, which is searched for. The newest event's
``total`` is the sum of the bodies above the first two; it is stored there because that page is written anyway. The
table keeps events a little longer, for workers that have not delivered them yet; ``life.gone`` is the newest event that
was deleted. The extension's own channels have limits of their own.

``life.forgotten`` is the floor of every channel that has no row. ``seconds``, ``events`` and ``size`` are the limits
that the application wrote last: a publisher keeps to them. The newest event is never deleted, so that ``max(sequence)``
is the newest sequence. ``leap`` is the sequence that the next event gets, if it is set.

Processes of an older version may have the file open at the same time: the tables that they know keep their columns.
The bytes of events that they delete are still counted, so all bytes are counted again at the first starts
(``life.recount`` is how many such starts are left).

WAL mode with ``synchronous=NORMAL``: an event that was appended survives the crash of any process. A power failure may
take the last events. The next start detects that (the machine was restarted, and no process closed the log) and begins
a new epoch, so that no client takes a sequence that was given twice for an event that it has seen.

Only statements that make tables.
"""

from __future__ import annotations

import re
import sqlite3

from ...sse.encode import OWN_PREFIX
from .. import names
from ..records import HistoryLimits

_APPLICATION_ID = 0x53534D58  # "SSMX": this file is ours
_VERSION = 1

#: The number of the newest event.
NEWEST = "SELECT max(sequence) FROM events"

_SCHEMA = """
CREATE TABLE events (sequence INTEGER PRIMARY KEY, channel TEXT NOT NULL, at REAL NOT NULL, body BLOB NOT NULL);
CREATE INDEX events_of_channel ON events (channel, sequence);
CREATE TABLE channels (name TEXT PRIMARY KEY, kept INTEGER NOT NULL, floor INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE life (epoch TEXT NOT NULL, boot TEXT NOT NULL, forgotten INTEGER NOT NULL,
                   seconds REAL NOT NULL, events INTEGER NOT NULL);
CREATE TABLE holds (key TEXT NOT NULL, holder TEXT NOT NULL, places INTEGER NOT NULL, until REAL NOT NULL,
                    PRIMARY KEY (key, holder)) WITHOUT ROWID;
"""

#: Tables that came later: an older file gets them when it is opened.
_LATER = """
CREATE TABLE IF NOT EXISTS reports (holder TEXT PRIMARY KEY, at REAL NOT NULL, figures TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS shares (holder TEXT PRIMARY KEY, size INTEGER NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS elders (key TEXT NOT NULL, holder TEXT NOT NULL, since REAL NOT NULL,
                                   PRIMARY KEY (key, holder)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
-- Each use of a key deletes expired ones: without this index it reads all keys (10,000: 1.6 ms, with the file locked).
CREATE INDEX IF NOT EXISTS claims_until ON claims (until);
CREATE TABLE IF NOT EXISTS presence (channel TEXT NOT NULL, user TEXT NOT NULL, holder TEXT NOT NULL,
                                     streams INTEGER NOT NULL, PRIMARY KEY (channel, user, holder)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS presence_of_holder ON presence (holder);
CREATE TABLE IF NOT EXISTS present (holder TEXT PRIMARY KEY, until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS roster (channel TEXT NOT NULL, user TEXT NOT NULL, grace REAL NOT NULL, due REAL,
                                   change TEXT NOT NULL, owner TEXT NOT NULL,
                                   PRIMARY KEY (channel, user)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS roster_due ON roster (due) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS roster_changes ON roster (owner) WHERE change <> '';
CREATE TABLE IF NOT EXISTS applications (holder TEXT PRIMARY KEY, name TEXT NOT NULL, key TEXT NOT NULL,
                                         script_name TEXT NOT NULL, at REAL NOT NULL);
-- Channels without events, which are deleted if there are too many: without this index all channels are read.
CREATE INDEX IF NOT EXISTS channels_without_events ON channels (floor) WHERE kept = 0;
CREATE TABLE IF NOT EXISTS voids (low INTEGER PRIMARY KEY, high INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS clocks (upto INTEGER PRIMARY KEY, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS work (name TEXT PRIMARY KEY, fence INTEGER NOT NULL, holder TEXT NOT NULL,
                                 until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS work_until ON work (until);
CREATE TABLE IF NOT EXISTS wants (name TEXT NOT NULL, holder TEXT NOT NULL, until REAL NOT NULL,
                                  PRIMARY KEY (name, holder)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, state TEXT NOT NULL, details TEXT NOT NULL,
                                 begin TEXT NOT NULL, is_cancelled INTEGER NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS runs_until ON runs (until);
CREATE INDEX IF NOT EXISTS runs_running ON runs (id) WHERE state = 'running';
CREATE TABLE IF NOT EXISTS fences (id INTEGER PRIMARY KEY, last INTEGER NOT NULL);
"""

_LATEST = """
ALTER TABLE events ADD COLUMN latest TEXT;
CREATE INDEX latest_of_channel ON events (channel, latest) WHERE latest IS NOT NULL;
"""

#: The condition that an event is of one of the extension's own channels.
IS_OWN = "channel >= '%s' AND channel < '%s/'" % (OWN_PREFIX, OWN_PREFIX[:-1])

_LIMITS = (
    """
ALTER TABLE events ADD COLUMN total INTEGER;
ALTER TABLE life ADD COLUMN size INTEGER NOT NULL DEFAULT %d;
ALTER TABLE life ADD COLUMN recount INTEGER NOT NULL DEFAULT 1;
ALTER TABLE life ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;
ALTER TABLE life ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
ALTER TABLE life ADD COLUMN leap INTEGER;
-- A process of an older version deletes events below a floor, and must not lower the floor to them.
CREATE TRIGGER floor_lowered BEFORE UPDATE OF floor ON channels WHEN NEW.floor < OLD.floor
BEGIN SELECT raise(IGNORE)|
END;
"""
    % HistoryLimits().size
)


def prepare_tables(connection: sqlite3.Connection, limits: HistoryLimits, boot: str) -> bool:
    """Make the missing tables, in the transaction that is open; return whether there were none.

    :raises sqlite3.DatabaseError: the file belongs to another program.
    """
    is_new = _make_or_check(connection, limits, boot)
    _run_all(connection, _LATER)
    if not _has_column(connection, "events", "latest"):
        _run_all(connection, _LATEST)
    if not _has_column(connection, "life", "size"):
        _run_all(connection, _LIMITS)
        connection.execute("UPDATE life SET recount = ?", (0 if is_new else 2,))
    return is_new


def _run_all(connection: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";")[:-1]:
        connection.execute(statement.replace("|", ";"))


def _has_column(connection: sqlite3.Connection, table: str, column: str) -> bool:
    return column in [name for _, name, *_ in connection.execute("PRAGMA table_info(%s)" % table)]


def check_tables(connection: sqlite3.Connection) -> None:
    """Check that a database has all tables, for a connection that only reads.

    :raises sqlite3.DatabaseError: it has not.
    """
    later = re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", _LATER)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if not _is_store(connection) or not set(later) <= set(tables) or not _has_column(connection, "life", "size"):
        raise sqlite3.DatabaseError(
            "is not complete, or of an older version of flask_ssemux; the next stream or event completes it"
        )


def _is_store(connection: sqlite3.Connection) -> bool:
    """Return whether the database is a store; False if it is empty.

    :raises sqlite3.DatabaseError: it belongs to another program.
    """
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if (owner, version) == (_APPLICATION_ID, _VERSION):
        return True
    if owner or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise sqlite3.DatabaseError(
            "is a database of something else, or of another version of flask_ssemux; "
            "give the broker a file of its own in SSEMUX_BROKER"
        )
    return False


def _make_or_check(connection: sqlite3.Connection, limits: HistoryLimits, boot: str) -> bool:
    if _is_store(connection):
        return False
    _run_all(connection, _SCHEMA)
    connection.execute("INSERT INTO life VALUES (?, ?, 0, ?, ?)", (names.make_random_name(), boot) + limits[:2])
    connection.execute("PRAGMA application_id = %d" % _APPLICATION_ID)
    connection.execute("PRAGMA user_version = %d" % _VERSION)
    return True
