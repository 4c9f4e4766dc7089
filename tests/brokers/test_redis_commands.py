"""docs/redis.md lists exactly the commands that the Redis broker uses: rights are given by that list.

`test_contract_redis_cluster.py` runs the contract's suites as a user who may call just these.
"""

from __future__ import annotations

import re
from pathlib import Path

from flask_ssemux.brokers.redis import scripts

DOCS = Path(__file__).resolve().parents[2] / "docs" / "redis.md"
LUA = Path(scripts.__file__).parent / "lua"

#: What the connections send. Everything else is called by scripts.
SENT = {"AUTH", "SELECT", "PING", "EVAL", "EVALSHA", "SUBSCRIBE", "UNSUBSCRIBE"}

#: A command in a script: called by its name, or in the table of commands that are tried.
CALLED = re.compile(r"redis\.p?call\('([A-Za-z]+)'|[{ ]\{'([A-Z]+)', ")


def list_commands():
    """Return the commands that every user needs, as docs/redis.md lists them."""
    return _read_list("commands")


def list_cluster_commands():
    """Return those that are needed in a cluster as well, with their subcommands as rights name them: CLUSTER|SLOTS."""
    return _read_list("commands of a cluster")


def _read_list(name):
    found = re.search(r"<!-- %s -->\n+```text\n(.+?)```" % name, DOCS.read_text(encoding="utf-8"), re.S)
    assert found, "docs/redis.md has no list of %s" % name
    return found[1].split()


def test_every_command_that_is_used_is_listed_and_no_other():
    found = [match for file in LUA.glob("*.lua") for match in CALLED.findall(file.read_text(encoding="utf-8"))]
    called = {(call or tried).upper() for call, tried in found}
    assert sorted(list_commands()) == sorted((called | SENT) - {"CLUSTER"})
    assert list_cluster_commands() == ["CLUSTER|SLOTS", "CLUSTER|MYID"]
