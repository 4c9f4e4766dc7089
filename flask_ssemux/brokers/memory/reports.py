"""The reports of the memory broker: this worker's own. No other application shares the store."""

from __future__ import annotations

import json
import time
from typing import Any

from ..contract import constants
from ..contract.reports import RegisteredApplication, Reports, WorkerReport, parse_reports
from .store import MemoryStore


class MemoryReports(Reports):
    def __init__(self, store: MemoryStore, process_name: str) -> None:
        self._store = store
        self._process_name = process_name
        #: When this worker wrote its last report, and the report in JSON.
        self._written: tuple[float, str] | None = None

    def write_report(self, figures: dict[str, Any]) -> None:
        with self._store.changed:
            if not self._store.is_closed:
                self._written = time.monotonic(), json.dumps(figures)

    def read_reports(self) -> list[WorkerReport]:
        with self._store.changed:
            self._store.check_open()
            written_at, text = self._written or (0.0, "")
        age = time.monotonic() - written_at
        return parse_reports([(self._process_name, age, text)] if text and age <= constants.REPORT_SECONDS else [])

    def register_application(self, name: str, key: str, script_name: str = "") -> list[RegisteredApplication]:
        with self._store.changed:
            self._store.check_open()
        return []
