"""A process that forks while it waits for a busy SQLite file."""

from __future__ import annotations

import subprocess
import sys

THREAD_FORKS = """
import os, sqlite3, sys, time
from gevent import monkey
monkey.patch_all()
import gevent
sleep, fork, waitpid = (monkey.get_original(*name) for name in (("time", "sleep"), ("os", "fork"), ("os", "waitpid")))
os.register_at_fork(before=lambda: sleep(0.2))  # called after those of the modules that are imported below
import flask_ssemux

def fork_here():
    child = fork()
    if child == 0:
        os._exit(0)
    waitpid(child, 0)

with flask_ssemux.Publisher("sqlite:///" + sys.argv[1]) as publisher:
    publisher.publish("a", "first")
    other = sqlite3.connect(sys.argv[1], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waits = gevent.spawn(publisher.publish, "a", "waits")
    gevent.sleep(0)
    gevent.get_hub().threadpool.spawn(fork_here).get()
    other.execute("ROLLBACK")
    print(waits.get())
"""


def test_a_greenlet_that_waits_for_a_busy_store_goes_on_after_a_fork_in_a_thread(tmp_path):
    """gevent's loop runs between the closing of the file for the fork and the fork."""
    command = [sys.executable, "-c", THREAD_FORKS, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, timeout=30)
    assert done.stdout.endswith(b"-2\n") and not done.stderr, done.stderr.decode()
