"""The tables of the SQLite broker, and how a file of an older version gets what it lacks.

    events    sequence, channel, at (Unix time), body, latest   the history, in its order; latest is the key of an
                                                            event that the next with it replaces
    channels  name, kept, floor                             events kept, newest one trimmed
    life      epoch, boot, forgotten, seconds, events, size one row: see below
    holds     key, holder, places, until                    places taken, by process
    elders    key, holder, since (Unix time)                the oldest of a process's places, where it shows it
    reports   holder, at (Unix time), figures               what processes say of themselves, in JSON
    presence  channel, user ("" is nobody), holder, streams who is there, by process
    present   holder, until                                 how long what a process said of that counts
    claims    key, until (Unix time)                        what may be used once, and was
    applications  holder, name, key, script_name, at        who uses the store without a namespace, by process

``life.forgotten`` is the floor of every channel that has no row of its own any
more. ``seconds``, ``events`` and ``size`` are how much is kept, as the application said last:
a publisher beside it keeps to that. The newest event is never trimmed, so that
``max(sequence)`` is the head.

WAL mode with ``synchronous=NORMAL``: what is appended survives the crash of any
process. A power failure may take the last events; that is seen at the next start
(another boot, and a log that nobody closed) and begins a new epoch, so that no
client takes a number that was given twice for one that it has seen.

Only statements that make tables.
"""

from __future__ import annotations

import sqlite3

from .. import base
from ..base import History

_APPLICATION_ID = 0x53534D58  # "SSMX": this file is ours
_VERSION = 1

_SCHEMA = """
CREATE TABLE events (sequence INTEGER PRIMARY KEY, channel TEXT NOT NULL, at REAL NOT NULL, body BLOB NOT NULL);
CREATE INDEX events_of_channel ON events (channel, sequence);
CREATE TABLE channels (name TEXT PRIMARY KEY, kept INTEGER NOT NULL, floor INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE life (epoch TEXT NOT NULL, boot TEXT NOT NULL, forgotten INTEGER NOT NULL,
                   seconds REAL NOT NULL, events INTEGER NOT NULL);
CREATE TABLE holds (key TEXT NOT NULL, holder TEXT NOT NULL, places INTEGER NOT NULL, until REAL NOT NULL,
                    PRIMARY KEY (key, holder)) WITHOUT ROWID;
"""

#: Came later: files of before them get them when they are opened.
_LATER = """
CREATE TABLE IF NOT EXISTS reports (holder TEXT PRIMARY KEY, at REAL NOT NULL, figures TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS elders (key TEXT NOT NULL, holder TEXT NOT NULL, since REAL NOT NULL,
                                   PRIMARY KEY (key, holder)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
-- Each claim forgets those that ran out: without this it looks at all of them (10,000: 1.6 ms, with the file locked).
CREATE INDEX IF NOT EXISTS claims_until ON claims (until);
CREATE TABLE IF NOT EXISTS presence (channel TEXT NOT NULL, user TEXT NOT NULL, holder TEXT NOT NULL,
                                     streams INTEGER NOT NULL, PRIMARY KEY (channel, user, holder)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS presence_of_holder ON presence (holder);
CREATE TABLE IF NOT EXISTS present (holder TEXT PRIMARY KEY, until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS applications (holder TEXT PRIMARY KEY, name TEXT NOT NULL, key TEXT NOT NULL,
                                         script_name TEXT NOT NULL, at REAL NOT NULL);
"""

_LATEST = """
ALTER TABLE events ADD COLUMN latest TEXT;
CREATE INDEX latest_of_channel ON events (channel, latest) WHERE latest IS NOT NULL;
"""

_SIZE = (
    """
ALTER TABLE life ADD COLUMN size INTEGER NOT NULL DEFAULT %d;
"""
    % History().size
)


def prepare_tables(connection: sqlite3.Connection, history: History, boot: str) -> None:
    """Make the tables that are not there yet, in the transaction that is open.

    :raises sqlite3.DatabaseError: the file belongs to another program.
    """
    _make_or_check(connection, history, boot)
    _add_missing(connection)


def _add_missing(connection: sqlite3.Connection) -> None:
    missing = "" if _has_column(connection, "events", "latest") else _LATEST
    missing += "" if _has_column(connection, "life", "size") else _SIZE
    for statement in (_LATER + missing).split(";")[:-1]:
        connection.execute(statement)


def _has_column(connection: sqlite3.Connection, table: str, column: str) -> bool:
    return column in [name for _, name, *_ in connection.execute("PRAGMA table_info(%s)" % table)]


def _make_or_check(connection: sqlite3.Connection, history: History, boot: str) -> None:
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if (owner, version) == (_APPLICATION_ID, _VERSION):
        return
    if owner or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise sqlite3.DatabaseError(
            "is a database of something else, or of another version of flask_ssemux; "
            "give the broker a file of its own in SSEMUX_BROKER"
        )
    for statement in _SCHEMA.split(";")[:-1]:
        connection.execute(statement)
    connection.execute("INSERT INTO life VALUES (?, ?, 0, ?, ?)", (base.new_epoch(), boot) + history[:2])
    connection.execute("PRAGMA application_id = %d" % _APPLICATION_ID)
    connection.execute("PRAGMA user_version = %d" % _VERSION)
