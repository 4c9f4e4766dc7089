"""Reads a process's CPU time and memory from /proc, and pins processes to cores."""

from __future__ import annotations

import ctypes
import glob
import os
import signal
from functools import lru_cache
from typing import Callable

_PR_SET_PDEATHSIG = 1


@lru_cache(maxsize=None)
def choose_cores() -> tuple[int, int]:
    """Return the core of the server and the core of the client. They are the same if there is only one.

    The first call decides: a benchmark may pin this process afterwards.
    """
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def pin_child(core: int | None) -> Callable[[], None]:
    """Return a function that a child calls before it starts.

    The child then runs on this core (None: on any core), and ends when this process ends.
    """
    parent = os.getpid()
    libc = ctypes.CDLL(None)

    def pin() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return pin


def list_session(session: int) -> list[int]:
    """Return all processes of a session: a child that was started in a session of its own, and its children."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as file:
                if int(file.read().rpartition(")")[2].split()[3]) == session:
                    found.append(int(path.split("/")[2]))
        except (FileNotFoundError, ProcessLookupError):
            pass  # the process has ended meanwhile
    return found


def list_children(parent: int) -> list[int]:
    """Return the children of a process, without their own children."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as file:
                if int(file.read().rpartition(")")[2].split()[1]) == parent:
                    found.append(int(path.split("/")[2]))
        except (FileNotFoundError, ProcessLookupError):
            pass  # the process has ended meanwhile
    return found


def kill(pid: int) -> None:
    """Kill a process, if it has not ended yet."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def read_cpu(pid: int) -> float:
    """Return the seconds of CPU time that all threads of a process have used.

    This reads ``schedstat``, which counts nanoseconds; ``stat`` counts ticks of 10 ms.
    """
    spent = 0
    for path in glob.glob("/proc/%d/task/*/schedstat" % pid):
        with open(path) as file:
            spent += int(file.read().split()[0])
    return spent / 1e9 or sum(read_modes(pid))


def read_modes(pid: int) -> tuple[float, float]:
    """Return the seconds of CPU time in user and in system mode, in ticks of 10 ms."""
    with open("/proc/%d/stat" % pid) as file:
        words = file.read().rpartition(")")[2].split()
    tick = os.sysconf("SC_CLK_TCK")
    return int(words[11]) / tick, int(words[12]) / tick


def read_memory(pid: int) -> int:
    """Return the KB of a process's own memory: the pages that were written to, also before a fork, and shared memory.

    PSS contains two parts that no connection costs. A library's share grows when another process that maps it ends. And
    pages of a fork are shared until a garbage collection writes to all of them once, which looked like 5 MB for the
    connection that was opened then. Neither figure contains the kernel's socket buffers.
    """
    path = "/proc/%d/smaps_rollup" % pid
    return _read_kilobytes(path, "Anonymous:") + _read_kilobytes(path, "Pss_Shmem:")


def read_resident(pid: int) -> int:
    """Return the KB of a process's memory, with shared pages in full (RSS).

    It is quick to read, and a fork does not halve it.
    """
    return _read_kilobytes("/proc/%d/status" % pid, "VmRSS:")


def count_files(pid: int) -> int:
    """Return how many files a process has open."""
    return len(os.listdir("/proc/%d/fd" % pid))


def _read_kilobytes(path: str, name: str) -> int:
    with open(path) as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))
