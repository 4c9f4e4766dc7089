"""The look-up of private parts of gevent and gunicorn. What streams do without them: server/test_missing_parts.py."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from flask_ssemux.transports import private_parts
from flask_ssemux.transports.private_parts import Use
from tests.harness.servers import ROOT
from tests.harness.without import Lack

NOTHING = Lack()

#: A worker of gunicorn, as far as it is known before the first request.
BEGIN = """
import gevent.monkey
gevent.monkey.patch_all()
import gunicorn.arbiter, gunicorn.http.wsgi, gunicorn.workers.ggevent
from flask_ssemux.transports import private_parts
from flask_ssemux.transports.private_parts import Use

def names():
    return [part.name for part in private_parts.find_missing_parts()]
"""


def run(script, before="", lack=NOTHING):
    script = textwrap.dedent(before) + BEGIN + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=30, env={**os.environ, **lack.env}
    )
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()


def test_a_missing_attribute_of_a_response_is_named():
    run(
        """
        import inspect, re
        assert names() == []
        source, module = inspect.getsource(gunicorn.http.wsgi.Response), gunicorn.http.wsgi
        for name in private_parts._RESPONSE_PARTS:
            exec(re.sub(r"(self\\.|def )%s\\b" % name, r"\\1%s_" % name, source), vars(module))
            assert names() == ["gunicorn.http.wsgi.Response." + name], names()
        """
    )


def test_the_loops_backend():
    run(
        """
        assert names() == ["gevent.socket.socket.hub.loop.backend"]
        assert not private_parts.can_do(Use.HANDOFF) and private_parts.can_do(Use.DIRECT_SEND)
        """,
        before="""
        import gevent, logging
        logging.disable(logging.CRITICAL)
        class Loop(gevent.config.loop):
            @property
            def backend(self):
                raise AttributeError("backend")
        gevent.config.loop = Loop
        """,
    )


def test_the_main_thread():
    run(
        """
        from flask_ssemux.util import threads
        assert names() == ["gevent.hub.MAIN_THREAD_IDENT"]
        threads.find_loop()
        assert threads.runs_greenlets() and threads.may_use_loop()
        """,
        lack=Lack(renamed={"gevent": [("MAIN_THREAD_IDENT", "MAIN_THREAD")]}),
    )


def test_modules_that_are_gone():
    run(
        """
        import sys
        del sys.modules["gunicorn.workers.base_async"], gunicorn.http.wsgi.Response
        worker = "gunicorn.workers.base_async.handle_request():"
        assert names()[:2] == [worker + "resp", worker + "item"], names()
        assert len(names()) == 2 + len(private_parts._RESPONSE_PARTS)
        """
    )


def test_the_documentation_names_the_tested_versions():
    page = ROOT.joinpath("docs/servers.md").read_text()
    assert all("%s %s" % pair in page for pair in private_parts.TESTED_VERSIONS.items())


@pytest.fixture
def fresh():
    private_parts._find_impossible_uses.cache_clear()
    yield
    private_parts._find_impossible_uses.cache_clear()


def test_a_missing_part_is_logged_once(fresh, caplog):
    assert private_parts.can_do(Use.HANDOFF)
    for _ in range(2):
        private_parts.give_up_use(Use.HANDOFF, AttributeError("no such thing"))
    (line,) = caplog.messages
    assert " lack (AttributeError: no such thing), so streams go by the generator transport; everything else" in line
    assert not private_parts.can_do(Use.HANDOFF) and private_parts.can_do(Use.ANNOUNCE_CLOSE)
