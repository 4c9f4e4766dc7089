"""What a stream holds, and that it gives it back: contexts, sessions, files, capacity."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

BOTH_TRANSPORTS = True

IDLE = {"SSEMUX_HEARTBEAT": "30", "SSEMUX_CLIENT_TIMEOUT": "120"}


@pytest.fixture(params=["generator", "handoff", "flask run"])
def quiet(request):
    """A site with a long heartbeat interval: nothing is noticed by writing."""
    if request.param == "flask run":
        return request.getfixturevalue("serve_threads")(env=IDLE)
    return request.getfixturevalue("serve")(env=IDLE, transport=request.param)


def test_fifty_streams_share_a_pool_of_two_database_connections(serve):
    """tests/apps/pooled.py looks up each stream's user in the database; the pool has two connections."""
    site = serve("tests.apps.pooled:create_app()")
    with site.herd(50, lambda i: "/events?user=%d" % (i % 5)) as herd:
        herd.wait_all(b"ssemux.hello", 10)
        assert {stream.status for stream in herd} == {200}
        assert site.get("/pool") == {"checked_out": 0, "contexts": 0}


def test_a_client_that_leaves_is_noticed_at_once(quiet):
    streams = [quiet.stream() for _ in range(5)]
    for stream in streams:
        stream.wait_for(b"ssemux.hello", 2)
    quiet.wait_figure("streams", 5, 2)
    for stream in streams:
        stream.close()
    assert quiet.wait_figure("streams", 0, 3) < 2


def test_a_client_that_resets_its_connection_is_noticed_at_once(quiet):
    stream = quiet.stream()
    stream.wait_for(b"ssemux.hello", 2)
    stream.close(reset=True)
    assert quiet.wait_figure("streams", 0, 3) < 2


def test_stray_bytes_from_a_client_do_no_harm(serve):
    site = serve()
    with socket.create_connection(("127.0.0.1", site.port)) as connection:
        connection.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        seen = connection.recv(4096)
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        while seen.count(b": heartbeat\n\n") < 2:
            seen += connection.recv(4096)
        assert b"pid" not in seen
        busy = cpu(site.figures()["pid"])
        while seen.count(b": heartbeat\n\n") < 4:
            seen += connection.recv(4096)
        assert cpu(site.figures()["pid"]) - busy < 1.0  # a watcher that spins would take all of the two seconds
    site.wait_figure("streams", 0, 5)


def cpu(pid):
    """Return the process's seconds of CPU time."""
    with open("/proc/%d/stat" % pid) as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_closed_streams_give_back_files_threads_and_capacity(quiet):
    warm = [quiet.stream(user="7") for _ in range(3)]
    for stream in warm:
        stream.wait_for(b"ssemux.hello", 2)
        stream.close()
    quiet.wait_figure("streams", 0, 5)
    before = quiet.figures()
    for _ in range(5):
        streams = [quiet.stream(user="7") for _ in range(20)]
        for stream in streams:
            stream.wait_for(b"ssemux.hello", 3)
        assert quiet.figures()["held"] == 20
        for stream in streams:
            stream.close()
        quiet.wait_figure("streams", 0, 5)
        quiet.wait_figure("held", 0, 5)
    after = quiet.figures()
    assert after["files"] <= before["files"] + 1 and after["threads"] <= before["threads"] + 1


def test_an_idle_stream_costs_one_file(serve):
    site = serve()
    with site.herd(1) as herd:
        herd.wait_all(b"ssemux.hello", 2)
        one = site.figures()["files"]
    site.wait_figure("streams", 0, 3)
    with site.herd(41) as herd:
        herd.wait_all(b"ssemux.hello", 5)
        assert site.figures()["files"] == one + 40


def test_only_building_the_application_opens_nothing(lab_env):
    script = (
        "import os, threading\n"
        "before = set(os.listdir('/proc/self/fd'))\n"
        "import tests.apps.lab as lab; app = lab.create_app()\n"
        "assert threading.active_count() == 1\n"
        "assert not os.listdir(os.environ['INSTANCE_PATH'])\n"
        "assert set(os.listdir('/proc/self/fd')) <= before, os.listdir('/proc/self/fd')\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=lab_env, timeout=30)


@pytest.mark.any_transport
def test_preloaded_applications_open_their_store_in_each_worker(serve):
    site = serve("tests.apps.preloaded:app", workers=2, args=("--preload",))
    with site.herd(12, "/events?channel=room:1") as herd:
        herd.wait_all(b"ssemux.hello", 5)
        site.publish("room:1", "to all")
        herd.wait_all(b"to all", 5)


def test_a_client_that_does_not_read_is_cut_off_and_others_do_not_notice(serve):
    site = serve(env={"SSEMUX_QUEUE_EVENTS": "50", "SSEMUX_QUEUE_BYTES": "200000", "SSEMUX_MAX_EVENT_BYTES": "20000"})
    slow = site.stream("/events?channel=room:1", rcvbuf=4096)
    slow.wait_for(b"ssemux.hello", 2)
    slow.pause()
    with site.stream("/events?channel=room:1") as other:
        other.wait_for(b"ssemux.hello", 2)
        for number in range(1, 11):
            site.post("/burst?count=100&size=9000")
            other.wait_events(100 * number, 10, name="n")
        assert site.wait_figure("streams", 1, 5) < 5
        assert other.longest_silence() < 5  # the heartbeat is 1 s; a write to the slow one may take 30 s
    slow.resume()
    assert slow.wait_end(5) == "severed"
    seen = slow.last_event_id
    with site.stream("/events?channel=room:1", last=seen) as again:
        count = len(slow.events("n"))
        assert 0 < count < 1000
        events = again.wait_events(1000 - count, 20, name="n")
        assert int(events[0].own_id.split("-")[1]) == int(seen.split("-")[1]) + 1
    slow.close()
