"""Finds the node of a Redis Cluster that owns the slot of the store's keys. No scripts, no events, no URL.

All keys of a store have its prefix in braces, so they are in one slot, and the node that owns this slot serves the
store as a single server would. Another node owns it after a failover, or after the slot was moved. Every node knows the
owner: the last owner is asked first, then its replicas. ``CLUSTER SLOTS`` is the command for it that all versions and
managed services have.
"""

from __future__ import annotations

import binascii
import time
from typing import Any, Callable, Iterable

from .driver import driver
from .link import Link, pack_command
from .url import Host

SLOTS = 16384

#: Nodes that are asked for one connection; the next connection asks the others. So many workers do not flood a large
#: cluster with questions while a node of it fails.
TRIES = 3


class SlotOwner:
    """Connects to the node that owns a slot.

    :param nodes: some nodes of the cluster; the others are learned from them.
    :param tag: what all keys have in braces.
    :param open_node: opens a connection to a node, in about so many seconds.

    :ivar owner: the node that owned the slot when the last connection was opened.
    """

    def __init__(self, nodes: Iterable[Host], tag: str, open_node: Callable[[Host, float], Link]) -> None:
        self.owner: Host | None = None
        self._slot = find_slot(tag)
        self._named = list(nodes)
        self._nodes = self._named
        self._open_node = open_node

    def connect(self, deadline: float) -> Link:
        """Return a connection to the owner.

        :raises redis.RedisError: none of the nodes that were asked could be reached, or the owner cannot be reached.
        """
        failed: dict[Host, Exception] = {}
        for node in self._nodes[:TRIES]:
            try:
                if node not in failed:
                    return self._connect_with_help(node, failed, deadline)
            except (driver.ConnectionError, driver.TimeoutError, OSError) as error:
                if isinstance(error, driver.AuthenticationError):
                    raise
                failed.setdefault(node, error)
            if time.monotonic() > deadline:
                break
        self._nodes = [*(node for node in self._nodes if node not in failed), *failed]
        raise next(iter(failed.values()))

    def doubt_owner(self) -> None:
        """The owner failed: other nodes are asked before it."""
        if self.owner in self._nodes:
            self._nodes = [*(node for node in self._nodes if node != self.owner), self.owner]

    def _connect_with_help(self, helper: Host, failed: dict[Host, Exception], deadline: float) -> Link:
        """Return a connection to the owner that this node names.

        :param failed: the nodes that cannot be reached, with their errors; the owner may become one.
        """
        connection = self._open_node(helper, _half_of_rest(deadline))
        try:
            owner, nodes = self._ask_node(connection, helper)
        except BaseException:
            connection.disconnect()
            raise
        if owner != helper:
            connection.disconnect()
            connection = self._open_owner(owner, failed, deadline)
        self.owner = owner
        self._nodes = list(dict.fromkeys([owner, *nodes, *self._named]))
        return connection

    def _open_owner(self, owner: Host, failed: dict[Host, Exception], deadline: float) -> Link:
        if owner in failed:
            raise failed[owner]
        try:
            return self._open_node(owner, deadline - time.monotonic())
        except (driver.RedisError, OSError) as error:
            failed[owner] = error
            raise

    def _ask_node(self, connection: Link, helper: Host) -> tuple[Host, list[Host]]:
        """Return the owner of the slot, and all nodes: first those that have a copy of the slot."""
        connection.send(pack_command(("CLUSTER", "SLOTS")))
        shards = [
            (int(low) <= self._slot <= int(high), [_read_node(node, helper) for node in nodes])
            for low, high, *nodes in connection.read_answer()
        ]
        shards.sort(key=lambda shard: not shard[0])
        if not shards or not shards[0][0]:
            raise driver.ConnectionError("no node of the Redis Cluster has the slot %d" % self._slot)
        return shards[0][1][0], [node for _, nodes in shards for node in nodes]


def find_slot(tag: str) -> int:
    """Return the slot of all keys that have this text in braces."""
    return binascii.crc_hqx(tag.encode("utf-8"), 0) % SLOTS


def _read_node(node: Any, helper: Host) -> Host:
    """Return a node's address. A node that does not know by which host it is reached is on the host that was asked."""
    host = node[0].decode("utf-8") if isinstance(node[0], bytes) else node[0]
    return (helper[0] if host in (None, "", "?") else host), int(node[1])


def _half_of_rest(deadline: float) -> float:
    """Return the seconds that one node has: if it hangs, another node can still be asked."""
    return (deadline - time.monotonic()) / 2
