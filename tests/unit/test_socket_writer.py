"""A socket writer on socket pairs, in a process that gevent has patched: chunks, slow clients, ends.

gevent patches a whole process, so each case is a script in a process of its own, which also reads as the client.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

BEGIN = """
import gevent.monkey
gevent.monkey.patch_all()
import gc, os, socket, time
import gevent
from flask_ssemux.hub.stream_state import CLOSED, CLOSING, LIVE
from flask_ssemux.hub.limits import StreamLimits
from flask_ssemux.hub.stream import Stream
from flask_ssemux.transports import socket_writer as module

def stream_on(writer, events=1000, size=10**6):
    ours, theirs = socket.socketpair()
    stream = Stream(("*",), None, StreamLimits(events, size, 20.0, b": heartbeat\\n\\n"), time.monotonic())
    stream.opening = iter(())
    stream.take_bytes(0.0)
    file = os.dup(ours.fileno())
    ours.close()
    assert writer.adopt_stream(stream, file) and stream.file == file
    return stream, theirs

def all_of(theirs):
    seen = b""
    theirs.settimeout(2)
    while True:
        came = theirs.recv(1 << 16)
        if not came:
            return seen
        seen += came

def turn():
    "Let the gevent loop report what happened, and the background work end."
    gevent.sleep(0.05)

chunked, plain = module.get_socket_writer(True), module.get_socket_writer(False)
"""


def run(script):
    done = subprocess.run([sys.executable, "-c", BEGIN + textwrap.dedent(script)], capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()


def test_frames_become_chunks_and_the_body_ends_with_the_last_chunk():
    run(
        """
        for writer, expected in (
            (chunked, b"5\\r\\nhello\\r\\nB\\r\\nhello again\\r\\n3\\r\\nbye\\r\\n0\\r\\n\\r\\n"),
            (plain, b"hellohello againbye"),
        ):
            stream, theirs = stream_on(writer)
            closed = []
            stream.on_closed = closed.append
            stream.offer(b"hello")
            stream.offer(b"hello again")
            assert len(writer) == 1
            stream.close("drain", b"bye")
            assert all_of(theirs) == expected
            turn()
            assert (len(writer), closed, stream.state, stream.file) == (0, [stream], CLOSED, -1)
        """
    )


def test_an_end_without_a_last_frame():
    run(
        """
        for writer, expected in ((chunked, b"0\\r\\n\\r\\n"), (plain, b"")):
            stream, theirs = stream_on(writer)
            stream.close("drain")
            assert all_of(theirs) == expected
        """
    )


def test_a_chunk_is_made_once_for_all_streams():
    run(
        """
        made = []
        inner = chunked._make_chunk
        chunked._make_chunk = lambda frame: made.append(frame) or inner(frame)
        streams = [stream_on(chunked) for _ in range(5)]
        for frame in (b"one", b"two"):
            for stream, _ in streams:
                stream.offer(frame)
        assert made == [b"one", b"two"]
        assert all(theirs.recv(100) == b"3\\r\\none\\r\\n3\\r\\ntwo\\r\\n" for _, theirs in streams)
        """
    )


def test_frames_that_a_client_does_not_take_wait_and_are_written_together():
    run(
        """
        stream, theirs = stream_on(plain)
        frames = [b"%06d" % n * 1000 for n in range(150)]
        for frame in frames:
            stream.offer(frame)
        frames_left, bytes_left = stream.queue_size
        assert 0 < frames_left < 150 and 0 < bytes_left < 900000
        writes = []
        inner = os.writev
        os.writev = lambda file, parts: writes.append(len(parts)) or inner(file, parts)
        seen = b""
        theirs.settimeout(2)
        while len(seen) < 900000:
            seen += theirs.recv(1 << 20)
        assert seen == b"".join(frames)
        turn()
        assert stream.queue is None and stream.queue_size == (0, 0)
        assert len(writes) < frames_left / 2, writes  # many in one
        stream.offer(b"as before")
        assert theirs.recv(100) == b"as before"
        """
    )


def test_waiting_frames_of_latest_events_are_replaced_by_newer_ones_and_never_in_part():
    run(
        """
        from flask_ssemux.sse.encode import LatestFrame
        for writer in (plain, chunked):
            stream, theirs = stream_on(writer, events=6)
            for number in range(2000):
                stream.offer(LatestFrame.of(b"p%05d" % number * 1000, ("a", "p")))
                if number % 500 == 0:
                    stream.offer(b"o%05d" % number * 1000)
            assert stream.state is LIVE and stream.queue_size[0] <= 6, stream.reason
            stream.close("done")
            seen = all_of(theirs)
            if writer.chunked:
                body, rest = b"", seen
                while rest:
                    size, _, rest = rest.partition(b"\\r\\n")
                    body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
                seen = body
            words = [seen[start : start + 6000] for start in range(0, len(seen), 6000)]
            assert all(word == word[:6] * 1000 for word in words)
            names = [word[:6].decode() for word in words]
            assert [name for name in names if name[0] == "o"] == ["o%05d" % n for n in range(0, 2000, 500)]
            bars = [name for name in names if name[0] == "p"]
            assert bars == sorted(set(bars)) and bars[-1] == "p01999" and len(bars) < 200
        """
    )


def test_a_clean_end_comes_after_the_frames_that_wait():
    run(
        """
        stream, theirs = stream_on(chunked)
        for _ in range(150):
            stream.offer(b"x" * 6000)
        stream.close("drain", b"bye")
        turn()
        assert len(chunked) == 1 and stream.state is CLOSING
        turn()
        assert len(chunked) == 1
        seen = all_of(theirs)
        assert seen.count(b"1770\\r\\n") == 150 and seen.endswith(b"\\r\\n3\\r\\nbye\\r\\n0\\r\\n\\r\\n")
        turn()
        assert len(chunked) == 0 and stream.state is CLOSED
        """
    )


def test_a_client_that_is_too_slow_is_cut_and_its_queue_freed():
    run(
        """
        stream, theirs = stream_on(chunked, size=100000)
        for _ in range(1000):
            stream.offer(b"x" * 6000)
        assert stream.state is CLOSING and "reads too slowly" in stream.reason
        assert (len(chunked), stream.queue_size) == (0, (0, 0))
        assert not all_of(theirs).endswith(b"0\\r\\n\\r\\n")
        turn()
        assert stream.state is CLOSED
        """
    )


@pytest.mark.parametrize("leave", ["close()", "shutdown(socket.SHUT_WR)", "shutdown(socket.SHUT_RDWR)"])
def test_a_client_that_leaves_is_noticed_without_a_write(leave):
    run(
        """
        kept, leaving = stream_on(chunked), [stream_on(chunked) for _ in range(300)]
        before = len(os.listdir("/proc/self/fd"))
        closed = []
        for stream, theirs in leaving:
            stream.on_closed = closed.append
            theirs.%s
        turn()
        turn()
        assert len(closed) == 300 and len(chunked) == 1
        assert {stream.reason for stream, _ in leaving} == {"its client left"}
        kept[0].offer(b"here")
        assert kept[1].recv(100) == b"4\\r\\nhere\\r\\n"
        """
        % leave
    )


def test_a_write_to_a_client_that_has_left_ends_the_stream():
    run(
        """
        stream, theirs = stream_on(chunked)
        theirs.close()
        stream.offer(b"too late")
        assert (stream.reason, stream.file, len(chunked)) == ("its client left: Broken pipe", -1, 0)
        stream.offer(b"and later")
        stream.close("drain", b"bye")
        turn()
        assert stream.state is CLOSED

        stream, theirs = stream_on(chunked)
        theirs.close()
        stream.close("drain", b"bye")
        turn()
        assert (stream.state, len(chunked)) == (CLOSED, 0)
        """
    )


def test_bytes_that_a_client_sends_cost_no_cpu_time():
    run(
        """
        stream, theirs = stream_on(chunked)
        turn()
        before = time.process_time()
        for _ in range(100):
            theirs.send(b"stray")
        gevent.sleep(0.5)
        assert time.process_time() - before < 0.25
        assert len(chunked) == 1 and stream.state is LIVE
        stream.offer(b"there")
        stream.close("drain")
        assert all_of(theirs) == b"5\\r\\nthere\\r\\n0\\r\\n\\r\\n"
        """
    )


def test_nothing_keeps_a_stream_that_has_ended():
    run(
        """
        import weakref
        stream, theirs = stream_on(chunked)
        stream.offer(b"x")
        gone = weakref.ref(stream)
        theirs.close()
        del stream
        turn()
        gc.collect()
        assert gone() is None
        """
    )


def test_another_loop_gets_no_writer():
    run(
        """
        def other():
            return module.get_socket_writer(True), module.get_socket_writer(False)
        assert gevent.get_hub().threadpool.apply(other) == (None, None)
        """
    )


def test_a_forked_child_has_none_of_the_connections_and_harms_none():
    run(
        """
        stream, theirs = stream_on(chunked)
        def has(link):
            files = ["/proc/self/fd/" + file for file in os.listdir("/proc/self/fd")]
            return link in [os.readlink(file) for file in files if os.path.exists(file)]
        link = os.readlink("/proc/self/fd/%d" % stream.file)
        child = os.fork()
        if child == 0:
            os._exit(has(link) or module.count_connections())
        # gevent's waitpid listens to the signal only after the fork, and misses a child that ends quickly.
        assert gevent.monkey.get_original("os", "waitpid")(child, 0)[1] == 0
        stream.offer(b"unharmed")
        assert theirs.recv(100) == b"8\\r\\nunharmed\\r\\n"
        theirs.close()
        turn()
        assert module.count_connections() == 0
        """
    )


def test_an_error_of_one_connection_does_not_affect_the_others():
    """gevent would stop the watcher of all connections, and the kernel reports each departure once."""
    run(
        """
        import logging
        logging.disable(logging.CRITICAL)
        aborted, abort = [], Stream.abort

        def fail_first(stream, reason):
            aborted.append(stream)
            if len(aborted) == 1:
                raise OSError("it cannot be ended")
            abort(stream, reason)

        Stream.abort = fail_first
        streams = [stream_on(chunked) for _ in range(4)]
        for _, theirs in streams[:3]:
            theirs.close()
        turn()
        assert len(aborted) == 3 and sum(stream.state is CLOSED for stream, _ in streams) == 2
        streams[3][1].close()
        turn()
        assert streams[3][0].state is CLOSED
        """
    )
