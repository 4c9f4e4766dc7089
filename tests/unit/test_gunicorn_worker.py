"""What is used of gunicorn's worker: its private parts are looked up once, and one that is missing is not missed."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap

import pytest
from gunicorn.workers.ggevent import GeventPyWSGIWorker, GeventWorker
from gunicorn.workers.gthread import ThreadWorker

from flask_ssemux.transports.private_parts import TESTED_VERSIONS
from flask_ssemux.worker import gunicorn_worker, server

NO_DRAIN = (
    "streams do not end when the worker is asked to stop, and a deploy waits for graceful_timeout; everything else "
    "works (flask_ssemux was tested with versions up to %s)" % TESTED_VERSIONS["gunicorn"]
)


@pytest.fixture(autouse=True)
def no_worker(monkeypatch):
    monkeypatch.setattr(gunicorn_worker, "known_worker", None)


def made(kind, without=()):
    """One of gunicorn's workers, as far as its own constructor would have made it."""
    worker = kind.__new__(kind)
    worker.__dict__.update({"alive": True, "pid": 1, "sockets": [], "cfg": None})
    for name in without:
        del worker.__dict__[name]
    return worker


@pytest.mark.parametrize("kind", [GeventWorker, GeventPyWSGIWorker, ThreadWorker])
def test_this_version_of_gunicorn_has_all_parts(kind):
    assert gunicorn_worker.find_missing_parts(made(kind)) == []


def test_a_missing_part_is_logged_once_and_the_rest_works(caplog):
    worker = made(GeventWorker, without=["alive"])
    with caplog.at_level(logging.WARNING, "flask_ssemux"):
        gunicorn_worker.adopt_worker(worker)
        gunicorn_worker.adopt_worker(worker)
    (line,) = caplog.messages
    assert line.endswith("'s GeventWorker has no alive, so " + NO_DRAIN)
    assert not gunicorn_worker.is_stopping() and not server.is_stopping()
    assert gunicorn_worker.find_worker() is worker


class Renamed(GeventWorker):
    """A later version whose ``run`` keeps its servers in another variable, and which has no ``sockets``."""

    def run(self):
        listeners = self.cfg
        listeners.serve()


Renamed.__module__ = "gunicorn.workers.ggevent"


def test_a_version_whose_servers_are_not_found_leaves_forked_children_alone(caplog):
    worker = made(Renamed, without=["sockets"])
    with caplog.at_level(logging.WARNING, "flask_ssemux"):
        gunicorn_worker.adopt_worker(worker)
    (line,) = caplog.messages
    assert "'s Renamed has no sockets and no run:servers, so a process that the application forks" in line
    gunicorn_worker._leave_worker()  # as in the child
    assert gunicorn_worker.known_worker is None and "notify" not in worker.__dict__


def test_an_import_without_gunicorn_and_gevent():
    code = """
        import sys
        sys.modules.update({"gunicorn": None, "gevent": None})
        from flask_ssemux.worker import gunicorn_worker, server
        assert gunicorn_worker.find_settings() is None and not server.is_stopping()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=30)
