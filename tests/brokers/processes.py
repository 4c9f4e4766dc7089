"""Other processes that use a test's store."""

from __future__ import annotations

import subprocess
import sys

APPEND = """
import sys
from flask_ssemux.brokers import open_broker
broker = open_broker(sys.argv[1])
for number in range(int(sys.argv[3])):
    print(broker.history.append_event(sys.argv[2], b"%d" % number).sequence, flush=True)
"""

#: Appends ten events at a time, and prints the last sequence.
APPEND_SEVERAL = """
import sys
from flask_ssemux.brokers import NewEvent, open_broker
broker = open_broker(sys.argv[1])
for _ in range(int(sys.argv[3])):
    cursors = broker.history.append_events([NewEvent(sys.argv[2], b"%d" % number) for number in range(10)])
    print(cursors[-1].sequence, flush=True)
"""


def process(script, *args):
    return subprocess.Popen([sys.executable, "-c", script, *map(str, args)], stdout=subprocess.PIPE, text=True)
