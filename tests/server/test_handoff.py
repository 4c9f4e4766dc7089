"""Connections that are handed over: when that happens, and what can go wrong only with them.

The other files test what every stream does over both transports.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time

import pytest

from tests.harness.packages import need
from tests.harness.waiting import until

REQUEST = b"GET /events?channel=room:1 HTTP/1.1\r\nHost: x\r\n\r\n"

#: Nothing is noticed by a heartbeat.
QUIET = {"SSEMUX_HEARTBEAT": "30", "SSEMUX_CLIENT_TIMEOUT": "120"}


def wait_handed(site, count, seconds=2):
    until(lambda: site.figures()["handed"] == count, seconds, lambda: "%d handed over: %s" % (count, site.figures()))


# -- when --------------------------------------------------------------------


@pytest.mark.parametrize("transport, handed", [("auto", 2), ("handoff", 2), ("generator", 0)])
def test_the_option_decides_about_the_handoff(serve, transport, handed):
    site = serve(transport=transport)
    with site.stream() as new, site.stream(version="1.0") as old:
        for stream in (new, old):
            stream.wait_for(b": heartbeat\n\n", 3)
        assert site.figures()["handed"] == handed
        assert (new.framing, old.framing) == ("chunked", "close")
    assert "is not possible" not in site.server.log


def test_a_client_of_http_1_0_gets_everything_and_a_clean_end(serve):
    site = serve()
    last = site.publish("room:1", "missed")
    site.publish("room:1", "missed too")
    with site.stream("/events?channel=room:1", version="1.0", last=last) as stream:
        stream.wait_for(b"missed too", 2)
        wait_handed(site, 1)
        site.publish("room:1", "live")
        stream.wait_for(b"live", 2)
        site.server.signal(signal.SIGTERM)
        assert stream.wait_end(4) == "clean"
        assert b"\r\n" not in stream.body and stream.ending().comments == (" this worker stops",)


def test_the_connection_of_a_unix_socket_is_handed_over(serve, tmp_path):
    path = str(tmp_path / "sock")
    site = serve(args=("-b", "unix:" + path))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(REQUEST)
        seen = b""
        while seen.count(b": heartbeat\n\n") < 2:
            seen += client.recv(4096)
        assert site.figures()["handed"] == 1
        site.publish("room:1", "there")
        while b"there" not in seen:
            seen += client.recv(4096)
    site.wait_figure("streams", 0, 2)


#: The place of ``tcpi_data_segs_in`` in the kernel's ``struct tcp_info``.
DATA_SEGMENTS = slice(152, 156)


def test_the_head_and_the_opening_frames_come_in_one_packet(serve):
    site = serve()
    with socket.create_connection(("127.0.0.1", site.port)) as client:
        client.sendall(REQUEST)
        wait_handed(site, 1)
        seen = client.recv(65536)
        assert seen.startswith(b"HTTP/1.1 200") and b"ssemux.hello" in seen
        information = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        assert int.from_bytes(information[DATA_SEGMENTS], sys.byteorder) == 1


@pytest.mark.parametrize(
    "wrapper, reason",
    [
        ("passing", None),
        ("prefixing", "something changes this response's body"),
        ("holding", "something holds this response back|something changes this response's body"),
        ("same", "something changes this response's body"),
        ("gzipping", "something changes this response's body"),
    ],
)
def test_a_body_that_a_middleware_changes_goes_by_the_generator(serve, wrapper, reason):
    site = serve("tests.apps.wrapped:create_app()", transport="handoff", env={"WRAPPER": wrapper})
    with site.stream("/events?channel=room:1") as stream:
        stream.wait_headers(3)
        until(lambda: site.figures()["streams"] == 1, 2, "no stream")
        wait_handed(site, 0 if reason else 1)
        site.publish("room:1", "there")
        stream.wait_for(b"there" if wrapper != "gzipping" else lambda s: s.body.count(b"\x1f\x8b") >= 2, 3)
        with site.stream() as other:
            other.wait_headers(3)
    said = "SSEMUX_TRANSPORT='handoff' is not possible here, streams go by the generator: "
    if reason:
        site.server.wait_log(said + "(%s)" % reason, 1)
    assert site.server.log.count(said) == bool(reason)  # once, not for every stream


def test_tls_that_ends_in_gunicorn_goes_by_the_generator(serve, tmp_path):
    openssl = need("openssl", "/usr/bin/openssl")
    key, certificate = str(tmp_path / "key"), str(tmp_path / "certificate")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
        + ["-days", "1", "-subj", "/CN=localhost"],
        check=True,
        capture_output=True,
    )
    site = serve(transport="handoff", args=("--keyfile", key, "--certfile", certificate))
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    with context.wrap_socket(socket.create_connection(("127.0.0.1", site.port), 5)) as client:
        client.sendall(REQUEST)
        seen = b""
        while seen.count(b": heartbeat\n\n") < 2:
            seen += client.recv(4096)
        assert b"ssemux.hello" in seen
    site.server.wait_log("is not possible here, .*: the connection is not a plain one of gevent's", 1)


def test_flask_run_goes_by_the_generator(serve_threads):
    site = serve_threads(env={"SSEMUX_TRANSPORT": "handoff"})
    for _ in range(2):
        with site.stream() as stream:
            stream.wait_for(b": heartbeat\n\n", 3)
    site.server.wait_log("is not possible here, .*: the server is not gunicorn with its gevent worker", 1)
    assert site.server.log.count("is not possible here") == 1


# -- what remains of it in the server --------------------------------------------


def test_streams_leave_the_servers_capacity_to_pages(serve):
    site = serve(args=("--worker-connections", "10"))
    with site.herd(60) as herd:
        herd.wait_all(b"ssemux.hello", 5)
        wait_handed(site, 60)
        assert all(site.get("/ping")["pid"] for _ in range(20))


def test_the_access_log_has_its_line_at_once_and_once(serve):
    site = serve(args=("--access-logfile", "-", "--access-logformat", "ACCESS %(r)s %(s)s %(B)s"))
    with site.stream() as stream:
        stream.wait_for(b"ssemux.hello", 2)
        line = site.server.wait_log(r"ACCESS GET /events HTTP/1.1 200 (\d+)", 1)
        assert int(line.group(1)) == len(stream.body)
        stream.wait_for(b": heartbeat\n\n", 3)
    site.wait_figure("streams", 0, 2)
    assert site.server.log.count("ACCESS GET /events") == 1 and "Traceback" not in site.server.log


def test_a_request_behind_the_streams_is_not_answered_and_not_run(serve):
    """A request that is pipelined behind an endless stream cannot be answered, so gunicorn must not run it."""
    site = serve()
    before = site.publish("room:1", "before")
    with socket.create_connection(("127.0.0.1", site.port)) as client:
        body = b'{"channel":"room:1","data":"smuggled"}'
        head = b"POST /publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        client.sendall(REQUEST + head % len(body) + body)
        seen = b""
        while seen.count(b": heartbeat\n\n") < 2:
            seen += client.recv(4096)
    after = site.publish("room:1", "after")
    assert int(after.split("-")[1]) == int(before.split("-")[1]) + 1


# -- writing -----------------------------------------------------------------------


def test_large_events_go_out_in_parts_and_arrive_whole(serve):
    site = serve(env={"SSEMUX_QUEUE_BYTES": "20000000"})
    with site.stream("/events?channel=room:1", rcvbuf=4096) as slow, site.stream("/events?channel=room:1") as quick:
        for stream in (slow, quick):
            stream.wait_for(b"ssemux.hello", 2)
        wait_handed(site, 2)
        slow.pause()
        site.post("/burst?count=20&size=200000")
        quick.wait_events(21, 10)
        assert len(slow.events()) < 21
        site.publish("room:1", "the last")
        slow.resume()
        for stream in (slow, quick):
            stream.wait_for(b"the last", 20)
            events = stream.events("n")
            assert [len(event.data) for event in events] == [len('{"n":%d,"pad":""}' % n) + 200000 for n in range(20)]
        slow.wait_for(b": heartbeat\n\n", 3)  # it is as before
    site.wait_figure("streams", 0, 2)


def test_a_slow_client_gets_its_clean_end_and_holds_a_deploy_up_for_seconds_only(serve):
    site = serve(env={**QUIET, "SSEMUX_QUEUE_BYTES": "20000000"})
    slow = site.stream("/events?channel=room:1", rcvbuf=4096)
    stuck = site.stream("/events?channel=room:1", rcvbuf=4096)
    try:
        for stream in (slow, stuck):
            stream.wait_for(b"ssemux.hello", 2)
            stream.pause()
        wait_handed(site, 2)
        site.post("/burst?count=12&size=200000")
        site.server.signal(signal.SIGTERM)
        slow.resume()
        assert slow.wait_end(6) == "clean"
        assert len(slow.events("n")) == 12 and slow.ending().comments == (" this worker stops",)
        began = time.monotonic()
        site.server.wait(6)
        assert time.monotonic() - began < 5
    finally:
        slow.close()
        stuck.close()


def test_a_worker_that_ends_before_the_timer_checks_ends_streams_cleanly(serve):
    """gunicorn's loop does not know these connections, and may end at once."""
    site = serve("tests.apps.unwatchful:create_app()")
    with site.herd(40) as herd:
        herd.wait_all(b"ssemux.hello", 5)
        wait_handed(site, 40)
        site.server.signal(signal.SIGTERM)
        until(lambda: all(stream.ended for stream in herd), 5, "streams go on")
        assert {stream.ended for stream in herd} == {"clean"}
        assert {stream.ending().comments for stream in herd} == {(" this worker stops",)}
        site.server.wait(4)


# -- clients that leave --------------------------------------------------------------


def test_five_hundred_leaving_clients_are_noticed_and_their_resources_are_freed(serve):
    site = serve(env=QUIET)

    def open_and_leave():
        herd = site.herd(500)
        herd.wait_all(b"ssemux.hello", 20)
        wait_handed(site, 500)
        opened = site.figures()
        for stream in herd:
            stream._socket.close()
        assert site.wait_figure("streams", 0, 5) < 3
        herd.close()
        return opened, site.figures()

    for _ in range(3):  # until the most memory that is needed at a time was needed once
        _, before = open_and_leave()
    for _ in range(4):
        opened, after = open_and_leave()
        assert opened["files"] == before["files"] + 500
    assert (after["handed"], after["held"]) == (0, 0) and after["files"] <= before["files"] + 1
    assert after["memory"] < before["memory"] + 2000  # 1 KB for each stream


def test_stray_bytes_of_all_kinds_and_a_client_that_has_closed_its_sending_side(serve):
    site = serve(env={"SSEMUX_LIFETIME": "2"})
    with socket.create_connection(("127.0.0.1", site.port)) as client:
        client.sendall(REQUEST)
        seen = client.recv(4096)
        wait_handed(site, 1)
        client.sendall(b"\0\xff" * 100000)  # the worker never reads these bytes while it streams
        while not seen.endswith(b"0\r\n\r\n"):
            came = client.recv(4096)
            assert came, "cut off: %r" % seen[-100:]
            seen += came
        assert b": its lifetime is over" in seen
    site.wait_figure("streams", 0, 2)


def test_a_child_of_the_worker_keeps_no_connection_of_a_client(serve):
    site = serve("tests.apps.forking:create_app()", env=QUIET)
    with site.stream() as stream:
        stream.wait_for(b"ssemux.hello", 2)
        wait_handed(site, 1)
        child = site.get("/fork")
        assert child["sockets"] == 0, child
        site.publish("room:1", "unharmed")
        with site.stream("/events?channel=room:1") as other:
            other.wait_for(b"ssemux.hello", 2)
            site.publish("room:1", "unharmed")
            other.wait_for(b"unharmed", 2)
    site.wait_figure("streams", 0, 2)


def read_answer(client):
    """Return the bytes of one chunked answer."""
    seen = b""
    while not seen.endswith(b"0\r\n\r\n"):
        came = client.recv(65536)
        assert came, "cut off: %r" % seen[-100:]
        seen += came
    return seen


def test_a_stream_that_follows_a_waiting_poll_on_its_connection_is_handed_over(serve):
    site = serve(args=("--keep-alive", "5"), env=QUIET)
    with socket.create_connection(("127.0.0.1", site.port)) as client:
        for _ in range(2):
            client.sendall(b"GET /events?channel=room:1&poll=1 HTTP/1.1\r\nHost: x\r\n\r\n")
            site.wait_figure("streams", 1, 2)
            site.publish("room:1", "news")
            assert b"data: news\n" in read_answer(client)
        client.sendall(REQUEST)
        wait_handed(site, 1)


def limit_files(pid, spare):
    """Let a process open only so many files more."""
    taken = {int(file) for file in os.listdir("/proc/%d/fd" % pid)}
    limit = next(limit for limit in range(10000) if limit - len(taken & set(range(limit))) > spare) - 1
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))


def test_a_connection_is_handed_over_even_if_it_is_the_last_file_that_the_worker_can_open(serve):
    site = serve(env={"SSEMUX_MAX_STREAMS": "100"})
    (worker,) = site.server.worker_pids()
    with site.stream("/events?channel=room:1") as first:
        first.wait_for(b"ssemux.hello", 2)
        wait_handed(site, 1)
        limit_files(worker, 1)
        with site.stream("/events?channel=room:1") as second:
            second.wait_for(b": heartbeat\n\n", 3)
            limit_files(worker, 20)
            wait_handed(site, 2)
            site.publish("room:1", "live")
            second.wait_for(b"data: live\n", 2)
    assert site.wait_figure("streams", 0, 2) < 1
    assert "/flask_ssemux/" not in site.server.log  # gevent itself logs that it cannot accept another connection
