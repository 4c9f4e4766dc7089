"""How answers of a Redis server are read: by hiredis, which is installed for the tests, and without it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
from redis.connection import Connection

from flask_ssemux.brokers import open_broker
from flask_ssemux.brokers.redis import link as links
from flask_ssemux.brokers.redis.link import Link, ParsedLink, make_link, pack_command

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pair():
    """A link, and the server's end of its connection."""
    ours, theirs = socket.socketpair()
    ours.settimeout(0.2)
    yield ParsedLink(SimpleNamespace(_sock=ours, _parser=Connection()._parser)), theirs
    ours.close()
    theirs.close()


def test_hiredis_is_used_if_it_is_installed(redis_url, opened):
    broker = open_broker(redis_url)
    opened(broker)
    broker.history.append_event("a", b"x")
    assert type(broker._store._writing._connection) is ParsedLink


def test_without_hiredis_redis_py_reads(monkeypatch, pair):
    monkeypatch.setattr(links, "parser", None)
    assert type(make_link(SimpleNamespace(_sock=pair[0].socket))) is Link


def test_answers_that_came_together_are_read_without_another_look(pair):
    link, server = pair
    assert not link.can_read(0) and not link.can_read(0.01) and not link.has_answer()
    server.sendall(b"*2\r\n$1\r\na\r\n:0\r\n$-1\r\n+OK\r\n*0\r\n")
    assert link.can_read(0)
    found = [link.read_answer()]
    while link.has_answer():
        found.append(link.read_answer())
    assert found == [[b"a", 0], None, b"OK", []]
    assert not link.can_read(0)


def test_the_rest_of_an_answer_is_waited_for(pair):
    link, server = pair
    server.sendall(b"$5\r\nab")
    assert link.can_read(0) and not link.has_answer()
    with pytest.raises(redis.TimeoutError, match="the rest of an answer did not come in 0.2 s"):
        link.read_answer()
    server.sendall(b"cde\r\n")
    assert link.read_answer() == b"abcde" and link.socket.gettimeout() == 0.2


def test_errors_are_those_of_redis_py(pair):
    link, server = pair
    server.sendall(b"-NOSCRIPT No matching script\r\n-OOM command not allowed\r\n:1\r\n")
    with pytest.raises(redis.exceptions.NoScriptError):
        link.read_answer()
    with pytest.raises(redis.ResponseError, match="command not allowed"):
        link.read_answer()
    assert link.read_answer() == 1
    server.sendall(b"what is this\r\n")
    with pytest.raises(redis.RedisError):
        link.read_answer()


def test_the_end_of_a_connection_is_an_error_after_the_answers_before_it(pair):
    link, server = pair
    server.sendall(b":7\r\n")
    server.close()
    assert link.can_read(0) and link.read_answer() == 7
    with pytest.raises(redis.ConnectionError):
        link.can_read(0.2)


def test_a_command_larger_than_the_socket_takes_at_once_is_sent_whole(pair):
    link, server = pair
    link.socket.settimeout(10)
    command = pack_command(("SET", b"x" * 3_000_000, 7, "ü"))
    thread = threading.Thread(target=link.send, args=(command,))
    thread.start()
    received = b""
    while len(received) < len(command):
        received += server.recv(1 << 20)
    thread.join()
    assert received == command and received.endswith(b"$1\r\n7\r\n$2\r\n\xc3\xbc\r\n")


@pytest.mark.parametrize("command", [("SET", "ü", b"\xff\r\n", 7, 1.5, -1, ""), ("SET", True, None, b"x"), ("PING",)])
def test_a_command_is_the_same_with_and_without_hiredis(monkeypatch, command):
    """Also one with values that hiredis does not take."""
    with_hiredis = pack_command(command)
    monkeypatch.setattr(links, "_pack", None)
    assert with_hiredis == pack_command(command)


def test_the_contract_holds_without_hiredis(tmp_path, redis_server):
    """Most installations have none. The other tests of this engine run with it."""
    (tmp_path / "hiredis.py").write_text("raise ImportError('not installed')\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/brokers/test_contract_redis.py",
         "-k", "TestDelivery"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout.decode()[-3000:]
