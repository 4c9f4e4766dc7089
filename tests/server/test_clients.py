"""Clients that read slowly, do not read, or vanish silently: what they cost, and that other clients do not notice."""

from __future__ import annotations

import re
import time

from tests.harness.far import FarClient, FarNetwork
from tests.harness.ports import free_port
from tests.harness.waiting import until

#: So few bytes are in flight to a client that its queue fills soon after it stops reading.
SMALL = {"rcvbuf": 4096, "mss": 536}

#: The seconds from the first unacknowledged write until the server gives up: TCP_USER_TIMEOUT.
GIVE_UP = 30.0


def numbers(stream):
    """Return the numbers of the complete events, without a parser, because there are megabytes of them."""
    whole = stream.body.rpartition(b"\n\n")[0]
    return [
        int(number) for number in re.findall(rb"^event: n\n(?:channel: .*\n)?data: .*\nid: \w+-(\d+)$", whole, re.M)
    ]


def memory(pid, name):
    """Return one of the kernel's figures about a process's memory, in MB."""
    with open("/proc/%d/status" % pid) as file:
        return int(re.search(r"%s:\s+(\d+) kB" % name, file.read()).group(1)) / 1024


def test_many_clients_that_stop_reading_cost_little_and_are_cut_off(serve):
    """20 MB are published; each of 40 queues may hold 0.2 MB, and all of them share the same frames."""
    site = serve(env={"SSEMUX_QUEUE_EVENTS": "100", "SSEMUX_QUEUE_BYTES": "200000", "SSEMUX_MAX_EVENT_BYTES": "20000"})
    path = "/events?channel=room:1"
    with site.stream(path) as other, site.herd(40, path, **SMALL) as slow:
        other.wait_for(b"ssemux.hello", 5)
        slow.wait_all(b"ssemux.hello", 10)
        site.publish("room:1", "the first")
        slow.wait_all(b"data: the first\n", 5)
        for stream in slow:
            stream.pause()
        pid = site.figures()["pid"]
        before = memory(pid, "VmRSS")
        for number in range(20):  # in pieces that this client can take
            site.post("/burst?count=100&size=10000")
            site.publish("room:1", "piece %d" % number)
            other.wait_for(b"data: piece %d\n" % number, 10)
        site.publish("room:1", "the last")
        site.wait_figure("streams", 1, 10)
        grown = memory(pid, "VmHWM") - before
        assert grown < 10, "the worker has grown by %.1f MB" % grown
        assert other.longest_silence() < 2 and not other.ended
        assert len(numbers(other)) == 2000
        for stream in slow:
            stream.resume()
        until(lambda: all(stream.ended == "severed" for stream in slow), 20, lambda: str([s.ended for s in slow]))
        for stream in slow.clients[:3]:
            with site.stream(path, last=stream.last_event_id) as again:
                again.wait_for(b"data: the last\n", 30)
                assert numbers(stream) + numbers(again) == numbers(other)


def test_a_client_that_pauses_for_a_moment_keeps_its_stream(serve):
    site = serve(env={"SSEMUX_QUEUE_BYTES": "600000"})
    path = "/events?channel=room:1"
    with site.stream(path) as other, site.stream(path, **SMALL) as stream:
        other.wait_for(b"ssemux.hello", 5)
        stream.wait_for(b"ssemux.hello", 5)
        stream.pause()
        site.post("/burst?count=50&size=10000")
        site.publish("room:1", "the last")
        other.wait_for(b"data: the last\n", 20)
        stream.resume()
        stream.wait_for(b"data: the last\n", 20)
        assert numbers(stream) == list(range(1, 51)) and not stream.ended


def test_clients_that_vanish_or_do_not_read_are_closed(serve, running):
    """Three clients at once, because the test is slow: two whose network is cut, one of them with a write that blocks
    in the worker, and one whose network works but who does not read.
    """
    network = running(FarNetwork())
    port = free_port()
    site = serve(args=("-b", "%s:%d" % (network.address, port)))
    with site.stream("/events?channel=room:2", user="near") as other:
        other.wait_for(b"ssemux.hello", 5)
        before = site.figures()
        running(FarClient(network, port, "/events", user="quiet"))
        running(FarClient(network, port, "/events?channel=room:1", user="busy"))
        deaf = site.stream("/events?channel=room:1", user="deaf", **SMALL)
        deaf.wait_for(b"ssemux.hello", 5)
        site.wait_figure("streams", 4, 5)
        site.wait_figure("held", 4, 5)
        deaf.pause()
        network.cut()
        started = time.monotonic()
        site.post("/burst?count=3&size=200000")  # more than the kernel takes, less than fills a queue
        time.sleep(GIVE_UP / 2)  # not too early: a train may only be in a tunnel
        assert site.figures()["streams"] == 4
        site.wait_figure("streams", 1, GIVE_UP)
        # A heartbeat after the cut is the first write that is not acknowledged.
        assert time.monotonic() - started < GIVE_UP + 4
        site.wait_figure("held", 1, 5)
        until(lambda: site.figures()["files"] <= before["files"], 5, lambda: "%s, then %s" % (before, site.figures()))
        site.publish("room:2", "still there")
        other.wait_for(b"still there", 5)
        assert other.longest_silence() < 2 and not other.ended
        deaf.close()
