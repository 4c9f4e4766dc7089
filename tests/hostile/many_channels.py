"""A worker's broker with many channels, under gevent, whose subscription breaks: what this delays.

``python -m tests.hostile.many_channels URL CHANNELS`` prints figures as JSON: the seconds until the subscription is
back, the loop's longest block, Redis's slowest answer to another process, and what was received.
``test_many_channels.py`` runs it.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402
import redis  # noqa: E402

from flask_ssemux.brokers import open_broker  # noqa: E402
from tests.brokers.recorder import Recorder  # noqa: E402

#: Another process sends this to Redis every 2 ms until it is stopped.
ASK = """
import redis, sys, time, select
asked, slowest = redis.Redis.from_url(sys.argv[1]), 0.0
while not select.select([sys.stdin], [], [], 0.002)[0]:
    began = time.monotonic()
    asked.get("nothing")
    slowest = max(slowest, time.monotonic() - began)
print(slowest)
"""


class Loop:
    """Notes the longest time that the loop took from one turn to the next, in CPU time, so that other load on the
    machine does not count.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        gevent.spawn(self._watch)

    def _watch(self) -> None:
        while True:
            began = time.thread_time()
            gevent.sleep(0.002)
            self.longest = max(self.longest, time.thread_time() - began)


def main(url: str, count: int) -> None:
    broker, publisher, recorder = open_broker(url), open_broker(url), Recorder()
    broker.history.start_delivery(recorder.listener)
    names = ["channel:%d" % number for number in range(count)]
    for start in range(0, count, 1000):
        broker.history.subscribe_channels(names[start : start + 1000])
    for number in range(0, count, max(1, count // 1000)):
        publisher.history.append_event(names[number], b"before")
    recorder.wait(1000, timeout=30)
    asking = subprocess.Popen([sys.executable, "-c", ASK, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    gevent.sleep(0.3)  # it has begun
    loop = Loop()
    began = time.monotonic()
    redis.Redis.from_url(url).execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    for number in range(300):
        publisher.history.append_event(names[number * (count // 300)], b"meanwhile")
    recorder.wait(1300, timeout=60)
    back = time.monotonic() - began
    print(json.dumps({
        "back": back, "loop": loop.longest, "server": float(asking.communicate(b"end")[0]),
        "bodies": sorted({record.body.decode() for record in recorder.records}), "events": len(recorder.records),
        "in_order": recorder.sequences == sorted(set(recorder.sequences)), "gaps": len(recorder.gaps),
        "losses": len(recorder.losses),
    }))  # fmt: skip
    broker.close()
    publisher.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
