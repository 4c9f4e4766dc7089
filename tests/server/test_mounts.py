"""An application below a prefix: its streams, the client's modules, the status page and the URLs of ``url_for``."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.harness.waiting import until

#: The application, its server's environment, the prefix in requests, and their headers.
MOUNTS = {
    "middleware": ("dispatched", {}, "/shop", {}),
    "gunicorn": ("create_app", {"SCRIPT_NAME": "/shop"}, "/shop", {}),
    "proxy": ("forwarded", {}, "", {"X-Forwarded-Prefix": "/shop"}),
}


@pytest.fixture(params=MOUNTS)
def mounted(request, serve, tmp_path):
    """The site, the prefix in requests, and their headers."""
    factory, env, prefix, headers = MOUNTS[request.param]
    env = {"SSEMUX_RECHECK": "1", "INSTANCE_PATH": str(tmp_path), **env}
    return serve("tests.apps.mounted:%s()" % factory, env=env), prefix, headers


def test_an_application_below_a_prefix(mounted):
    site, prefix, headers = mounted

    def get(path):
        request = urllib.request.Request("http://127.0.0.1:%d%s%s" % (site.port, prefix, path), headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    paths = ["/events?channel=room:1", "/rooms/1/stream"]
    with site.request(prefix + paths[0], headers) as one, site.request(prefix + paths[1], headers) as other:
        for stream in (one, other):
            stream.wait_for(b"ssemux.hello", 5)
        found = json.loads(get("/urls"))
        assert found["urls"] == [
            "/shop/events",
            "/shop/events/ssemux.js",
            "/shop/events/status",
            "/shop/rooms/1/stream",
        ]
        for stream in (one, other):
            stream.wait_for(b"data: x\n", 5)
        for path in ("/events/ssemux.js", "/events/ssemux-poll.js", "/events/status", "/events/status.js"):
            get(path)
        (worker,) = json.loads(get("/events/status.json"))["workers"]
        assert (worker["streams"], worker["handed_over"]) == (2, 2)
        until(lambda: len(json.loads(get("/urls"))["asked"]) > 4, 10, "the streams are checked again")
        assert set(json.loads(get("/urls"))["asked"]) == {"/shop"}
        assert not one.ended and not other.ended
