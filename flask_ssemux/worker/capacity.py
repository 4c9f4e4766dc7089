"""Server capacity: how many requests a server serves at a time, where it says so, and what sets that number.

A stream is one of these requests for as long as it is open. A request that finds no capacity waits in the server, where
no code of this package can answer it. Servers' own objects are asked here; ``admission.py`` keeps the limits. Servers
that start a thread or greenlet for every request have no capacity in this sense.
"""

from __future__ import annotations

import logging
import random
import sys
from typing import Any, Callable, Mapping, NamedTuple

from ..util.call_stack import find_caller, find_frame, find_variables_in_main_thread
from ..util.file_limit import get_file_limit

log = logging.getLogger("flask_ssemux")

#: The share of a process's capacity and files that streams may take. The rest is for pages.
SHARE = 0.8

#: The same, where streams go on for a while after their clients have left.
SHARE_UNNOTICED = 0.5

#: A capacity up to this may surprise an application's operator, who is warned.
FEW = 100

#: waitress waits with select(), which handles only files below 1024, unless ``asyncore_use_poll`` is set. A stream in
#: a thread has three files.
SELECTABLE = 300

#: The capacity of a server that does not report its capacity.
UNKNOWN = sys.maxsize

#: Seconds that a stream lives where nobody notices that its client has left: from, to.
UNNOTICED_LIFE = (30.0, 60.0)

#: Why such a stream ends.
UNNOTICED = "this server does not say when a client leaves, so its streams are short"

_UNNOTICED_ADVICE = (
    "; it does not say when a client has left either, so a stream ends after %d to %d s and its client comes back"
    % UNNOTICED_LIFE
)


class ServerCapacity(NamedTuple):
    """What one process of a server serves at a time.

    :param server: its name, in a sentence.
    :param requests: how many.
    :param setting: what sets the number, as it is set now.
    :param is_plenty: whether no advice is needed.
    :param notices_departures: whether it is noticed that a client leaves.
    """

    server: str
    requests: int
    setting: str
    is_plenty: bool = False
    notices_departures: bool = True

    @property
    def max_streams(self) -> int:
        """How many of the requests may be streams; at least one is for pages."""
        if self.requests == UNKNOWN:
            return UNKNOWN
        return min(int(self.requests * (SHARE if self.notices_departures else SHARE_UNNOTICED)), self.requests - 1)

    @property
    def advice(self) -> str:
        """What the application's operator should know."""
        more = "" if self.notices_departures else _UNNOTICED_ADVICE
        if self.requests == UNKNOWN:
            return (
                "%s does not say how many requests it serves at a time, and a stream is one of them for as long as it "
                "lives: set SSEMUX_MAX_STREAMS well below that number, or pages will wait for streams to end%s; "
                "docs/servers.md has more" % (self.server, more)
            )
        return (
            "%s serves %d requests at a time (%s), and a stream is one of them for as long as it lives: a process "
            "takes %d streams, the rest is kept for pages%s; gunicorn with '-k gevent' has room for thousands"
            % (self.server, self.requests, self.setting, self.max_streams, more)
        )


def draw_unnoticed_life() -> float:
    """Return the seconds that one such stream lives; random, so that not all clients return at once."""
    return random.uniform(*UNNOTICED_LIFE)


def limit_by_files(files_per_stream: int) -> int:
    """Return how many streams this process may have by its file limit, if ``SSEMUX_MAX_STREAMS`` is not set."""
    return max(1, int(get_file_limit() * SHARE) // files_per_stream)


def get_gunicorn_capacity(settings: Any, kind: str) -> ServerCapacity:
    """Return the capacity of gunicorn with this kind of worker."""
    if kind == "gthread":
        return ServerCapacity("gunicorn's gthread worker", settings.threads, "--threads %d" % settings.threads)
    connections = settings.worker_connections
    return ServerCapacity(
        "gunicorn's gevent worker", connections, "--worker-connections %d" % connections, is_plenty=True
    )


def get_unknown_capacity(environ: Mapping[str, Any]) -> ServerCapacity:
    """Return the capacity of a server that does not report its capacity."""
    return ServerCapacity(str(environ.get("SERVER_SOFTWARE", "this server")), UNKNOWN, "")


def is_unlimited(environ: Mapping[str, Any]) -> bool:
    """Return whether the server starts a thread or greenlet for every request."""
    if not {"werkzeug.socket", "werkzeug.server.shutdown"}.isdisjoint(environ):
        return True
    if find_caller("werkzeug.serving", "server") is not None:
        return True
    handler = find_caller("gevent.pywsgi", "server")
    return handler is not None and _get_pool_size(handler) is None


def find_other_capacity() -> ServerCapacity | None:
    """Return the capacity of a server that is not gunicorn, found from within one of its requests.

    None if it has none or if the server is not known here. A version of a server whose objects are different is
    not known; the log says so.
    """
    for name, find in _FINDERS.items():
        try:
            found = find()
        except (AttributeError, KeyError, TypeError) as error:
            log.warning(
                "this version of %s does not say how many requests it serves at a time (%r): set SSEMUX_MAX_STREAMS "
                "below that number; docs/servers.md has more", name, error
            )  # fmt: skip
            continue
        if found is not None:
            return found
    return None


def _find_uwsgi() -> ServerCapacity | None:
    uwsgi = sys.modules.get("uwsgi")  # a part of its process, not a package
    if not hasattr(uwsgi, "cores"):
        return None
    cores: int = uwsgi.cores  # type: ignore[union-attr]
    is_gevent = not {"gevent", b"gevent"}.isdisjoint(uwsgi.opt)  # type: ignore[union-attr]
    return ServerCapacity("uWSGI", cores, "--%s %d" % ("gevent" if is_gevent else "threads", cores), cores > FEW)


def _find_waitress() -> ServerCapacity | None:
    task = find_caller("waitress.", "channel")
    if task is None:
        return None
    settings = task.channel.server.adj
    limits = {"threads=%d" % settings.threads: settings.threads}
    limits["connection_limit=%d" % settings.connection_limit] = settings.connection_limit
    if not settings.asyncore_use_poll:
        limits["asyncore_use_poll=False"] = SELECTABLE
    setting = min(limits, key=lambda name: limits[name])
    return ServerCapacity("waitress", limits[setting], setting)


def _find_pywsgi() -> ServerCapacity | None:
    size = _get_pool_size(find_caller("gevent.pywsgi", "server"))
    return None if size is None else ServerCapacity("gevent's pywsgi server", size, "spawn=Pool(%d)" % size, size > FEW)


def _get_pool_size(handler: Any) -> int | None:
    """Return the size of the pool in which gevent's server runs requests; None if it has no limit."""
    server = getattr(handler, "server", None)
    return getattr(getattr(server, "pool", None), "size", None)


def _find_cheroot() -> ServerCapacity | None:
    gateway = find_caller("cheroot.", "req")
    pool = getattr(gateway and gateway.req.server, "requests", None)
    count = getattr(pool, "min", None)  # it starts so many threads, and more only if its application asks it to
    return None if count is None else ServerCapacity("cheroot", count, "numthreads=%d" % count, count > FEW)


def _find_mod_wsgi() -> ServerCapacity | None:
    count = getattr(sys.modules.get("mod_wsgi"), "threads_per_process", None)
    if count is None:
        return None
    return ServerCapacity("mod_wsgi", count, "WSGIDaemonProcess threads=%d" % count, count > FEW)


def _find_twisted() -> ServerCapacity | None:
    response = find_caller("twisted.web.wsgi", "threadpool")
    count = getattr(getattr(response, "threadpool", None), "max", None)
    return (
        None if count is None else ServerCapacity("Twisted's WSGIResource", count, "ThreadPool(maxthreads=%d)" % count)
    )


def _find_granian() -> ServerCapacity | None:
    """Its threads are not Python's. The function that started them waits in the main thread."""
    found = find_variables_in_main_thread(
        lambda one: "blocking_threads" in one.f_locals and "granian" in str(one.f_globals.get("__name__"))
    )
    count = None if found is None else found["blocking_threads"]
    return None if count is None else ServerCapacity("Granian", count, "--blocking-threads %d" % count, count > FEW)


#: Adapters that run applications in a thread pool of the standard library, and what sets the pool's size.
_ADAPTERS = {
    "a2wsgi.": ("a2wsgi", "WSGIMiddleware(workers=%d)"),
    "asgiref.": ("asgiref's WsgiToAsgi", "a thread pool of %d"),
    "hypercorn.": ("hypercorn", "a default executor of %d threads"),
}


def _find_thread_pool() -> ServerCapacity | None:
    """The thread pool that the request runs in."""
    frame = find_frame(lambda one: one.f_code.co_name == "_worker" and "executor_reference" in one.f_locals)
    executor = frame.f_locals["executor_reference"]() if frame is not None else None
    count = getattr(executor, "_max_workers", None)
    if count is None:
        return None
    found = (names for module, names in _ADAPTERS.items() if find_caller(module, "__class__") is not None)
    server, setting = next(found, ("this server", "a thread pool of %d"))
    return ServerCapacity(server, count, setting % count, count > FEW)


_FINDERS: dict[str, Callable[[], ServerCapacity | None]] = {
    "uWSGI": _find_uwsgi,
    "waitress": _find_waitress,
    "gevent's pywsgi server": _find_pywsgi,
    "cheroot": _find_cheroot,
    "mod_wsgi": _find_mod_wsgi,
    "Twisted": _find_twisted,
    "Granian": _find_granian,
    "this server's thread pool": _find_thread_pool,
}
