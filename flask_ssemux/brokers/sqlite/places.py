"""Places that processes hold, and keys that are claimed once. No events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .. import base

if TYPE_CHECKING:
    from .file import File


class Places:
    """Who holds how many places, and until when. Used with the broker's lock held."""

    def __init__(self, file: File) -> None:
        self._file = file

    def hold(self, key: str, holder: str, limit: int) -> bool:
        write = self._file.write
        if self._places(key) >= limit:
            self._bury(key)
            if self._places(key) >= limit:
                return False
        write(
            "INSERT INTO holds VALUES (?, ?, 1, ?) ON CONFLICT (key, holder) DO UPDATE SET places = places + 1",
            (key, holder, time.time() + base.HOLD_SECONDS),
        )
        return True

    def set_places(self, key: str, holder: str, places: int) -> None:
        write = self._file.write
        if places:
            write("UPDATE holds SET places = ? WHERE key = ? AND holder = ?", (places, key, holder))
        else:
            write("DELETE FROM holds WHERE key = ? AND holder = ?", (key, holder))

    def release_all(self, holder: str) -> None:
        self._file.write("DELETE FROM holds WHERE holder = ?", (holder,))
        self._file.write("DELETE FROM elders WHERE holder = ?", (holder,))

    def renew(self, holder: str, held: dict[str, int]) -> None:
        now = time.time()
        self._file.write("DELETE FROM holds WHERE holder = ? OR until < ?", (holder, now))
        self._file.write_many(
            "INSERT INTO holds VALUES (?, ?, ?, ?)",
            [(key, holder, places, now + base.HOLD_SECONDS) for key, places in held.items()],
        )
        # Rows that were written while the clock was ahead would outlive whom they are about.
        self._file.write("UPDATE holds SET until = ? WHERE until > ?", (now + base.HOLD_SECONDS,) * 2)
        self._file.write("DELETE FROM elders WHERE (key, holder) NOT IN (SELECT key, holder FROM holds)")
        self._file.write("UPDATE elders SET since = ? WHERE since > ?", (now, now))

    def show_oldest(self, key: str, holder: str, since: float | None) -> None:
        if since is None:
            self._file.write("DELETE FROM elders WHERE key = ? AND holder = ?", (key, holder))
        else:
            self._file.write("INSERT OR REPLACE INTO elders VALUES (?, ?, ?)", (key, holder, since))

    def oldest_first(self, key: str) -> list[str]:
        rows = self._file.read(
            "SELECT holder FROM holds LEFT JOIN elders USING (key, holder) WHERE key = ? AND until >= ? "
            "ORDER BY coalesce(since, 0)",
            (key, time.time()),
        )
        return [holder for (holder,) in rows]

    def _places(self, key: str) -> int:
        (places,) = self._file.write(
            "SELECT coalesce(sum(places), 0) FROM holds WHERE key = ? AND until >= ?", (key, time.time())
        ).fetchone()
        return int(places)

    def _bury(self, key: str) -> None:
        holders = self._file.write("SELECT DISTINCT holder FROM holds WHERE key = ?", (key,)).fetchall()
        for (holder,) in holders:
            if base.is_dead(holder):
                self.release_all(holder)

    def claim(self, key: str, seconds: float) -> bool:
        now = time.time()
        self._file.write("DELETE FROM claims WHERE until <= ?", (now,))
        row = (key, now + seconds)
        return self._file.write("INSERT OR IGNORE INTO claims VALUES (?, ?)", row).rowcount == 1
