"""How many requests a server serves at a time, where it says so, and what sets that number.

A stream takes one of these slots for as long as it lives, and a request that finds none waits in the
server, where nothing of ours can answer it. Only questions, asked of servers' own objects; no limits are
kept here. Servers that start a thread or greenlet for every request have no slots.
"""

from __future__ import annotations

import random
import sys
from typing import Any, Mapping, NamedTuple

from ..util.call_stack import find_caller, find_frame, get_main_frame
from ..util.file_limit import get_file_limit

#: Of a process's slots and files, what streams may take; the rest stays free for pages.
SHARE = 0.8

#: The same, where streams go on for a while after their clients have left.
SHARE_UNNOTICED = 0.5

#: So many slots may surprise whoever thought that a stream costs nothing.
FEW = 100

#: Unless told to poll, waitress waits with select(), which knows files below 1024; a stream in a thread has three.
SELECTABLE = 300

#: The slots of a server that does not say how many it has.
UNKNOWN = sys.maxsize

#: Seconds that a stream lives where nobody would notice that its client has left: from, to.
UNNOTICED_LIFE = (30.0, 60.0)

#: Why such a stream ends.
UNNOTICED = "this server does not say when a client leaves, so its streams are short"

_UNNOTICED_TOLD = (
    "; it does not say when a client has left either, so a stream ends after %d to %d s and its client comes back"
    % UNNOTICED_LIFE
)


class ServerCapacity(NamedTuple):
    """What one process of a server serves at a time.

    :param server: its name, in a sentence.
    :param most: requests.
    :param setting: what sets the number, as it is set now.
    :param is_plenty: nobody need be told.
    :param notices: whether a client that leaves is noticed.
    """

    server: str
    most: int
    setting: str
    is_plenty: bool = False
    notices: bool = True

    @property
    def for_streams(self) -> int:
        """What streams may take; one slot at least is for pages."""
        if self.most == UNKNOWN:
            return UNKNOWN
        return min(int(self.most * (SHARE if self.notices else SHARE_UNNOTICED)), self.most - 1)

    @property
    def told(self) -> str:
        """What its user should know."""
        more = "" if self.notices else _UNNOTICED_TOLD
        if self.most == UNKNOWN:
            return (
                "%s does not say how many requests it serves at a time, and a stream is one of them for as long as it "
                "lives: set SSEMUX_MAX_STREAMS well below that number, or pages will wait for streams to end%s; "
                "docs/servers.md has more" % (self.server, more)
            )
        return (
            "%s serves %d requests at a time (%s), and a stream is one of them for as long as it lives: a process "
            "takes %d streams, the rest is kept for pages%s; gunicorn with '-k gevent' has room for thousands"
            % (self.server, self.most, self.setting, self.for_streams, more)
        )


def unnoticed_life() -> float:
    """Return the seconds of one such stream; spread, so that not all clients return at once."""
    return random.uniform(*UNNOTICED_LIFE)


def limit_by_files(files_per_stream: int) -> int:
    """Return how many streams this process may have by its file limit, if ``SSEMUX_MAX_STREAMS`` is not set."""
    return max(1, int(get_file_limit() * SHARE) // files_per_stream)


def of_gunicorn(settings: Any, kind: str) -> ServerCapacity:
    """gunicorn's, with that kind of worker."""
    if kind == "gthread":
        return ServerCapacity("gunicorn's gthread worker", settings.threads, "--threads %d" % settings.threads)
    connections = settings.worker_connections
    return ServerCapacity(
        "gunicorn's gevent worker", connections, "--worker-connections %d" % connections, is_plenty=True
    )


def of_others() -> ServerCapacity | None:
    """Another server's, found from within one of its requests; None if it has none, or is not known here."""
    found = (find() for find in (_uwsgi, _waitress, _pywsgi, _cheroot, _mod_wsgi, _twisted, _granian, _pool))
    return next((slots for slots in found if slots is not None), None)


def of_unknown(environ: Mapping[str, Any]) -> ServerCapacity:
    """Those of a server that does not say how many it has."""
    return ServerCapacity(str(environ.get("SERVER_SOFTWARE", "this server")), UNKNOWN, "")


def is_unlimited(environ: Mapping[str, Any]) -> bool:
    """Whether the server starts a thread or greenlet for every request."""
    if (
        "werkzeug.socket" in environ
        or "werkzeug.server.shutdown" in environ
        or find_caller("werkzeug.serving", "server")
    ):
        return True
    handler = find_caller("gevent.pywsgi", "server")
    return handler is not None and getattr(handler.server.pool, "size", None) is None


def _uwsgi() -> ServerCapacity | None:
    uwsgi = sys.modules.get("uwsgi")  # a part of its process, not a package
    if not hasattr(uwsgi, "cores"):
        return None
    cores: int = uwsgi.cores  # type: ignore[union-attr]
    is_gevent = not {"gevent", b"gevent"}.isdisjoint(uwsgi.opt)  # type: ignore[union-attr]
    return ServerCapacity("uWSGI", cores, "--%s %d" % ("gevent" if is_gevent else "threads", cores), cores > FEW)


def _waitress() -> ServerCapacity | None:
    task = find_caller("waitress.", "channel")
    if task is None:
        return None
    told = task.channel.server.adj
    limits = {"threads=%d" % told.threads: told.threads}
    limits["connection_limit=%d" % told.connection_limit] = told.connection_limit
    if not told.asyncore_use_poll:
        limits["asyncore_use_poll=False"] = SELECTABLE
    setting = min(limits, key=lambda name: limits[name])
    return ServerCapacity("waitress", limits[setting], setting)


def _pywsgi() -> ServerCapacity | None:
    handler = find_caller("gevent.pywsgi", "server")
    size = getattr(getattr(handler, "server", None) and handler.server.pool, "size", None)
    return None if size is None else ServerCapacity("gevent's pywsgi server", size, "spawn=Pool(%d)" % size, size > FEW)


def _cheroot() -> ServerCapacity | None:
    gateway = find_caller("cheroot.", "req")
    pool = getattr(gateway and gateway.req.server, "requests", None)
    most = getattr(pool, "min", None)  # it starts so many, and more only where it is told to
    return None if most is None else ServerCapacity("cheroot", most, "numthreads=%d" % most, most > FEW)


def _mod_wsgi() -> ServerCapacity | None:
    most = getattr(sys.modules.get("mod_wsgi"), "threads_per_process", None)
    return None if most is None else ServerCapacity("mod_wsgi", most, "WSGIDaemonProcess threads=%d" % most, most > FEW)


def _twisted() -> ServerCapacity | None:
    response = find_caller("twisted.web.wsgi", "threadpool")
    most = getattr(getattr(response, "threadpool", None), "max", None)
    return None if most is None else ServerCapacity("Twisted's WSGIResource", most, "ThreadPool(maxthreads=%d)" % most)


def _granian() -> ServerCapacity | None:
    """Its threads are not Python's; what started them waits in the main thread."""
    start = get_main_frame()
    frame = start and find_frame(
        lambda one: "blocking_threads" in one.f_locals and "granian" in str(one.f_globals.get("__name__")), start
    )
    most = frame.f_locals["blocking_threads"] if frame is not None else None
    return None if most is None else ServerCapacity("Granian", most, "--blocking-threads %d" % most, most > FEW)


#: Adapters that run applications in a thread pool of the standard library's, and what sets its size.
_ADAPTERS = {
    "a2wsgi.": ("a2wsgi", "WSGIMiddleware(workers=%d)"),
    "asgiref.": ("asgiref's WsgiToAsgi", "a thread pool of %d"),
    "hypercorn.": ("hypercorn", "a default executor of %d threads"),
}


def _pool() -> ServerCapacity | None:
    """The thread pool that the request runs in."""
    frame = find_frame(lambda one: one.f_code.co_name == "_worker" and "executor_reference" in one.f_locals)
    executor = frame.f_locals["executor_reference"]() if frame is not None else None
    most = getattr(executor, "_max_workers", None)
    if most is None:
        return None
    found = (told for module, told in _ADAPTERS.items() if find_caller(module, "__class__") is not None)
    server, setting = next(found, ("this server", "a thread pool of %d"))
    return ServerCapacity(server, most, setting % most, most > FEW)
