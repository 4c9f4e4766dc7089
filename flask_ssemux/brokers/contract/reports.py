"""The contract's fourth part: what processes write about themselves for others to read. No events, no leases.

A worker writes a report for the status page; a process registers its application, so that two applications that share
a store by mistake are found.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import Any, Iterable, NamedTuple

from ..names import is_dead_process
from .any_thread import AnyThread


class WorkerReport(NamedTuple):
    """The figures that a worker wrote.

    :param process_name: its broker's ``process_name``.
    :param age: seconds since it was written.
    :param figures: anything that JSON can express.
    """

    process_name: str
    age: float
    figures: dict[str, Any]


class RegisteredApplication(NamedTuple):
    """A process that uses the store without a namespace, for one application.

    :param process_name: its broker's ``process_name``.
    :param name: the application's.
    :param key: a fingerprint of its SECRET_KEY; "" if it has none.
    :param script_name: where the application is mounted; "" if that does not matter.
    """

    process_name: str
    name: str
    key: str
    script_name: str

    def is_rival(self, name: str, script_name: str) -> bool:
        """Return whether this is certainly another application than the one of this name that is mounted there."""
        is_elsewhere = bool(script_name and self.script_name and script_name != self.script_name)
        return is_elsewhere or not is_same_name(self.name, name)


class Reports(AnyThread):
    """Reports of workers, and registered applications.

    Every method may be called from any thread or greenlet of the process, and blocks its caller for ``WAIT_SECONDS`` at
    most. After ``Broker.close`` the methods that raise ``BrokerUnavailable`` raise ``BrokerClosed``; ``write_report``
    does nothing.
    """

    @abstractmethod
    def write_report(self, figures: dict[str, Any]) -> None:
        """Write this process's report replacing its last one; called every ``REPORT_INTERVAL``.

        The report is removed when the broker is closed; other processes ignore it when its process has died, or after
        ``REPORT_SECONDS``. Never raises: the next report replaces one that could not be written.
        """

    @abstractmethod
    def read_reports(self) -> list[WorkerReport]:
        """Return the last report of each living process, in the order of their names.

        :raises BrokerUnavailable: the store did not answer.
        """

    @abstractmethod
    def register_application(self, name: str, key: str, script_name: str = "") -> list[RegisteredApplication]:
        """Register this process as one of an application that uses the store, unless a rival is registered.

        The registration counts for ``REGISTRATION_SECONDS``, until the broker is closed, or until the process is dead.
        The parameters are those of ``RegisteredApplication``.

        :return: all other processes that are registered.
        :raises BrokerUnavailable: the store did not answer.
        """


def is_same_name(first: str, second: str) -> bool:
    """Return whether two names are of one application, which may be imported as ``shop`` and as ``services.shop``."""
    return first == second or first.endswith("." + second) or second.endswith("." + first)


def parse_reports(rows: Iterable[tuple[str, float, str]]) -> list[WorkerReport]:
    """Return the reports of all processes that are not known to be dead.

    :param rows: as engines store them: process name, age, JSON.
    """
    found = (
        WorkerReport(name, max(0.0, age), json.loads(text)) for name, age, text in rows if not is_dead_process(name)
    )
    return sorted(found, key=lambda report: report.process_name)
