"""Signals of real workers: each stream that was opened is announced as closed, also by a worker that stops."""

from __future__ import annotations

import json
from collections import Counter

from tests.harness.waiting import until


def test_every_stream_is_announced_twice(serve, tmp_path):
    site = serve("tests.apps.signaled:create_app()", workers=2, env={"INSTANCE_PATH": str(tmp_path)})

    def lines():
        path = tmp_path / "signals"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    headers = [{"X-User": str(i)} for i in range(24)]
    with site.herd(24, "/events?channel=room:1", headers_of=headers.__getitem__) as herd:
        herd.wait_all(b"ssemux.hello", 5)
        channels = {str(i): ["room:1", "user:%d" % i, "*"] for i in range(24)}
        assert {user: read for _, user, read in lines()} == channels
        for stream in herd[:4]:
            stream.close()
        until(lambda: len(lines()) == 28, 5, lambda: lines()[24:])
        assert site.server.stop(10)
    closed = [(user, reason) for kind, user, reason in lines() if kind == "closed"]
    assert Counter(user for user, _ in closed) == Counter(channels.keys())
    reasons = Counter(reason for _, reason in closed)
    assert reasons == {"its client left": 4, "this worker stops": 20}
