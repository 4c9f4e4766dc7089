"""The Redis broker on a Redis Cluster: failovers under load, a slot that moves, few rights, and ways to the owner.

`test_contract_redis_cluster.py` has the contract.
"""

from __future__ import annotations

import subprocess
import time

import pytest

from flask_ssemux.brokers import HistoryLimits, Record, open_broker
from flask_ssemux.brokers.contract import constants
from flask_ssemux.brokers.redis.cluster import SLOTS, find_slot
from flask_ssemux.errors import BrokerUnavailable
from tests.brokers.load import Fill, assert_all_came
from tests.brokers.test_redis_commands import list_cluster_commands, list_commands
from tests.harness.ports import free_port
from tests.harness.redis import RedisServer
from tests.harness.redis_cluster import QUICK
from tests.harness.waiting import until

TAG, SLOT = "ssemux", 3254
ALL = 10**17


@pytest.fixture(scope="module", autouse=True)
def is_mended_after_all(shared_cluster):
    yield
    shared_cluster.mend()


@pytest.fixture
def cluster(shared_cluster):
    """The whole cluster, with an empty store."""
    shared_cluster.mend()
    for node in shared_cluster.masters:
        node.ask("FLUSHALL")
    return shared_cluster


@pytest.fixture
def own(opened, cluster):
    """own(): a broker on the cluster; own(login="shop:s3cret@") as another user."""

    def make(login="", **history):
        broker = open_broker(cluster.url.replace("://", "://" + login), HistoryLimits(**history))
        opened(broker)
        return broker

    return make


@pytest.fixture
def receiving(own, recorder):
    """A broker that delivers the channels a and b to the recorder."""
    broker = own()
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a", "b"])
    return broker


@pytest.fixture
def impatient(cluster):
    """Replicas take over after a second."""
    cluster.set_timeout(QUICK)


def give_rights(cluster, *without):
    """Let the user `shop` call what docs/redis.md lists, without some of it."""
    commands = [name.lower() for name in (*list_commands(), *list_cluster_commands())]
    rights = ["+" + name for name in commands if name not in without]
    on = ["reset", "on", ">s3cret", "~{ssemux}:*", "resetchannels", "&{ssemux}@*", "-@all"]
    cluster.ask_all("ACL", "SETUSER", "shop", *on, *rights)


# -- another node becomes the owner ------------------------------------------


def test_an_owner_that_hands_over_is_left_without_a_failure(cluster, own, receiving, recorder):
    """The old owner lives on, as a replica that would still pass on what is announced.

    This is the first failover: masters do not vote twice for replicas of one node within a time.
    """
    owner, (replica,) = cluster.find_owner(TAG), cluster.list_shard(cluster.find_owner(TAG))[1:]
    filled = Fill(own())
    recorder.wait(50)
    replica.ask("CLUSTER", "FAILOVER")
    until(lambda: subscribed_on(replica), 15, "the subscription stayed where it was")
    before = len(filled.accepted)
    until(lambda: len(filled.accepted) > before + 50, 10, "nothing is accepted again")
    assert_all_came(recorder, filled.stop())
    assert filled.failed == recorder.renewals == recorder.gaps == []
    assert not subscribed_on(owner)


def test_a_replica_takes_over_in_the_midst_of_a_load(cluster, own, receiving, recorder, impatient):
    owner, (replica,) = cluster.find_owner(TAG), cluster.list_shard(cluster.find_owner(TAG))[1:]
    filled = Fill(own())
    recorder.wait(50)
    owner.kill()
    until(lambda: recorder.finds or recorder.renewals, 20, "it did not find the new owner")
    before = len(filled.accepted)
    until(lambda: len(filled.accepted) > before + 50, 20, "nothing is accepted again")
    filled.stop()
    assert cluster.find_owner(TAG) is replica
    if not recorder.renewals:  # then the replica had all events
        assert_all_came(recorder, filled)
        assert recorder.gaps == [] and len(recorder.losses) == 1


@pytest.mark.parametrize("without", [(), ("info",)])
def test_events_that_the_new_owner_lacks_begin_an_epoch(cluster, own, recorder, impatient, without):
    """A process that did not see them appends first, and would use their sequences again. Also if INFO is forbidden:
    CLUSTER MYID shows that another node answers."""
    give_rights(cluster, *without)
    knows, receives = own("shop:s3cret@"), own("shop:s3cret@")
    start = receives.history.start_delivery(recorder.listener)
    receives.history.subscribe_channels(["a"])
    knows.history.append_event("a", b"kept")
    recorder.wait(1)
    owner, (replica,) = cluster.find_owner(TAG), cluster.list_shard(cluster.find_owner(TAG))[1:]
    until(lambda: replica.get_offset() == owner.get_offset(), 5, "the replica does not have everything")
    replica.pause()
    owner.ask("CLIENT", "KILL", "TYPE", "replica")
    lost = knows.history.append_event("b", b"lost")
    owner.kill()
    replica.resume()
    first = until(lambda: try_append(receives, b"first"), 20, "nothing is accepted again")
    assert first.epoch == start.epoch and first.sequence > lost.sequence
    assert recorder.wait(2)[1].body == b"first" and recorder.renewals == []
    after = knows.history.append_event("a", b"after")
    assert after.epoch != start.epoch
    assert recorder.wait(3)[2].body == b"after"
    assert [cursor.epoch for cursor in recorder.renewals] == [after.epoch]


def try_append(broker, body):
    try:
        return broker.history.append_event("a", body)
    except BrokerUnavailable:
        return None


def subscribed_on(node):
    return node.ask("PUBSUB", "CHANNELS", "{ssemux}@*")


# -- the slot moves ----------------------------------------------------------


def test_a_slot_moves_under_load(cluster, own, receiving, recorder):
    """While some keys are here and some there nothing is accepted; afterwards everything continues."""
    source = cluster.find_owner(TAG)
    target = next(node for node in cluster.masters if node is not source)
    filled = Fill(own())
    recorder.wait(50)
    first = recorder.records[0].sequence
    cluster.begin_move(SLOT, source, target)
    until(lambda: filled.failed, 10, "events are accepted while the slot moves")
    keys = source.ask("CLUSTER", "COUNTKEYSINSLOT", SLOT)
    assert len(cluster.move_keys(SLOT, source, target, most=keys - 1)) == keys - 1
    failed, accepted = len(filled.failed), len(filled.accepted)
    with pytest.raises(BrokerUnavailable, match="slot of the store's keys is being moved to another node"):
        own().history.read_events(["a"], 0, ALL, 10)
    until(lambda: len(filled.failed) > failed, 10, "events are accepted while the slot moves")
    assert len(filled.accepted) == accepted
    assert target.ask("CLUSTER", "COUNTKEYSINSLOT", SLOT) == keys - 1
    cluster.move_keys(SLOT, source, target)
    cluster.end_move(SLOT, source, target)
    until(lambda: recorder.finds, 10, "the new owner was not found")
    before = len(filled.accepted)
    until(lambda: len(filled.accepted) > before + 50, 10, "nothing is accepted again")
    assert_all_came(recorder, filled.stop())
    assert recorder.renewals == recorder.gaps == []
    kept = own().history.read_events(["a", "b"], first - 1, ALL, 100000)
    assert [record.sequence for record in kept.records] == recorder.sequences and not kept.missing
    assert not subscribed_on(source) and subscribed_on(target)


def test_a_slot_that_stays_after_all(cluster, own):
    source, *others = cluster.masters
    source = cluster.find_owner(TAG)
    target = next(node for node in cluster.masters if node is not source)
    publisher = own()
    before = publisher.history.append_event("a", b"x")
    cluster.begin_move(SLOT, source, target)
    with pytest.raises(BrokerUnavailable):
        publisher.history.append_event("a", b"refused")
    for node in (target, source):
        node.ask("CLUSTER", "SETSLOT", SLOT, "STABLE")
    after = publisher.history.append_event("a", b"y")
    assert (after.epoch, after.sequence) == (before.epoch, before.sequence + 1)


def test_an_announcement_that_the_bus_lost_is_delivered(cluster, own, receiving, recorder):
    """The subscription is still on the old owner, which gets announcements from the other nodes: when they can."""
    source = cluster.find_owner(TAG)
    target = next(node for node in cluster.masters if node is not source)
    own().history.append_event("a", b"before")
    recorder.wait(1)
    cluster.begin_move(SLOT, source, target)
    cluster.move_keys(SLOT, source, target)
    cluster.end_move(SLOT, source, target)
    publisher = own()
    target.ask("DEBUG", "CLUSTERLINK", "KILL", "ALL", source.id)
    publisher.history.append_event("a", b"on its way")
    until(lambda: has_links(target), 10, "the nodes do not speak to each other again")
    publisher.history.append_event("b", b"after")
    recorder.wait(3)
    assert [record.body for record in recorder.records] == [b"before", b"on its way", b"after"]
    assert recorder.gaps == recorder.renewals == []


def has_links(node):
    return all("disconnected" not in line for line in node.ask("CLUSTER", "NODES").splitlines())


# -- few rights --------------------------------------------------------------


@pytest.mark.parametrize("command", ["cluster|slots", "exists", "subscribe"])
def test_a_right_that_is_missing_is_named(cluster, own, recorder, command):
    give_rights(cluster, command)
    broker = own("shop:s3cret@")
    with pytest.raises(BrokerUnavailable, match=r"(?i)%s.*docs/redis\.md" % command.replace("|", r"\|")) as raised:
        broker.history.start_delivery(recorder.listener)
        broker.history.subscribe_channels(["a"])
    assert "s3cret" not in str(raised.value)


# -- ways to the owner -------------------------------------------------------


def test_the_slot_of_a_tag(cluster):
    assert find_slot(TAG) == SLOT == cluster.nodes[0].ask("CLUSTER", "KEYSLOT", "{ssemux}:life")
    assert find_slot("ümlaut:x") == cluster.nodes[0].ask("CLUSTER", "KEYSLOT", "{ümlaut:x}:c:a")


def test_any_node_leads_to_the_owner(cluster, opened, recorder):
    """A node that is down, a replica and a name are as good; a process has its three connections, all to the owner."""
    cursors = []
    for port in (cluster.nodes[0].port, cluster.nodes[-1].port):
        broker = open_broker("redis+cluster://127.0.0.1:%d,localhost:%d/0" % (free_port(), port))
        opened(broker)
        cursors.append(broker.history.append_event("a", b"x").sequence)
    assert cursors == [1, 2]
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a"])
    broker.history.read_events(["a"], 0, ALL, 10)
    clients = [node.ask("CLIENT", "LIST") for node in (cluster.find_owner(TAG), *cluster.nodes)]
    ours = [text.count("cmd=eval") + text.count("cmd=subscribe") for text in clients]
    assert ours[0] == sum(ours[1:]) == 4  # the first broker has one


def test_no_node_answers(opened):
    ports = free_port(), free_port()
    broker = open_broker("redis+cluster://127.0.0.1:%d,127.0.0.1:%d" % ports)
    opened(broker)
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable, match=r"redis\+cluster://127.0.0.1:%d,127.0.0.1:%d: .*[Cc]onnect" % ports):
        broker.history.append_event("a", b"x")
    assert time.monotonic() - began < constants.WAIT_SECONDS + 1.0


def test_a_plain_url_names_the_url_to_write(cluster, opened):
    owner = cluster.find_owner(TAG)
    other = next(node for node in cluster.masters if node is not owner)
    broker = open_broker("redis://me:s3cret@127.0.0.1:%d/0" % other.port)
    opened(broker)
    cluster.ask_all("ACL", "SETUSER", "me", "on", ">s3cret", "~*", "&*", "+@all")
    with pytest.raises(BrokerUnavailable) as raised:
        broker.history.append_event("a", b"x")
    assert str(raised.value) == (
        "the Redis store redis://me:***@127.0.0.1:%d/0: it is a node of a Redis Cluster, and another node, "
        "127.0.0.1:%d, has the keys of this store (slot 3254); write redis+cluster://me:***@127.0.0.1:%d, which finds "
        "that node and follows the keys if they move: docs/redis.md" % (other.port, owner.port, other.port)
    )
    with pytest.raises(BrokerUnavailable, match="a Redis Cluster has only the database 0"):
        open_broker("redis://127.0.0.1:%d/1" % owner.port).history.append_event("a", b"x")
    plain = open_broker(owner.url)
    opened(plain)
    assert plain.history.append_event("a", b"x").sequence == 1


def test_a_server_that_is_no_cluster(shared_redis, opened):
    broker = open_broker("redis+cluster://127.0.0.1:%d" % shared_redis.port)
    opened(broker)
    with pytest.raises(BrokerUnavailable, match="the server is no Redis Cluster: write redis://"):
        broker.history.append_event("a", b"x")


def test_tls_to_a_cluster_that_has_no_slots_yet(running, opened, tmp_path):
    """It has one node."""
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", certificate,
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    port, bus = free_port(), free_port()
    options = "--tls-port %d --tls-cert-file %s --tls-key-file %s --tls-auth-clients no" % (port, certificate, key)
    options += " --tls-ca-cert-file %s --tls-cluster yes --cluster-enabled yes --cluster-port %d" % (certificate, bus)
    server = running(RedisServer(aof=False, args=options.split()))
    broker = open_broker("rediss+cluster://127.0.0.1:%d?ssl_ca_certs=%s" % (port, certificate))
    opened(broker)
    with pytest.raises(BrokerUnavailable, match="no node of the Redis Cluster has the slot 3254"):
        broker.history.append_event("a", b"x")
    server.ask("CLUSTER", "ADDSLOTS", *range(SLOTS))
    until(lambda: "cluster_state:ok" in server.ask("CLUSTER", "INFO"), 10, "it does not work")
    cursor = broker.history.append_event("a", b"x")
    assert broker.history.read_events(["a"], 0, ALL, 10).records == [Record(cursor.sequence, "a", b"x")]
