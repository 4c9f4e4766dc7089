"""The reports of the PostgreSQL broker, and registered applications: see ``sql/reports.sql``."""

from __future__ import annotations

import json
import logging
from typing import Any

from ...errors import BrokerClosed, BrokerUnavailable
from ..contract import constants
from ..contract.reports import RegisteredApplication, Reports, WorkerReport, parse_reports
from ..names import is_dead_process
from .store import PostgresStore
from .values import pack_texts

log = logging.getLogger("flask_ssemux")


class PostgresReports(Reports):
    def __init__(self, store: PostgresStore, process_name: str) -> None:
        self._store = store
        self._process_name = process_name
        self._is_known = False

    def write_report(self, figures: dict[str, Any]) -> None:
        self._is_known = True
        values = self._process_name, json.dumps(figures), constants.REPORT_SECONDS
        try:
            self._store.call("write_report", *values, may_repeat=True)
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("the report was not written: %s", error)

    def read_reports(self) -> list[WorkerReport]:
        return parse_reports(self._store.read("read_reports", constants.REPORT_SECONDS))  # type: ignore[arg-type]

    # -- registered applications -------------------------------------------

    def register_application(self, name: str, key: str, script_name: str = "") -> list[RegisteredApplication]:
        self._is_known = True
        others = self._register(name, key, script_name, [])
        dead = [other.process_name for other in others if is_dead_process(other.process_name)]
        return self._register(name, key, script_name, dead) if dead else others

    def _register(self, name: str, key: str, script_name: str, dead: list[str]) -> list[RegisteredApplication]:
        values = self._process_name, name, key, script_name, constants.REGISTRATION_SECONDS, pack_texts(dead)
        rows = self._store.call("register_application", *values, may_repeat=True)
        return [RegisteredApplication(*row) for row in rows]

    def remove_all(self) -> None:
        """Remove this process's report and registration. Never raises: what cannot be removed now, expires."""
        if self._is_known:
            try:
                self._store.call("remove_reports", self._process_name, may_repeat=True)
            except (BrokerUnavailable, BrokerClosed) as error:
                log.debug("the report was not removed: %s", error)
