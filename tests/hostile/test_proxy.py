"""docs/security.md's lines for nginx, exactly as printed, and what nginx keeps from gunicorn by default."""

from __future__ import annotations

import os
import re
import socket
from contextlib import ExitStack

import pytest

from tests.harness.client import Herd
from tests.harness.servers import ROOT, Nginx
from tests.harness.waiting import until
from tests.hostile import wild
from tests.hostile.corpus import get

LINES = re.search(r"```nginx\n(.*?)```", (ROOT / "docs" / "security.md").read_text(), re.S).group(1)

HALF_A_HEAD = get(b"/events")[:-2]
HALF_A_BODY = get(b"/events", b"Content-Length: 9", method=b"POST", body=b"four")


@pytest.fixture(scope="module")
def site(fortress):
    return fortress()


@pytest.fixture(scope="module")
def proxy(site):
    zones, location = LINES.partition("location")[::2]
    location = "location" + location.replace("127.0.0.1:8000", "127.0.0.1:UPSTREAM_PORT")
    with Nginx(site.port, server="%s server { listen 127.0.0.1:LISTEN_PORT; %s }" % (zones, location)) as server:
        yield server


def test_half_requests_do_not_reach_gunicorn(site, proxy):
    (worker,) = site.server.worker_pids()

    def files():
        return len(os.listdir("/proc/%d/fd" % worker))

    def hold(port, count):
        for number in range(count):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            one.sendall((HALF_A_HEAD, HALF_A_BODY)[number % 2])

    before = files()
    with ExitStack() as stack:
        hold(proxy.port, 40)
        for _ in range(10):  # both workers of nginx have handled the earlier connections
            assert wild.send(proxy.port, get(b"/events", b"Connection: close", method=b"HEAD")).status == 200
        hold(site.port, 10)  # accepted after the earlier ones, if there were any
        until(lambda: files() >= before + 10, 5, lambda: "%d files, %d before" % (files(), before))
        assert files() < before + 20


def test_the_streams_of_an_address_are_limited(site, proxy):
    most = int(re.search(r"limit_conn streams (\d+)", LINES).group(1))
    with Herd(proxy.port, most) as herd:
        herd.wait_all(b"ssemux.hello", 10)
        with Herd(proxy.port, 3) as more:
            for stream in more:
                stream.wait_headers(5)
                assert stream.status == 429
        with site.stream() as beside:  # the worker had room
            beside.wait_for(b"ssemux.hello", 5)
        assert [stream.ended for stream in herd] == [None] * most
