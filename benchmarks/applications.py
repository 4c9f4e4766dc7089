"""Measures the CPU time of idle applications in one process, such as the tenants of a dispatcher.

Each measurement runs in a process of its own, ``python -m benchmarks.applications``, in which nothing but the package
works: the streams are those of ``flask_ssemux.testing``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time

from .table import progress, table

#: Seconds until the applications are idle.
CALM = 3.0


def measure_applications(counts: list[int], broker: str, seconds: float) -> str:
    """Return the table."""
    rows = []
    for kind in ("greenlets", "threads"):
        for streams in (0, 1):
            progress("%s, %d streams each" % (kind, streams))
            found = [_run_child(count, kind, streams, broker, seconds) for count in counts]
            rows.append([kind, "one" if streams else "none", *("%.2f" % percent for percent in found)])
    heads = ["%d application%s" % (count, "" if count == 1 else "s") for count in counts]
    return table(["% of a core", "open streams of each", *heads], rows)


def _run_child(*arguments: object) -> float:
    command = [sys.executable, "-m", __name__, *map(str, arguments)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=600).stdout)


def _measure(count: int, streams: int, broker: str, seconds: float, folder: str) -> float:
    """Return how much of a core the applications use, in percent."""
    import flask

    import flask_ssemux
    from flask_ssemux.testing import stream

    opened = []
    for number in range(count):
        app = flask.Flask("app%d" % number, instance_path=os.path.join(folder, str(number)))
        app.config.update(SECRET_KEY="key %d" % number, SSEMUX_BROKER=broker)
        flask_ssemux.init_app(app)
        opened.append(stream(app, user=None))
        assert opened[-1].hello
    for one in () if streams else opened:
        one.close()
    time.sleep(CALM)
    began, used = time.monotonic(), time.process_time()
    time.sleep(seconds)
    return 100 * (time.process_time() - used) / (time.monotonic() - began)


if __name__ == "__main__":
    if sys.argv[2] == "greenlets":
        from gevent import monkey

        monkey.patch_all()
    folder = tempfile.mkdtemp(prefix="ssemux-bench-")
    try:
        print(_measure(int(sys.argv[1]), int(sys.argv[3]), sys.argv[4], float(sys.argv[5]), folder), flush=True)
    finally:
        shutil.rmtree(folder)
        os._exit(0)  # without the end of each stream
