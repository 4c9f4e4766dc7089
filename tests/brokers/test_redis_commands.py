"""docs/redis.md lists exactly the commands that the Redis broker uses: rights are given by that list.

`test_contract_redis_cluster.py` runs the contract's suites as a user who may call just these.
"""

from __future__ import annotations

import re
from pathlib import Path

from flask_ssemux.brokers.redis import scripts
from tests.harness.document import block

LUA = Path(scripts.__file__).parent / "lua"

#: What the connections send. Everything else is called by scripts.
SENT = {"AUTH", "SELECT", "PING", "EVAL", "EVALSHA", "SUBSCRIBE", "UNSUBSCRIBE"}

#: A command in a script: called by its name, or in the table of commands that are tried.
CALLED = re.compile(r"redis\.p?call\('([A-Za-z]+)'|[{ ]\{'([A-Z]+)', ")


def list_commands():
    """Return the commands that every user needs, as docs/redis.md lists them."""
    return block("redis.md", "text", "AUTH ").split()


def list_cluster_commands():
    """Return those that are needed in a cluster as well, with their subcommands as rights name them: CLUSTER|SLOTS."""
    return block("redis.md", "text", "CLUSTER|SLOTS ").split()


def test_every_command_that_is_used_is_listed_and_no_other():
    found = [match for file in LUA.glob("*.lua") for match in CALLED.findall(file.read_text(encoding="utf-8"))]
    called = {(call or tried).upper() for call, tried in found}
    assert sorted(list_commands()) == sorted((called | SENT) - {"CLUSTER"})
    assert list_cluster_commands() == ["CLUSTER|SLOTS", "CLUSTER|MYID"]
