"""How many requests a server serves at a time, where it says so, and what sets that number.

A stream takes one of these slots for as long as it lives, and a request that finds none waits in the
server, where nothing of ours can answer it. Only questions, asked of servers' own objects; no limits are
kept here. Servers that start a thread or greenlet for every request have no slots.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

#: Of a process's slots and files, what streams may take; the rest stays free for pages.
SHARE = 0.8

#: So many slots may surprise whoever thought that a stream costs nothing.
FEW = 100

#: Unless told to poll, waitress waits with select(), which knows files below 1024; a stream in a thread has three.
SELECTABLE = 300


class Slots(NamedTuple):
    """What one process of a server serves at a time.

    :param server: its name, in a sentence.
    :param most: requests.
    :param setting: what sets the number, as it is set now.
    :param is_plenty: nobody need be told.
    """

    server: str
    most: int
    setting: str
    is_plenty: bool = False

    @property
    def for_streams(self) -> int:
        """What streams may take; one slot at least is for pages."""
        return min(int(self.most * SHARE), self.most - 1)

    @property
    def told(self) -> str:
        """What its user should know."""
        return (
            "%s serves %d requests at a time (%s), and a stream is one of them for as long as it lives: a process "
            "takes %d streams, the rest is kept for pages; gunicorn with '-k gevent' has room for thousands"
            % (self.server, self.most, self.setting, self.for_streams)
        )


def of_gunicorn(settings: Any, kind: str) -> Slots:
    """gunicorn's, with that kind of worker."""
    if kind == "gthread":
        return Slots("gunicorn's gthread worker", settings.threads, "--threads %d" % settings.threads)
    connections = settings.worker_connections
    return Slots("gunicorn's gevent worker", connections, "--worker-connections %d" % connections, is_plenty=True)


def of_others() -> Slots | None:
    """Another server's, found from within one of its requests; None if it has none, or is not known here."""
    return _uwsgi() or _waitress() or _pywsgi()


def _uwsgi() -> Slots | None:
    uwsgi = sys.modules.get("uwsgi")  # a part of its process, not a package
    if not hasattr(uwsgi, "cores"):
        return None
    cores: int = uwsgi.cores  # type: ignore[union-attr]
    is_gevent = not {"gevent", b"gevent"}.isdisjoint(uwsgi.opt)  # type: ignore[union-attr]
    return Slots("uWSGI", cores, "--%s %d" % ("gevent" if is_gevent else "threads", cores), cores > FEW)


def _waitress() -> Slots | None:
    task = caller("waitress.", "channel")
    if task is None:
        return None
    told = task.channel.server.adj
    limits = {"threads=%d" % told.threads: told.threads}
    limits["connection_limit=%d" % told.connection_limit] = told.connection_limit
    if not told.asyncore_use_poll:
        limits["asyncore_use_poll=False"] = SELECTABLE
    setting = min(limits, key=lambda name: limits[name])
    return Slots("waitress", limits[setting], setting)


def _pywsgi() -> Slots | None:
    handler = caller("gevent.pywsgi", "server")
    size = getattr(getattr(handler, "server", None) and handler.server.pool, "size", None)
    return None if size is None else Slots("gevent's pywsgi server", size, "spawn=Pool(%d)" % size, size > FEW)


def caller(module: str, attribute: str) -> Any:
    """The nearest object among our callers that comes from this module and has this attribute; or None."""
    frame = sys._getframe(1)
    while frame is not None:
        found = frame.f_locals.get("self")
        if type(found).__module__.startswith(module) and hasattr(found, attribute):
            return found
        frame = frame.f_back  # type: ignore[assignment]
    return None
