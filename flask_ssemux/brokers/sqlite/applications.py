"""The register of the applications that use a store without a namespace. No events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .. import base
from ..base import Application

if TYPE_CHECKING:
    from .file import File


class Applications:
    """Which processes registered for which application. Used with the broker's lock held."""

    def __init__(self, file: File) -> None:
        self._file = file

    def enroll(self, mine: Application) -> list[Application]:
        """Register a process, unless a rival's is registered; return all others."""
        now = time.time()
        others = self._find_others(mine.holder, now)
        self.forget(mine.holder)
        if not any(other.is_rival(mine.name, mine.script_name) for other in others):
            self._file.write("INSERT INTO applications VALUES (?, ?, ?, ?, ?)", (*mine, now))
        return others

    def forget(self, holder: str) -> None:
        self._file.write("DELETE FROM applications WHERE holder = ?", (holder,))

    def _find_others(self, holder: str, now: float) -> list[Application]:
        within = now - base.APPLICATION_LASTS, now + base.APPLICATION_LASTS
        rows = self._file.write(
            "SELECT holder, name, key, script_name FROM applications WHERE holder <> ? AND at BETWEEN ? AND ?",
            (holder, *within),
        ).fetchall()
        self._file.write("DELETE FROM applications WHERE at NOT BETWEEN ? AND ?", within)
        return [Application(*row) for row in rows if not base.is_dead(row[0])]
