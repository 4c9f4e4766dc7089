"""Serves the lab application with servers that are not WSGI servers, through the adapters that their users use.

ASGI servers import `by_a2wsgi` or `by_asgiref`; `python -m tests.apps.adapted PORT [THREADS]` is Tornado. The
environment variables UNNOTICED_LIFE and WRITE_TIMEOUT (seconds) shorten what otherwise takes a minute.
"""

from __future__ import annotations

import os
import sys

from flask_ssemux.hub import stream
from flask_ssemux.worker import capacity
from tests.apps import lab

if "UNNOTICED_LIFE" in os.environ:
    capacity.UNNOTICED_LIFE = (float(os.environ["UNNOTICED_LIFE"]) / 2, float(os.environ["UNNOTICED_LIFE"]))
if "WRITE_TIMEOUT" in os.environ:
    stream.WRITE_TIMEOUT = float(os.environ["WRITE_TIMEOUT"])

wsgi = lab.create_app()

try:
    from a2wsgi import WSGIMiddleware
    from asgiref.wsgi import WsgiToAsgi
except ImportError:  # the tests report which package is missing
    pass
else:
    by_a2wsgi, by_asgiref = WSGIMiddleware(wsgi), WsgiToAsgi(wsgi)


def serve_by_tornado(port, threads):
    from concurrent.futures import ThreadPoolExecutor

    from tornado.httpserver import HTTPServer
    from tornado.ioloop import IOLoop
    from tornado.wsgi import WSGIContainer

    container = WSGIContainer(wsgi, ThreadPoolExecutor(threads)) if threads else WSGIContainer(wsgi)
    HTTPServer(container).listen(port, "127.0.0.1")
    IOLoop.current().start()


if __name__ == "__main__":
    serve_by_tornado(*map(int, (sys.argv[1:] + ["0"])[:2]))
