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


def process(script, *args):
    return subprocess.Popen([sys.executable, "-c", script, *map(str, args)], stdout=subprocess.PIPE, text=True)
