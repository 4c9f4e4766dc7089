"""A worker with many channels whose subscription to Redis breaks: neither its loop nor Redis is blocked."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.harness.redis import RedisServer

CHANNELS = 40000


def test_many_channels_are_subscribed_to_again_while_others_run(running):
    server = running(RedisServer(aof=False))
    command = [sys.executable, "-m", "tests.hostile.many_channels", server.url, str(CHANNELS)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60)
    found = json.loads(done.stdout)
    assert found["bodies"] == ["before", "meanwhile"] and found["events"] == 1300 and found["in_order"]
    assert found["gaps"] == 0 and found["losses"] == 1
    assert found["loop"] < 0.1
    assert found["server"] < 0.3  # mostly Redis, which removes the old connection's subscriptions
    assert found["back"] < 5
