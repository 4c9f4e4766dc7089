"""Names that brokers make: of epochs, and of processes; and whether the process of a name is alive. No I/O but
/proc."""

from __future__ import annotations

import functools
import os
import platform
import random

from ..util import forks
from ..util.process_ids import exists_process


def make_random_name() -> str:
    """Return 8 random characters, as an epoch has them."""
    chance = random.SystemRandom()
    return "".join(chance.choice("0123456789abcdefghijklmnopqrstuvwxyz") for _ in range(8))


def make_process_name() -> str:
    """Return a name for a broker of this process: the host, the process ID, and random characters."""
    return "%s/%d/%s" % (_describe_host(), os.getpid(), make_random_name())


def is_dead_process(process_name: str) -> bool:
    """Return whether the process ran on this host and has ended. Nothing is known of other hosts' processes: False."""
    host, pid, _ = process_name.rsplit("/", 2)
    if host != _describe_host() or not hasattr(os, "fork"):  # Windows cannot be asked
        return False
    return not exists_process(int(pid))


def read_boot_id() -> str:
    """Return what changes when the machine restarts; "" if the system does not provide it."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


@functools.lru_cache(maxsize=1)
def _describe_host() -> str:
    """Return a name for where process IDs mean the same. Containers and copies of a machine may share a host name, but
    not all of this. It is asked once in a process: reading it takes 60 µs, and one answer of a store may have a hundred
    names of processes."""
    return "%s-%s-%s" % (platform.node(), read_boot_id()[:8], _read_pid_namespace())


def _read_pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")[5:-1]
    except OSError:
        return ""


forks.call_in_child(_describe_host.cache_clear, forks.LOCKS)  # a child may be in another namespace
