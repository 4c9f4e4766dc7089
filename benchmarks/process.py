"""A process's CPU time and memory as Linux keeps them, and where it may run.

Only questions to /proc and the scheduler; nothing about servers or clients.
"""

from __future__ import annotations

import ctypes
import glob
import os
import signal
from typing import Callable

_PR_SET_PDEATHSIG = 1


def cores() -> tuple[int, int]:
    """The core of the server and the core of the client; the same one where there is no other."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def pinned(core: int | None) -> Callable[[], None]:
    """What a child calls before it starts: it runs on this core (None: on any), and does not outlive us."""
    parent = os.getpid()
    libc = ctypes.CDLL(None)

    def pin() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return pin


def family(session: int) -> list[int]:
    """All processes of a session: a child that was started in its own, and what it started."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as file:
                if int(file.read().rpartition(")")[2].split()[3]) == session:
                    found.append(int(path.split("/")[2]))
        except (FileNotFoundError, ProcessLookupError):
            pass  # it ended meanwhile
    return found


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used, its threads together.

    From ``schedstat``, which counts nanoseconds; ``stat`` counts ticks of 10 ms.
    """
    spent = 0
    for path in glob.glob("/proc/%d/task/*/schedstat" % pid):
        with open(path) as file:
            spent += int(file.read().split()[0])
    return spent / 1e9 or sum(modes(pid))


def modes(pid: int) -> tuple[float, float]:
    """Seconds of CPU in user and in system mode, by ticks of 10 ms."""
    with open("/proc/%d/stat" % pid) as file:
        words = file.read().rpartition(")")[2].split()
    tick = os.sysconf("SC_CLK_TCK")
    return int(words[11]) / tick, int(words[12]) / tick


def memory(pid: int) -> int:
    """KB of a process's own memory: what it wrote to, by itself or before it was forked, and what it shares by design.

    Plain PSS has two things in it that no connection costs. A library's share grows when a stranger that maps it too
    ends. And a fork's pages are shared until a garbage collection writes into all of them, once, which
    looked like 5 MB for whichever connection came then. Sockets' buffers in the kernel are in neither.
    """
    path = "/proc/%d/smaps_rollup" % pid
    return _line(path, "Anonymous:") + _line(path, "Pss_Shmem:")


def resident(pid: int) -> int:
    """KB of a process's memory, shared pages in full (RSS): quick to ask, and not halved by a fork."""
    return _line("/proc/%d/status" % pid, "VmRSS:")


def files(pid: int) -> int:
    """How many files it has open."""
    return len(os.listdir("/proc/%d/fd" % pid))


def _line(path: str, name: str) -> int:
    with open(path) as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))
