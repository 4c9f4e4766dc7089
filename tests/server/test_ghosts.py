"""Streams that no server sends or closes: a step after the view fails, or middleware does not pass ``close()`` on.

Each gives back its server capacity, its user slot and its presence within seconds, without the garbage collector, and
users with other streams stay present (tests/apps/ghostly.py).
"""

from __future__ import annotations

import pytest

from flask_ssemux.hub.limits import BEGIN_TIMEOUT, CHECK_AGAIN
from tests.harness.waiting import until

APP = "tests.apps.ghostly:create_app()"

#: How the steps after the view fail.
FAILURES = ["session", "after_request", "middleware", "replace"]

#: The paths whose streams are counted.
PATHS = ["/events?user=ann", "/events?user=ann&poll=1", "/old?user=ann"]

#: Streams that end by themselves, or with an error, and that no server closes.
ENDS = ["/old?fail=unclosed", "/old/halt?fail=unclosed", "/events?user=ann&poll=now&fail=unclosed"]

#: Bob's two streams, one of them an old one.
BACK = {"streams": 2, "held": 1, "presence": {"bob": 1}}

#: The maximum until everything is given back, in seconds, with a margin for a busy machine.
SOON = BEGIN_TIMEOUT + CHECK_AGAIN + 2.0


@pytest.fixture(params=["generator", "handoff", "threads"])
def site(request):
    if request.param == "threads":
        site = request.getfixturevalue("serve_threads")(APP)
    else:
        site = request.getfixturevalue("serve")(APP, transport=request.param)
    site.kind = request.param
    return site


def test_streams_that_are_never_sent_or_closed_give_back_what_they_took(site):
    with site.stream("/events?user=bob") as bob, site.stream("/old/ticks?user=bob") as ticks:
        bob.wait_for(b"ssemux.hello", 3)
        ticks.wait_for(b"data: tick", 3)
        ghosts = [site.stream("%s&fail=%s" % (path, failure)) for path in PATHS for failure in FAILURES]
        unclosed = [site.stream(path) for path in ENDS]
        cut = [site.stream(path + "&fail=unclosed") for path in ("/events?user=cut", "/old/ticks?user=cut")]
        for stream in cut:
            stream.wait_for(b"data: ", 3)
            stream.close()
        ended = site.stream("/events?user=ended&fail=unclosed")
        ended.wait_for(b"ssemux.hello", 3)
        site.stream("/disconnect?user=ended").wait_end(3)
        dropped = [site.stream("/events?user=dropped&fail=dropped")] if site.kind != "handoff" else []
        for stream in [*ghosts, *unclosed, ended, *dropped]:
            stream.wait_end(10)
        until(lambda: site.get("/figures") == BACK, SOON, lambda: site.get("/figures"))
        assert not bob.ended and not ticks.ended
