"""All clients of a worker come back at once: each channel's history is read from the store once, not once per
client.
"""

from __future__ import annotations

import random

import pytest

from tests.harness.engines import ALL

CLIENTS = 1000


@pytest.mark.engines("sqlite", "postgres", "cluster", within=ALL)
def test_a_thousand_clients_that_return_at_once_read_the_history_once(serve):
    site = serve(env={"SSEMUX_HEARTBEAT": "10", "SSEMUX_CLIENT_TIMEOUT": "60"}, args=("--backlog", "4096"))
    with site.stream("/events?channel=room:1") as first:
        first.wait_for(b"ssemux.hello", 3)
        site.post("/burst?count=300")
        cursors = [event.own_id for event in first.wait_events(301, 10)]
    before = site.figures()["reads"]
    numbers = [random.Random(number).randrange(200, 301) for number in range(CLIENTS)]
    with site.herd(
        CLIENTS, "/events?channel=room:1", headers_of=lambda i: {"Last-Event-ID": cursors[numbers[i]]}, timeout=30
    ) as herd:
        live = site.publish("room:1", "live")
        herd.wait_all(live.encode(), 40)
        for i, stream in enumerate(herd):
            hello, *events = stream.events()
            expected = cursors[numbers[i] + 1 :] + [live]
            assert [event.own_id for event in events] == expected, i
            assert hello.event == "ssemux.hello"
        # One read for each cursor that is older than all before it, and one for each live event that the clients met as
        # the newest. One read per client would be a thousand.
        assert site.figures()["reads"] - before < 30
