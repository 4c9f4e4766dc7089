"""Names processes, and tells whether a process still runs. This finds jobs whose worker died.

A process is named ``<pid>:<start>``, because the system reuses a pid alone. The names are valid on one machine only, as
is the SQLite database that stores them.
"""

from __future__ import annotations

import os


def get_process_name():
    """Return the name of the current process."""
    pid = os.getpid()
    return f"{pid}:{_read_start_time(pid)}"


def is_alive(process):
    """Tell whether the process with this name still runs."""
    pid, _, started = process.partition(":")
    return _exists(int(pid)) and _read_start_time(int(pid)) == started


def _exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _read_start_time(pid):
    """Return the kernel's start time of a process, or "" if there is no /proc or no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return ""
    is_zombie = fields[0] == b"Z"
    return "" if is_zombie else fields[19].decode("ascii")
