"""Streams amid the packages that applications have (tests/apps/dressed.py), over the transport that `auto` selects."""

from __future__ import annotations

import json

import pytest

from tests.harness.waiting import until

APP = "tests.apps.dressed:create_app()"

#: The headers of a browser behind a proxy that ends TLS.
HEADERS = {
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Origin": "https://shop.example",
    "X-Forwarded-For": "198.51.100.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "shop.example",
}


@pytest.fixture
def dressed(serve):
    return serve(APP, args=("--access-logfile", "-", "--access-logformat", "ACCESS %(r)s %(s)s %(B)s"))


PLAIN = {name: value for name, value in HEADERS.items() if name != "Accept-Encoding"}


def ask(site, path):
    with site.request(path, PLAIN) as stream:
        stream.wait_end(5)
        return stream.status, stream.body


def figures(site):
    return json.loads(ask(site, "/figures")[1])


def test_a_stream_is_handed_over_with_everything_that_the_packages_add(dressed):
    with dressed.request("/events?channel=room:1", HEADERS) as stream:
        stream.wait_for(b"ssemux.hello", 3)
        assert figures(dressed)["handed"] == 1
        assert stream.status == 200 and stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["content-encoding"] == "identity"
        assert stream.headers["access-control-allow-origin"] == "https://shop.example"
        assert "default-src" in stream.headers["content-security-policy"]
        assert stream.headers["strict-transport-security"].startswith("max-age=")
        (cookie,) = stream.headers["set-cookie"]
        assert cookie.startswith("session=") and "HttpOnly" in cookie and "Secure" in cookie
        assert ask(dressed, "/say?text=there")[0] == 200
        stream.wait_for(b"data: there\n", 3)
        stream.wait_for(b": heartbeat\n\n", 3)
        line = dressed.server.wait_log(r"ACCESS GET /events\S* HTTP/1.1 (\d+) (\d+)", 2)
        assert line.group(1) == "200" and int(line.group(2)) > 50
    until(lambda: figures(dressed)["streams"] == 0, 3, "the stream lives on")
    assert dressed.server.log.count("ACCESS GET /events") == 1


def test_sentry_gets_the_requests_and_no_error(dressed):
    for _ in range(3):
        with dressed.request("/events?channel=room:1", HEADERS) as stream:
            stream.wait_for(b"ssemux.hello", 3)
    with dressed.request("/events?channel=room:1", HEADERS) as stream:
        stream.wait_for(b": heartbeat\n\n", 5)
        assert ask(dressed, "/boom")[0] == 500
        reported = json.loads(ask(dressed, "/reported")[1])
    events = [item for item in reported if item["name"] == "ssemux.events"]
    assert [(item["type"], item["status"], item["errors"]) for item in events] == [("transaction", "ok", [])] * 4
    assert [item["errors"] for item in reported if item["errors"]] == [["ZeroDivisionError"]]  # it does record errors


def test_flask_compress_skips_streams_even_if_their_type_is_configured(serve):
    """Flask-Compress would hold compressed streams back. Streams name an encoding, so it skips them."""
    site = serve(APP, env={"COMPRESS_MIMETYPES": "text/event-stream", "SSEMUX_TRANSPORT": "handoff"})
    with site.request("/events?channel=room:1", HEADERS) as stream:
        stream.wait_for(b"ssemux.hello", 3)
        assert figures(site)["handed"] == 1
