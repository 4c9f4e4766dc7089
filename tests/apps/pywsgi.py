"""The lab application on gevent's own server: `python -m tests.apps.pywsgi <port> [unpatched]`."""

from __future__ import annotations

import sys

if "unpatched" not in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import signal

import gevent
from gevent.pywsgi import WSGIServer

from tests.apps.lab import create_app

if __name__ == "__main__":
    server = WSGIServer(("127.0.0.1", int(sys.argv[1])), create_app(), log=None)
    gevent.signal_handler(signal.SIGTERM, server.stop)
    server.serve_forever()
