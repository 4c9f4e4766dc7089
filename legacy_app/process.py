"""Which process is this, and does that one still live? For jobs whose worker died.

A process is named ``<pid>:<start>``: a pid alone is given out again. Names hold
on one machine only, as does the SQLite database they are kept in.
"""

from __future__ import annotations

import os


def name():
    """The name of the current process."""
    pid = os.getpid()
    return f"{pid}:{_started(pid)}"


def is_alive(process):
    """Whether the process that was given this name still runs."""
    pid, _, started = process.partition(":")
    return _exists(int(pid)) and _started(int(pid)) == started


def _exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _started(pid):
    """The kernel's start time of a process; empty where there is no /proc, or no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return ""
    is_zombie = fields[0] == b"Z"
    return "" if is_zombie else fields[19].decode("ascii")
