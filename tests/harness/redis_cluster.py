"""A real Redis Cluster as a context manager: three masters, and a replica of each, on free ports of 127.0.0.1."""

from __future__ import annotations

from typing import Any

import redis

from flask_ssemux.brokers.redis.cluster import SLOTS, find_slot
from tests.harness.ports import free_port
from tests.harness.redis import RedisServer
from tests.harness.waiting import until

MASTERS = 3

#: Milliseconds after which a node that does not answer has failed: while nodes change their roles, and otherwise. On a
#: busy machine no replica must take over from a living node. Nodes also tell each other everything within half of it.
QUICK, PATIENT = 1000, 20000

#: The maximum that a cluster may take until all nodes agree, in seconds.
AGREE_SECONDS = 30.0


class ClusterNode(RedisServer):
    name = "cluster"

    def __init__(self, fsync: str | None = None) -> None:
        self.bus = free_port()
        cluster = "--cluster-enabled yes --cluster-port %d --cluster-node-timeout %d" % (self.bus, QUICK)
        # A replica that lost its connection to the master takes over, too; nodes name a replica once it has received
        # something, which without events is a ping; and tests cut the links of the bus.
        others = "--cluster-replica-validity-factor 0 --repl-ping-replica-period 1 --enable-debug-command local"
        super().__init__(aof=fsync is not None, fsync=fsync or "no", args=[*cluster.split(), *others.split()])

    @property
    def id(self) -> str:
        return self.ask("CLUSTER", "MYID")

    def is_agreed(self, nodes: int) -> bool:
        """Return whether it knows so many nodes, and says that the cluster works."""
        lines = self.ask("CLUSTER", "INFO").split()
        return "cluster_state:ok" in lines and "cluster_known_nodes:%d" % nodes in lines

    def get_offset(self) -> str:
        """Return up to where it has what its master wrote, or has written itself."""
        found = self.info("replication")
        return found.get("slave_repl_offset", found["master_repl_offset"])

    def list_shards(self) -> list[list[int]]:
        """Return the ports of the nodes that have each range of slots, as this node knows them: a master first."""
        return [[node[1] for node in nodes] for _, _, *nodes in self.ask("CLUSTER", "SLOTS")]


class Cluster:
    """Three masters and a replica of each. With `fsync`, nodes keep their data when they are killed."""

    def __init__(self, replicas: int = MASTERS, fsync: str | None = None) -> None:
        self.nodes = [ClusterNode(fsync) for _ in range(MASTERS + replicas)]

    def __enter__(self) -> Cluster:
        try:
            for node in self.nodes:
                node.launch()
            for node in self.nodes:
                node.wait_ready()
            self._join_nodes()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for node in self.nodes:
            node.kill()

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join("127.0.0.1:%d" % node.port for node in self.nodes)

    def _join_nodes(self) -> None:
        masters, replicas = self.nodes[:MASTERS], self.nodes[MASTERS:]
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            node.ask("CLUSTER", "MEET", "127.0.0.1", masters[0].port, masters[0].bus)
        for number, node in enumerate(masters):
            node.ask("CLUSTER", "ADDSLOTS", *range(number * SLOTS // MASTERS, (number + 1) * SLOTS // MASTERS))
        self.wait_until_agreed()
        for master, replica in zip(masters, replicas):
            replica.ask("CLUSTER", "REPLICATE", master.id)
        self.wait_until_whole()

    def mend(self) -> None:
        """Start the nodes that do not run, and wait until the cluster is whole."""
        for node in self.nodes:
            if not node.running:
                node.restart()
        self.wait_until_whole()

    # -- what the nodes say ------------------------------------------------

    def wait_until_agreed(self) -> None:
        until(
            lambda: all(node.is_agreed(len(self.nodes)) for node in self.nodes),
            AGREE_SECONDS,
            lambda: "the nodes agree: %s" % [node.ask("CLUSTER", "INFO") for node in self.nodes],
        )

    def wait_until_whole(self) -> None:
        """Wait until all nodes agree which masters and replicas there are, and each replica has its master's data."""
        if not self._is_whole():
            self.set_timeout(QUICK)
            self.wait_until_agreed()
            until(
                self._is_whole,
                AGREE_SECONDS,
                lambda: "each master has a replica: %s" % [node.list_shards() for node in self.nodes],
            )
        self.set_timeout(PATIENT)

    def _is_whole(self) -> bool:
        size = len(self.nodes) // MASTERS
        return (
            all(node.is_agreed(len(self.nodes)) for node in self.nodes)
            and all(len(shard) == size for node in self.nodes for shard in node.list_shards())
            and all(len(self.list_shard(node)) == size for node in self.masters)
        )

    def set_timeout(self, milliseconds: int) -> None:
        self.ask_all("CONFIG", "SET", "cluster-node-timeout", milliseconds)

    @property
    def masters(self) -> list[ClusterNode]:
        return [node for node in self.nodes if node.running and node.info("replication")["role"] == "master"]

    def list_shard(self, master: ClusterNode) -> list[ClusterNode]:
        """Return a master, and those of its replicas that have its data."""
        return [master, *(node for node in self.nodes if node.running and _follows(node, master))]

    def find_owner(self, tag: str) -> ClusterNode:
        """Return the node that says that it owns the slot of the keys with this text in braces."""
        return next(node for node in self.masters if _owns(node, find_slot(tag)))

    def ask_all(self, *words: Any) -> None:
        for node in self.nodes:
            node.ask(*words)

    # -- moving a slot -----------------------------------------------------

    def begin_move(self, slot: int, source: ClusterNode, target: ClusterNode) -> None:
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)

    def move_keys(self, slot: int, source: ClusterNode, target: ClusterNode, most: int = 100000) -> list[str]:
        """Move some keys of the slot; return them."""
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, most)
        if keys:
            assert source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys) == "OK"
        return keys

    def end_move(self, slot: int, source: ClusterNode, target: ClusterNode) -> None:
        owner = target.id
        for node in (target, source, *(node for node in self.masters if node not in (source, target))):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", owner)


def _follows(node: ClusterNode, master: ClusterNode) -> bool:
    found = node.info("replication")
    return found.get("master_port") == str(master.port) and found["master_link_status"] == "up"


def _owns(node: ClusterNode, slot: int) -> bool:
    try:
        shards = node.ask("CLUSTER", "SLOTS")
    except redis.RedisError:
        return False
    return any(low <= slot <= high and master[1] == node.port for low, high, master, *_ in shards)
