"""Measures runs: how much of a core a worker needs that executes many of them, and whether its memory grows.

Each run yields a token every few milliseconds, as a language model does, and each has so many readers. What the
generators themselves cost, with their pauses, is measured in the same worker without runs.
"""

from __future__ import annotations

import http.client
import json
import selectors
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any

from . import process
from .child import ROOT
from .contenders import Contender, list_brokers
from .servers import Server
from .table import percentile, progress, table

#: Seconds before the measurement, in which everything is opened.
BEFORE = 3.0

HEAD = ("broker", "readers of each", "% of a core", "tokens a second", "token to reader p50 ms", "p99 ms", "MB at the "
        "beginning", "at the end")  # fmt: skip


def measure_runs(runs: int, rate: float, seconds: float, brokers: list[str], readers: list[int]) -> str:
    """Return the table."""
    ours, theirs = process.choose_cores()
    rows = []
    with ExitStack() as stack:
        for name, contender in list_brokers(stack, brokers, theirs):
            progress("%s: generators without runs" % name)
            rows.append([name, "no runs", *_measure(contender, runs, rate, seconds, None, ours, theirs)])
            for count in readers:
                progress("%s: %d readers of each" % (name, count))
                rows.append([name, str(count), *_measure(contender, runs, rate, seconds, count, ours, theirs)])
    return table(("%d runs, %g tokens a second" % (runs, rate), *HEAD[1:]), rows)


def _measure(
    contender: Contender, runs: int, rate: float, seconds: float, readers: int | None, ours: int, theirs: int
) -> list[str]:
    total = BEFORE + seconds + 2
    with Server(contender, ours) as server:
        path = "/run?rate=%g&count=%d" % (rate, rate * total)
        urls = [_ask(server.port, path + ("&bare" if readers is None else "")) for _ in range(runs)]
        command = [sys.executable, "-m", "benchmarks.runs", str(server.port), str(BEFORE + seconds), str(readers or 0)]
        reader = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=process.pin_child(theirs)
        )
        assert reader.stdin is not None
        reader.stdin.write(json.dumps(urls).encode())
        reader.stdin.close()
        time.sleep(BEFORE)
        before, began, spent = process.read_memory(server.pid), time.monotonic(), server.cpu()
        time.sleep(seconds)
        took, spent, after = time.monotonic() - began, server.cpu() - spent, process.read_memory(server.pid)
        assert reader.stdout is not None
        late = json.loads(reader.stdout.read())
        reader.wait()
    return [
        "%.0f" % (spent / took * 100), "%.0f" % (len(late) / seconds) if late else "-",
        *("%.0f" % (1000 * percentile(late, part)) if late else "-" for part in (0.5, 0.99)),
        "%.1f" % (before / 1024), "%.1f" % (after / 1024),
    ]  # fmt: skip


def _ask(port: int, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    found = json.load(connection.getresponse())["url"]
    connection.close()
    return found


def _read_runs(port: int, seconds: float, readers: int, urls: list[str]) -> list[float]:
    """Read runs for so long; return how many seconds after its yield each token came."""
    selector, late = selectors.DefaultSelector(), []
    for url in urls * readers:
        stream = socket.create_connection(("127.0.0.1", port))
        stream.sendall(b"GET %s HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n" % url.encode("ascii"))
        selector.register(stream, selectors.EVENT_READ)
    deadline, counts_from = time.monotonic() + seconds, time.monotonic() + BEFORE
    while time.monotonic() < deadline:
        for key, _ in selector.select(0.1):
            now, came = time.time(), key.fileobj.recv(65536)  # type: ignore[union-attr]
            if time.monotonic() < counts_from:
                continue
            # A token whose line was cut by the end of what was read is not counted.
            late += [now - float(part.partition(b",")[0]) for part in came.split(b'"at":')[1:] if b"," in part]
    return late


if __name__ == "__main__":
    print(json.dumps(_read_runs(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), json.load(sys.stdin))))
