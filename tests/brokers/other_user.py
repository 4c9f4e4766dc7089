"""Uses stores as a real user without rights, in a process of its own: the tests themselves may run as root.

``python -m tests.brokers.other_user '[[USER, ACTION, FILE…], …]'`` prints a line of JSON for each step: what the action
returned for each file, or the error. Each step runs in a forked child that becomes the user; the modules are imported
before, because the user may not read them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

#: The user whom every Linux has, and who owns nothing.
NOBODY = 65534


def append(path):
    from flask_ssemux.brokers import open_broker

    broker = open_broker("sqlite:///" + path)
    try:
        return str(broker.history.append_event("a", b"x"))
    finally:
        broker.close()


def look(path):
    from flask_ssemux.brokers import open_broker

    broker = open_broker("sqlite:///" + path, is_look=True)
    try:
        broker.reports.read_reports()
        broker.presence.get_presence("a")
        cursor = broker.history.get_newest_cursor()
        broker.history.read_events(["a"], 0, cursor.sequence, 10)
        return broker.get_figures()
    finally:
        broker.close()


def examine(path):
    """What the doctor says of this file."""
    from flask_ssemux.brokers import open_broker
    from flask_ssemux.doctor.broker import check_store

    check = check_store(open_broker("sqlite:///" + path, is_look=True), "sqlite:///" + path)
    return [check.status, check.said, *("%s %s" % (one.text, " ".join(one.lines)) for one in check.advice)]


ACTIONS = {"append": append, "look": look, "examine": examine}


def run_as(user, action, *paths):
    """Return what the action answers for each file: its result, or its error as a text."""
    return run_steps((user, action, *paths))[0]


def run_steps(*steps):
    """Return the answers of several calls as ``run_as`` has them, one after the other."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, json.dumps(steps)], stdout=subprocess.PIPE, text=True, timeout=60
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def folder():
    """A folder that every user may enter, unlike pytest's own."""
    if os.geteuid() != 0:
        text = "this test becomes another user, which takes root"
        pytest.fail(text) if os.environ.get("CI") == "true" else pytest.skip(text)
    made = tempfile.mkdtemp(prefix="ssemux-users-")
    os.chmod(made, 0o755)
    yield made
    shutil.rmtree(made)


def _main(steps):
    import pwd  # noqa: F401  (it is needed when the user is another one)

    from flask_ssemux.brokers import open_broker
    from flask_ssemux.doctor import broker  # noqa: F401

    open_broker("memory:").close()
    for user, action, *paths in steps:
        child = os.fork()
        if not child:
            _run_step(user, ACTIONS[action], paths)
        os.waitpid(child, 0)


def _run_step(user, action, paths):
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    answers = []
    for path in paths:
        try:
            answers.append(action(path))
        except Exception as error:
            answers.append("%s: %s" % (type(error).__name__, error))
    os.write(1, json.dumps(answers).encode() + b"\n")
    os._exit(0)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
