"""gunicorn settings for streams, each with its reason. In a project's own ``gunicorn.conf.py``::

    from flask_ssemux.gunicorn_conf import *

Settings below that line win. Only settings and hooks; the hooks are in ``worker/gunicorn_hooks.py``.
"""

from __future__ import annotations

# First of all, so that every module imported later (database drivers above all) is patched when
# it looks: gunicorn's own patching comes after preload_app has imported the application.
from gevent import monkey

monkey.patch_all()

import os  # noqa: E402

import gevent  # noqa: E402

from .worker.gunicorn_hooks import post_worker_init, worker_exit  # noqa: E402

__all__ = [
    "worker_class", "workers", "worker_connections", "timeout", "graceful_timeout", "keepalive",
    "post_worker_init", "worker_exit",
]  # fmt: skip

# A greenlet need not remember who spawned it, which is for gevent's debugging: 0.2 KB of each stream, and time of
# each request. gevent's own variable turns it on again.
if "GEVENT_TRACK_GREENLET_TREE" not in os.environ:
    gevent.config.track_greenlet_tree = False

#: A stream is a greenlet. The default, "sync", serves one request at a time: the first stream would be the last.
worker_class = "gevent"

#: As gunicorn's own WEB_CONCURRENCY; streams need processors, not processes.
workers = int(os.environ.get("WEB_CONCURRENCY") or min(4, os.cpu_count() or 1))

#: For each worker. gunicorn's default, 1000, accepts the 1001st stream no more and says nothing.
#: SSEMUX_MAX_STREAMS keeps a fifth of it, and of the limit of open files, free for pages.
worker_connections = 10000

#: Seconds without a sign of life from a worker's loop until it is killed. Streams do not count
#: against it under gevent; a view that blocks the loop does, and its heartbeats stop with it.
timeout = 60

#: Seconds that a stopping worker waits for its requests. Streams end within the first of them.
graceful_timeout = 20

#: Seconds that a connection without a request stays open; a stopping worker waits for those too.
#: Behind a balancer that keeps connections (AWS ALB: 60 s) set it above that balancer's time-out,
#: else now and then a request meets a connection that is just being closed.
#: It is also how long the head of a request may take: half a request loses its place then. Never 0, which is for ever.
keepalive = 5
