"""A progress bar that changes faster than its client reads: the client keeps its stream and all its other events."""

from __future__ import annotations

import json

from tests.server.test_presence import ATTENDED

BOTH_TRANSPORTS = True

PATH = "/events?channel=room:1"
SMALL = {"rcvbuf": 4096, "mss": 536}


def bars(stream):
    return [json.loads(event.data)["n"] for event in stream.events("bar")]


def test_a_client_that_cannot_follow_keeps_its_stream_and_ends_with_the_newest(serve):
    site = serve(ATTENDED, env={"SSEMUX_QUEUE_EVENTS": "10"})
    with site.stream(PATH) as quick, site.stream(PATH, **SMALL) as slow:
        for stream in (quick, slow):
            stream.wait_for(b"ssemux.hello", 2)
        slow.pause()
        site.post("/bars?count=3000&size=2000")
        site.publish("room:1", "the end")
        quick.wait_for(b"the end", 10)
        slow.resume()
        slow.wait_for(b"the end", 10)
        for stream in (quick, slow):
            assert not stream.ended
            numbers = bars(stream)
            assert numbers == sorted(set(numbers)) and numbers[-1] == 2999
            assert [event.data for event in stream.events("ordinary")] == ["0", "1000", "2000"]
        assert len(bars(slow)) < 2900, "it was not slow"


def test_a_new_client_gets_the_newest_at_once_and_a_returning_client_only_what_it_missed(serve):
    site = serve(ATTENDED, workers=2)
    site.post("/bars?count=100&size=10")
    with site.herd(6, PATH) as herd:  # on both workers
        herd.wait_all(lambda stream: bars(stream) == [99], 5)
        assert all(stream.events("ordinary") == [] for stream in herd)
        last = herd[0].last_event_id
    with site.stream(PATH, last=last) as again:
        again.wait_for(b"ssemux.hello", 2)
        site.post("/bars?count=1&size=10")
        again.wait_for(b"ordinary", 2)
        assert bars(again) == [0]
