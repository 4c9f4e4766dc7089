"""The reports of the SQLite broker, and registered applications: the tables ``reports`` and ``applications``."""

from __future__ import annotations

import json
import time
from typing import Any

from ..contract import constants
from ..contract.reports import RegisteredApplication, Reports, WorkerReport, parse_reports
from ..names import is_dead_process
from .database import Database
from .floors import CLOCK_BACK
from .store import SQLiteStore


class SQLiteReports(Reports):
    def __init__(self, store: SQLiteStore, process_name: str) -> None:
        self._store = store
        self._process_name = process_name

    def write_report(self, figures: dict[str, Any]) -> None:
        text = json.dumps(figures)
        self._store.change_quietly(lambda file: _write_report(file, self._process_name, text))

    def read_reports(self) -> list[WorkerReport]:
        now = time.time()
        with self._store.opened() as file:
            rows = file.read(
                "SELECT holder, ? - at, figures FROM reports WHERE at >= ?", (now, now - constants.REPORT_SECONDS)
            ).fetchall()
        return parse_reports(rows)

    def register_application(self, name: str, key: str, script_name: str = "") -> list[RegisteredApplication]:
        application = RegisteredApplication(self._process_name, name, key, script_name)
        with self._store.opened() as file:
            return file.change(lambda: _register(file, application))


def remove_reports(database: Database, process_name: str) -> None:
    """Delete a process's report and its registration."""
    database.write("DELETE FROM applications WHERE holder = ?", (process_name,))
    database.write("DELETE FROM reports WHERE holder = ?", (process_name,))


def _write_report(database: Database, process_name: str, text: str) -> None:
    now = time.time()
    # A time in the future is of a clock that was ahead: a process that lives reports again.
    expired = now - constants.REPORT_SECONDS, now + CLOCK_BACK
    database.write("DELETE FROM reports WHERE at < ? OR at > ?", expired)
    database.write("INSERT OR REPLACE INTO reports VALUES (?, ?, ?)", (process_name, now, text))


def _register(database: Database, own: RegisteredApplication) -> list[RegisteredApplication]:
    """Register a process, unless a rival is registered; return all others."""
    now = time.time()
    others = _find_others(database, own.process_name, now)
    database.write("DELETE FROM applications WHERE holder = ?", (own.process_name,))
    if not any(other.is_rival(own.name, own.script_name) for other in others):
        database.write("INSERT INTO applications VALUES (?, ?, ?, ?, ?)", (*own, now))
    return others


def _find_others(database: Database, process_name: str, now: float) -> list[RegisteredApplication]:
    valid = now - constants.REGISTRATION_SECONDS, now + constants.REGISTRATION_SECONDS
    rows = database.write(
        "SELECT holder, name, key, script_name FROM applications WHERE holder <> ? AND at BETWEEN ? AND ?",
        (process_name, *valid),
    ).fetchall()
    database.write("DELETE FROM applications WHERE at NOT BETWEEN ? AND ?", valid)
    return [RegisteredApplication(*row) for row in rows if not is_dead_process(row[0])]
