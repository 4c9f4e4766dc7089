"""Three workers on the default broker: what any process publishes reaches every right stream, in order, once."""

from __future__ import annotations

import subprocess
import sys

from tests.harness.waiting import until

BOTH_TRANSPORTS = True

PLAIN = """
import sys, flask_ssemux
assert "gevent" not in sys.modules or not __import__("gevent.monkey").monkey.is_module_patched("socket")
with flask_ssemux.Publisher(sys.argv[1]) as publisher:
    publisher.publish("room:1", "from a process")
    publisher.send_to_user(1, "for one")
    publisher.broadcast("for all")
"""


def test_events_from_any_worker_the_command_line_and_a_process_arrive(serve, lab_env):
    site = serve(workers=3)
    herd = site.herd(24, lambda i: "/events?channel=room:%d" % (i % 2), headers_of=lambda i: {"X-User": str(i % 4)})
    with herd:
        herd.wait_all(b"ssemux.hello", 5)
        answers = []

        def publish_from_all():
            answers.append(site.post("/publish", channel="room:1", data="from a worker"))
            return len({answer["pid"] for answer in answers}) == 3

        until(publish_from_all, 20, "not all workers answered")
        url = "sqlite:///" + lab_env["INSTANCE_PATH"] + "/ssemux.sqlite3"
        subprocess.run([sys.executable, "-c", PLAIN, url], check=True, timeout=30)
        shell = [sys.executable, "-m", "flask", "ssemux", "publish"]
        for arguments in (["room:0", "from a shell"], ["--user", "2", "for two"], ["--everyone", "the end"]):
            subprocess.run(shell + arguments, check=True, env=lab_env, timeout=30)
        herd.wait_all(b"the end", 10)
        everything = {}
        for i, stream in enumerate(herd):
            events = stream.events()[1:]
            numbers = [int(event.own_id.split("-")[1]) for event in events]
            assert numbers == sorted(set(numbers))
            data = [event.data for event in events]
            from_workers = [event.own_id for event in events if event.data == "from a worker"]
            assert from_workers == ([answer["cursor"] for answer in answers] if i % 2 else [])
            assert ("from a shell" in data) == (i % 2 == 0)
            assert ("from a process" in data) == (i % 2 == 1)
            assert ("for two" in data) == (i % 4 == 2)
            assert ("for one" in data) == (i % 4 == 1)
            assert data[-1] == "the end" and "for all" in data
            everything.setdefault(i % 4, data)
            assert data == everything[i % 4]


def test_a_worker_that_is_killed_loses_nothing(serve):
    site = serve(workers=3)
    with site.herd(12, "/events?channel=room:1") as herd:
        herd.wait_all(b"ssemux.hello", 5)
        first = site.publish("room:1", "before")
        herd.wait_all(b"before", 5)
        victim = site.server.worker_pids()[0]
        subprocess.run(["kill", "-9", str(victim)], check=True)
        until(lambda: any(stream.ended for stream in herd), 5, "no stream ended")
        missed = site.publish("room:1", "while it was away")
        site.server.wait_workers(3, 10, gone=[victim])
        cut = [stream for stream in herd if stream.ended]
        assert 0 < len(cut) < 12
        for stream in cut:
            with site.stream("/events?channel=room:1", last=stream.last_event_id) as again:
                events = again.wait_events(2, 3)
                assert [event.own_id for event in events] == [first, missed]
