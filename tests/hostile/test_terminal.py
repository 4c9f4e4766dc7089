"""What publishers and foreign servers send, on the terminal of the person who looks: nothing that controls a
terminal.
"""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
import threading

import pytest

from tests.harness.servers import ROOT, environment
from tests.hostile.conftest import FORTRESS

HOSTILE = "a\x1b[2J\x1b]0;owned\x07b\x08\x9b31mc\u202ed\x7f\ttab\r\nnext"


@pytest.fixture(scope="module")
def env(fortress):
    site = fortress()
    site.publish(["room:\x1b[2J", HOSTILE, "e\x1b[2J"])
    return environment({"FLASK_APP": FORTRESS, "INSTANCE_PATH": site.server.env["INSTANCE_PATH"]})


def on_a_terminal(env, *arguments):
    """Return what the command writes to its terminal."""
    ours, its = pty.openpty()
    try:
        command = [sys.executable, "-m", "flask", "ssemux", *arguments]
        process = subprocess.Popen(command, cwd=str(ROOT), env=env, stdin=its, stdout=its, stderr=its)
        os.close(its)
        written = b""
        try:
            while True:
                written += os.read(ours, 65536)
        except OSError:  # how Linux reports the end of a terminal
            pass
        process.wait(10)
    finally:
        os.close(ours)
    return written.decode("utf-8")


TAIL = ("tail", "room:\x1b[2J", "--after", "0", "--no-follow")


def test_tail_on_a_terminal(env):
    written = on_a_terminal(env, *TAIL)
    assert r"data: a\x1b[2J\x1b]0;owned\x07b\x08\x9b31mc\u202ed\x7f" in written and r"(room:\x1b[2J)" in written
    assert not {"\x1b", "\x07", "\x08", "\x7f", "\x9b", "\u202e"} & set(written)
    assert "\ttab\r\ndata: next" in written  # harmless characters stay


def test_tail_into_a_program(env):
    """The output is unchanged, except for colours, which Click removes from everything that does not go to a
    terminal.
    """
    command = [sys.executable, "-m", "flask", "ssemux", *TAIL]
    written = subprocess.run(command, cwd=str(ROOT), env=env, stdout=subprocess.PIPE, timeout=20).stdout.decode("utf-8")
    assert "\x07b\x08" in written and "c\u202ed\x7f\ttab\ndata: next" in written


def test_the_doctor_on_a_terminal(env):
    """The doctor colours its own words; what the examined server sends has no colours."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        headers = b"Server: evil\x1b[2J\xc2\x9b2J\r\nContent-Type: text/\x1b]0;owned\x07\r\n"
        answer = b"HTTP/1.1 200 OK\r\n%s\r\n\x1b[2J" % headers
        threading.Thread(target=answering, args=(server, answer), daemon=True).start()
        url = "http://127.0.0.1:%d/events" % server.getsockname()[1]
        written = on_a_terminal(env, "doctor", url, "--timeout", "3")
    assert "evil" in written or "owned" in written, written
    assert "\x1b[2J" not in written and "\x1b]" not in written and "\x9b" not in written


def answering(server, answer):
    while True:
        try:
            one, _ = server.accept()
        except OSError:
            return
        with one:
            one.recv(65536)
            one.sendall(answer)
