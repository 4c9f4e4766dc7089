"""gunicorn settings for streams, each with its reason. In a project's own ``gunicorn.conf.py``::

    from flask_ssemux.gunicorn_conf import *

Settings below that line win. Only settings are here; the hooks are in ``worker/gunicorn_hooks.py``.
"""

from __future__ import annotations

# This comes first, so that every module that is imported later (database drivers above all) finds patched modules.
# gunicorn itself patches only after preload_app has imported the application.
from gevent import monkey

monkey.patch_all()

import os  # noqa: E402

import gevent  # noqa: E402

from .worker.gunicorn_hooks import post_worker_init, worker_exit  # noqa: E402

__all__ = [
    "worker_class", "workers", "worker_connections", "timeout", "graceful_timeout", "keepalive",
    "post_worker_init", "worker_exit",
]  # fmt: skip

# For debugging, gevent has each greenlet remember which greenlet spawned it. This costs 0.2 KB for each stream, and
# time for each request. gevent's own variable turns it on again.
if "GEVENT_TRACK_GREENLET_TREE" not in os.environ:
    gevent.config.track_greenlet_tree = False

#: A stream is a greenlet. The default, "sync", serves one request at a time, so the first stream blocks the worker.
worker_class = "gevent"

#: gunicorn's own variable WEB_CONCURRENCY sets it, too. More workers than processors do not help streams.
workers = int(os.environ.get("WEB_CONCURRENCY") or min(4, os.cpu_count() or 1))

#: For each worker. With gunicorn's default, 1000, the 1001st stream is not accepted, and nothing is logged.
#: SSEMUX_MAX_STREAMS keeps a fifth of it, and of the limit of open files, free for pages.
worker_connections = 10000

#: Seconds for which a worker's loop may be blocked before gunicorn kills the worker. Open streams do not block the loop
#: under gevent, but a view may, and then there are no heartbeats either.
timeout = 60

#: Seconds that a stopping worker waits for its requests. Streams end within the first few seconds. Runs (``start_run``)
#: have until 2 s before the end of this time: raise it if they take longer, and the time of whatever stops gunicorn.
graceful_timeout = 20

#: Seconds that a connection without a request stays open. A stopping worker waits for such connections, too.
#: Behind a load balancer that keeps connections open (AWS ALB: 60 s) set it above the balancer's time-out. Otherwise
#: some requests are sent on a connection that gunicorn is just closing, and fail.
#: It also limits how long the head of a request may take to arrive. Never set 0, which means no limit.
keepalive = 5
