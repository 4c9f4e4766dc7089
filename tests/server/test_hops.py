"""Through nginx as Debian configures it: first bytes, silence, clients that leave, and many idle clients at once."""

from __future__ import annotations

import time

import pytest

from tests.harness.client import Herd

BOTH_TRANSPORTS = True


def test_first_bytes_pass_a_default_nginx_at_once(serve, nginx):
    site = serve()
    proxy = nginx(site.port)
    for port in (site.port, proxy.port):
        with Herd(port, 1) as (stream,):
            stream.wait_for(b"ssemux.hello", 2)
            assert stream.headers_at - stream.opened_at < 0.9
            assert stream.first_byte_at - stream.opened_at < 0.9
            assert stream.headers["content-type"] == "text/event-stream"


def test_sixty_idle_clients_half_behind_nginx_are_never_silent_for_long(serve, nginx):
    site = serve(workers=3)
    proxy = nginx(site.port)
    with Herd(lambda i: (site.port, proxy.port)[i % 2], 60) as herd:
        herd.wait_all(b": heartbeat\n\n" * 5, 12)
        assert herd.longest_silence() < 1.5


@pytest.mark.any_transport
def test_the_wrapper_repairs_the_old_generator(serve, nginx):
    site = serve()
    proxy = nginx(site.port)
    with Herd(proxy.port, 1, "/old/sleeper?seconds=3") as (stream,):
        stream.wait_for(b"data: first\n\n", 1)
        assert stream.first_byte_at - stream.opened_at < 0.9
        stream.wait_for(b"data: second\n\n", 5)
        assert stream.longest_silence() < 1.5


def test_a_client_behind_nginx_that_leaves_is_noticed_at_once(serve, nginx):
    site = serve(env={"SSEMUX_HEARTBEAT": "30", "SSEMUX_CLIENT_TIMEOUT": "120"})
    proxy = nginx(site.port)
    with Herd(proxy.port, 5) as herd:
        herd.wait_all(b"ssemux.hello", 3)
        site.wait_figure("streams", 5, 2)
    assert site.wait_figure("streams", 0, 3) < 2


def test_an_event_passes_nginx_as_it_is_published(serve, nginx):
    site = serve()
    proxy = nginx(site.port)
    with Herd(proxy.port, 1, "/events?channel=room:1") as (stream,):
        stream.wait_for(b"ssemux.hello", 2)
        for number in range(5):
            started = time.monotonic()
            site.publish("room:1", number)
            stream.wait_events(number + 2, 2)
            assert stream.blocks[-1][0] - started < 0.9
