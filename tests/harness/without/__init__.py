"""Processes that lack something: what another system does not have, or what a later version of a package may have
removed.

The names are removed before anything else is imported. Nothing is added: a process that seems to run on Windows still
has Linux's paths, signals and processes, and keeps what Python's own modules need here.
"""

from __future__ import annotations

import json
import os
from typing import Any, Mapping, Sequence

from tests.harness.servers import ROOT


class Lack:
    """What a process lacks.

    :param names: such as ``select.epoll``; ``select.EPOLL*`` stands for all names that begin so.
    :param modules: modules that cannot be imported.
    :param folder: a folder without files.
    :param renamed: by module or package: pairs of a regular expression and its replacement in the sources.
    """

    def __init__(
        self,
        names: Sequence[str] = (),
        modules: Sequence[str] = (),
        folder: str = "",
        renamed: Mapping[str, Sequence[tuple[str, str]]] = {},
    ) -> None:
        self._values: dict[str, Any] = {"names": names, "modules": modules, "folder": folder, "renamed": renamed}

    @property
    def env(self) -> dict[str, str]:
        """Return the environment variables of such a process."""
        return {
            "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), str(ROOT)]),
            "TESTS_WITHOUT": json.dumps(self._values),
        }


MACOS = Lack(
    names=["select.epoll", "select.EPOLL*", "select.POLLRDHUP", "socket.TCP_USER_TIMEOUT", "socket.TCP_KEEPIDLE"]
    + ["os.posix_fallocate", "os.sched_*", "os.memfd_create", "os.eventfd*"],
    folder="/proc/",
)

WINDOWS = Lack(
    names=["select.epoll", "select.EPOLL*", "select.poll", "select.POLL*", "socket.TCP_USER_TIMEOUT"]
    + ["os.fork", "os.forkpty", "os.register_at_fork", "os.pread*", "os.pwrite*", "os.readv", "os.writev", "os.chown"]
    + ["os.fchmod", "os.fchown", "os.lchown", "os.sysconf", "os.posix_fallocate"]
    + ["os.getuid", "os.geteuid", "os.getgid", "os.getegid", "os.getpgid", "os.getsid", "os.setsid", "os.killpg"]
    + ["os.uname", "os.wait3", "os.wait4", "os.sched_*", "os.memfd_create", "os.eventfd*"]
    + ["signal.SIGHUP", "signal.SIGUSR*", "signal.SIGQUIT", "signal.SIGALRM", "signal.SIGCHLD", "signal.setitimer"],
    modules=["fcntl", "resource", "pwd", "grp", "termios", "syslog"],
    folder="/proc/",
)
