"""The reports of the Redis broker, and registered applications."""

from __future__ import annotations

import json
import logging
from typing import Any

from ...errors import BrokerClosed, BrokerUnavailable
from ..contract import constants
from ..contract.reports import RegisteredApplication, Reports, WorkerReport, parse_reports
from ..names import is_dead_process
from . import scripts
from .store import RedisStore

log = logging.getLogger("flask_ssemux")

_REPORT_SECONDS = int(constants.REPORT_SECONDS)
_REGISTRATION_SECONDS = int(constants.REGISTRATION_SECONDS)


class RedisReports(Reports):
    def __init__(self, store: RedisStore, process_name: str) -> None:
        self._store = store
        self._process_name = process_name
        self._has_report = self._is_registered = False

    def write_report(self, figures: dict[str, Any]) -> None:
        self._has_report = True
        self._write_text(json.dumps(figures))

    def _write_text(self, text: str) -> None:
        try:
            self._store.call(scripts.WRITE_REPORT, self._process_name, _REPORT_SECONDS, text)
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("the report was not written: %s", error)

    def read_reports(self) -> list[WorkerReport]:
        rows = iter(self._store.read(scripts.READ_REPORTS, _REPORT_SECONDS)[2])
        return parse_reports((name.decode("utf-8"), float(age), text) for name, age, text in zip(rows, rows, rows))

    # -- registered applications -------------------------------------------

    def register_application(self, name: str, key: str, script_name: str = "") -> list[RegisteredApplication]:
        self._is_registered = True
        others = self._register(name, key, script_name)
        dead = [other.process_name for other in others if is_dead_process(other.process_name)]
        return self._register(name, key, script_name, *dead) if dead else others

    def _register(self, name: str, key: str, script_name: str, *dead: str) -> list[RegisteredApplication]:
        values = (self._process_name, _REGISTRATION_SECONDS, key, script_name, name, *dead)
        answer = self._store.call(scripts.REGISTER_APPLICATION, *values)
        rows = iter([value.decode("utf-8") for value in answer[2]])
        return [_parse_application(process_name, row) for process_name, row in zip(rows, rows)]

    # ----------------------------------------------------------------------

    def remove_all(self) -> None:
        """Remove this process's report and registration. Never raises: what cannot be removed now, expires."""
        if self._has_report:
            self._write_text("")
        if self._is_registered:
            try:
                self._register("", "", "")
            except (BrokerUnavailable, BrokerClosed) as error:
                log.debug("the registered application was not removed: %s", error)


def _parse_application(process_name: str, row: str) -> RegisteredApplication:
    key, script_name, name = row.split("\n", 2)
    return RegisteredApplication(process_name, name, key, script_name)
