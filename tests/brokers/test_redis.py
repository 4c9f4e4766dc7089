"""The Redis broker with a server that is killed, wiped, set back, hangs or fails over; and several applications."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

from flask_ssemux.brokers import HistoryLimits, Record, open_broker
from flask_ssemux.brokers.contract import constants
from flask_ssemux.brokers.redis import address, delivery, leases, scripts
from flask_ssemux.errors import BrokerUnavailable, ConfigurationError
from flask_ssemux.sse.cursor import Cursor
from flask_ssemux.util.redact import without_password
from tests.brokers.conftest import pretend_other_host
from tests.brokers.load import Fill, assert_all_came
from tests.harness.redis import RedisServer
from tests.harness.waiting import until

ALL = 10**9


@pytest.fixture
def own(opened, redis_server):
    """own(): a broker on a server that the test may break."""

    def make(server=redis_server, **history):
        broker = open_broker(server.url, HistoryLimits(**history))
        opened(broker)
        return broker

    return make


# -- several processes, several applications ---------------------------------


def test_prefixes_and_databases_are_apart(shared_redis, opened, recorder):
    place = "redis://127.0.0.1:%d/" % shared_redis.port
    brokers = [open_broker(place + rest) for rest in ("3?prefix=one", "3?prefix=two", "4?prefix=one")]
    for broker in brokers:
        opened(broker)
    brokers[0].history.start_delivery(recorder.listener)
    brokers[0].history.subscribe_channels(["a"])
    for number, broker in enumerate(brokers):
        assert broker.history.append_event("a", b"%d" % number).sequence == 1
    brokers[0].history.append_event("a", b"end")
    assert [record.body for record in recorder.wait(2)] == [b"0", b"end"]
    assert len({broker.history.get_newest_cursor().epoch for broker in brokers}) == 3
    assert recorder.renewals == []


def test_only_needed_channels_are_subscribed(redis, shared_redis, redis_url, recorder):
    def subscribed():
        name = redis_url.partition("prefix=")[2]
        return sorted(found.partition(":")[2] for found in shared_redis.ask("PUBSUB", "CHANNELS", "{%s}*" % name))

    broker = redis()
    broker.history.start_delivery(recorder.listener)
    assert broker.history.subscribe_channels(["a", "b"]).after == 0
    assert subscribed() == ["a", "b"]
    broker.history.unsubscribe_channel("a")
    until(lambda: subscribed() == ["b"], 5, lambda: str(subscribed()))
    broker.history.append_event("a", b"unwanted")
    assert broker.history.subscribe_channels(["a"]).after == 1
    broker.history.append_event("a", b"wanted")
    assert recorder.wait(1) == [Record(2, "a", b"wanted")]


@pytest.mark.parametrize("said", (b"", b"hello", b"abc 12\nbody", b"abc x k\nbody", b"\xff 1 k\nbody"))
def test_messages_of_another_program_lose_no_event(redis, shared_redis, recorder, said):
    broker, publisher = redis(), redis()
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a"])
    for number in range(20):
        shared_redis.ask("PUBLISH", broker._store.announced + "a", said)
        publisher.history.append_event("a", b"%d" % number)
    recorder.wait(20)
    assert [record.body for record in recorder.records] == [b"%d" % number for number in range(20)]
    assert recorder.losses == recorder.gaps == recorder.renewals == []


def test_a_channel_that_is_subscribed_again_at_once_misses_nothing(redis, recorder):
    broker = redis()
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a"])
    for number in range(200):
        broker.history.unsubscribe_channel("a")
        after = broker.history.subscribe_channels(["a"]).after
        assert broker.history.append_event("a", b"%d" % number).sequence > after
    assert [record.body for record in recorder.wait(200)] == [b"%d" % number for number in range(200)]


def test_a_process_has_three_connections_whatever_its_channels(own, redis_server, recorder):
    broker = own()
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["c%d" % n for n in range(2000)])
    broker.history.read_events(["c1"], 0, ALL, 10)
    ours = [line for line in redis_server.ask("CLIENT", "LIST").splitlines() if "cmd=client" not in line]
    assert len(ours) == 3


# -- a server that goes and comes --------------------------------------------


def test_a_server_that_is_killed_for_three_seconds_loses_no_event(own, redis_server, recorder):
    broker, publisher = own(), own()
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a", "b"])
    filled = Fill(publisher)
    recorder.wait(50)
    redis_server.kill()
    until(lambda: recorder.losses, 2, "no loss was reported")
    time.sleep(3.0)  # the time that the documentation promises
    redis_server.restart()
    until(lambda: recorder.finds, 5, "no find was reported")
    before = len(filled.accepted)
    until(lambda: len(filled.accepted) > before + 50, 10, "nothing is accepted again")
    assert_all_came(recorder, filled.stop())
    assert filled.failed and not recorder.renewals and not recorder.gaps
    assert len(recorder.losses) == len(recorder.finds) == 1


def test_a_short_restart_fails_no_append(own, redis_server, recorder):
    broker, publisher = own(), own()
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a", "b"])
    filled = Fill(publisher)
    recorder.wait(50)
    redis_server.kill()
    redis_server.restart()
    until(lambda: recorder.finds, 5, "no find was reported")
    assert_all_came(recorder, filled.stop())
    assert filled.failed == [] and recorder.renewals == []


def test_a_subscription_that_is_cut_repeatedly_loses_no_event(own, redis_server, recorder):
    broker, publisher = own(), own()
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a", "b"])
    filled = Fill(publisher)
    for _ in range(8):
        redis_server.ask("CLIENT", "KILL", "TYPE", "pubsub")
        count = len(recorder.finds)
        until(lambda count=count: len(recorder.finds) > count, 5, "it did not come back")
    assert_all_came(recorder, filled.stop())
    assert recorder.renewals == recorder.gaps == []


def test_a_server_that_was_wiped_begins_an_epoch_and_loses_nothing_of_it(own, redis_server, recorder):
    broker, publisher = own(), own()
    start = broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a"])
    publisher.history.append_event("a", b"old")
    recorder.wait(1)
    redis_server.kill()
    redis_server.wipe()
    redis_server.start()
    first = publisher.history.append_event("a", b"new")
    assert first.sequence == 1 and first.epoch != start.epoch
    assert recorder.wait(2)[1] == Record(1, "a", b"new")
    assert recorder.renewals == [Cursor(first.epoch, 0)]


@pytest.mark.parametrize("command", ["FLUSHALL", "DEL"])
def test_a_store_that_is_emptied_is_noticed(own, redis_server, recorder, command):
    broker = own()
    start = broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a"])
    broker.history.append_event("a", b"old")
    recorder.wait(1)
    redis_server.ask(*([command] if command == "FLUSHALL" else [command, "{ssemux}:life"]))
    until(lambda: recorder.renewals, 10, "nobody noticed")
    assert recorder.renewals[0].epoch != start.epoch
    assert broker.history.append_event("a", b"new").epoch == recorder.renewals[0].epoch
    assert recorder.wait(2)[1].body == b"new"
    assert [record.body for record in broker.history.read_events(["a"], 0, ALL, 10).records] == [b"new"]


def set_back(server, copy):
    """As after a crash of a server that writes its data from time to time."""
    server.kill()
    shutil.rmtree(server.folder)
    shutil.copytree(copy, server.folder)
    server.start()


@pytest.fixture
def copied(own, redis_server, tmp_path):
    """copied(broker): events 1 to 3, a copy of the server's data, then 4 to 6, which the copy lacks."""

    def make(broker):
        for number in range(3):
            broker.history.append_event("a", b"kept %d" % number)
        copy = tmp_path / "copy"  # the server answers when the log is written
        shutil.copytree(redis_server.folder, copy)
        for number in range(3):
            broker.history.append_event("a", b"lost %d" % number)
        return copy

    return make


def test_a_server_that_lost_its_last_events_begins_an_epoch(own, redis_server, recorder, copied):
    """A worker that received them proves it, whichever process appends first."""
    publisher, worker, late = own(), own(), own()
    late.history.get_newest_cursor()
    start = worker.history.start_delivery(recorder.listener)
    worker.history.subscribe_channels(["a"])
    copy = copied(publisher)
    recorder.wait(6)
    publisher.close()
    set_back(redis_server, copy)
    late.history.append_event("a", b"by one who knows of nothing")
    until(lambda: recorder.renewals, 5, "nobody noticed")
    assert recorder.renewals[0].epoch != start.epoch
    after = late.history.append_event("a", b"after")
    assert after.epoch == recorder.renewals[0].epoch
    until(lambda: recorder.records[-1].body == b"after", 5, lambda: str(recorder.records))


def test_a_cursor_of_a_lost_event_resets_only_its_client(own, redis_server, copied):
    """Only its client saw the event; and a client proves nothing, because cursors can be invented."""
    publisher = own()
    copy = copied(publisher)
    lost = publisher.history.get_newest_cursor()
    publisher.close()
    set_back(redis_server, copy)
    broker = own()
    head = broker.history.append_event("a", b"new")
    assert head.epoch == lost.epoch and head.sequence > lost.sequence + ALL / 2
    assert broker.history.read_events(["a", "never"], lost.sequence, head.sequence, 10).missing == ["a", "never"]
    page = broker.history.read_events(["a"], 3, head.sequence, 10)
    assert page.missing == [] and [record.body for record in page.records] == [b"new"]
    assert broker.history.get_newest_cursor().epoch == head.epoch


def test_a_restart_without_loss_keeps_the_epoch(own, redis_server):
    broker = own()
    before = broker.history.append_event("a", b"x")
    for _ in range(3):
        redis_server.kill()
        redis_server.start()
        assert broker.history.get_newest_cursor().epoch == before.epoch
    assert (
        broker.history.read_events(["a"], before.sequence, broker.history.get_newest_cursor().sequence, 10).missing
        == []
    )
    assert broker.history.append_event("a", b"y").epoch == before.epoch
    assert [record.body for record in broker.history.read_events(["a"], 0, 10**17, 10).records] == [b"x", b"y"]


def test_voids_of_an_epoch_say_nothing_about_the_one_before(own, redis_server):
    """A worker that does not know the new epoch yet is asked about cursors of the old one."""
    broker, other = own(), own()
    old = [broker.history.append_event("a", b"old") for _ in range(3)][-1]
    redis_server.ask("DEL", "{ssemux}:life")
    first = other.history.append_event("a", b"new")
    redis_server.ask("HSET", "{ssemux}:life", "run", "another")
    head = broker.history.get_newest_cursor()
    assert (head.epoch, first.sequence) == (first.epoch, 1) != (old.epoch, 1)
    assert broker.history.has_lost(Cursor(first.epoch, 3)) and not broker.history.has_lost(first)
    assert not broker.history.has_lost(old)


def test_many_restarts_are_remembered_within_bounds(own, redis_server):
    """Each restart after an append leaves a void; the oldest voids become the floor of all channels."""
    broker = own()
    places = []
    for number in range(22):
        places.append(broker.history.append_event("a", b"%d" % number).sequence)
        redis_server.ask("HSET", "{ssemux}:life", "run", "another")  # the next script takes this for a restart
    top = broker.history.get_newest_cursor().sequence
    assert len(redis_server.ask("HGET", "{ssemux}:life", "voids").split()) == 20
    assert broker.history.read_events(["never"], places[-1] + 5, top, 10).missing == ["never"]
    assert broker.history.read_events(["never"], places[1] + 5, top, 10).missing == ["never"]
    assert broker.history.read_events(["never"], places[-1], top, 10).missing == []


# -- a server that hangs -----------------------------------------------------


def test_a_server_that_hangs_is_waited_for_within_bounds(own, redis_server, recorder):
    broker = own()
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a"])
    redis_server.pause()
    try:
        for call in (
            lambda: broker.history.append_event("a", b"x"),
            broker.history.get_newest_cursor,
            lambda: own().history.get_newest_cursor(),
        ):
            started = time.monotonic()
            with pytest.raises(BrokerUnavailable, match="the Redis store redis://127.0.0.1:%d/0: " % redis_server.port):
                call()
            assert time.monotonic() - started < constants.WAIT_SECONDS + 1.0
        until(lambda: recorder.losses, 10, "the subscription is believed to live")
        started = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            broker.history.subscribe_channels(["b"])
        assert time.monotonic() - started < 1.0  # it is known to be lost: no call waits for it
    finally:
        redis_server.resume()
    until(lambda: recorder.finds, 10, "no find was reported")
    broker.history.append_event("a", b"y")
    until(lambda: recorder.records and recorder.records[-1].body == b"y", 5, lambda: str(recorder.records))
    assert len({record.body for record in recorder.records}) == len(recorder.records)


class Cutter:
    """A proxy that loses the answer to one request: it cuts the connection when the answer comes."""

    def __init__(self, port):
        self._upstream, self.cut_next = port, False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client):
        with client, socket.create_connection(("127.0.0.1", self._upstream)) as server:
            there = threading.Thread(target=self._pump, args=(client, server, False), daemon=True)
            there.start()
            self._pump(server, client, True)
            there.join()

    def _pump(self, source, target, is_answer):
        try:
            while True:
                data = source.recv(65536)
                if not data or (is_answer and self.cut_next):
                    self.cut_next = False
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self._listener.close()


def test_an_append_whose_answer_is_lost_is_not_made_twice(redis, shared_redis, redis_url, opened):
    hop = Cutter(shared_redis.port)
    broker = open_broker(redis_url.replace(str(shared_redis.port), str(hop.port)))
    opened(broker)
    first = broker.history.append_event("a", b"first")
    hop.cut_next = True
    second = broker.history.append_event("a", b"second")
    assert second.sequence == first.sequence + 1
    assert broker.history.append_event("a", b"third").sequence == first.sequence + 2
    assert [r.body for r in redis().history.read_events(["a"], 0, ALL, 10).records] == [b"first", b"second", b"third"]
    hop.close()


# -- history -----------------------------------------------------------------


@pytest.fixture
def cut_off(own, redis_server, recorder, monkeypatch):
    """cut_off(many): a worker with a short history whose subscription was broken while events were published."""
    monkeypatch.setattr(delivery, "BACK_OFF", 60.0)
    worker, publisher = own(events=10), own(events=10)
    worker.history.start_delivery(recorder.listener)
    worker.history.subscribe_channels(["a", "b"])
    publisher.history.append_event("a", b"x")
    recorder.wait(1)

    def make(many):
        with worker.history._delivery._changed:  # keeps the thread from connecting again
            redis_server.ask("CLIENT", "KILL", "TYPE", "pubsub")
            for _ in range(many):
                publisher.history.append_event("a", b"x")
            publisher.history.append_event("b", b"y")
            worker.history._delivery._changed.notify_all()
        until(lambda: recorder.sequences[-1] == many + 2, 10, lambda: str(recorder.sequences[-5:]))
        return worker

    return make


def test_events_of_a_broken_subscription_are_delivered_without_history(cut_off, recorder):
    worker = cut_off(50)
    assert recorder.gaps == [] and recorder.sequences == list(range(1, 53))
    assert [record.sequence for record in worker.history.read_events(["a"], 0, ALL, 100).records] == list(range(42, 52))


def test_events_that_were_trimmed_meanwhile_are_reported_as_a_gap(cut_off, recorder):
    cut_off(700)
    assert [channels for channels, _ in recorder.gaps] == [["a"]]
    assert recorder.sequences == [1, *range(202, 703)]


def test_trimming_by_age_keeps_up_with_any_rate(redis, travel):
    broker = redis(seconds=100.0)
    for _ in range(300):
        broker.history.append_event("busy", b"x")
    for number in range(20):
        broker.history.append_event("once:%d" % number, b"x")
    travel(broker, 1000.0)
    for _ in range(40):
        broker.history.append_event("new", b"x")
    assert broker.get_figures()["events"] == 40 and broker.get_figures()["channels"] == 1
    assert broker.history.read_events(["once:7", "busy"], 0, ALL, 10).missing == ["once:7", "busy"]
    assert broker.history.read_events(["once:7"], 307 + 1, ALL, 10).missing == []


def test_a_smaller_history_is_reached_in_small_steps(redis, redis_url, opened):
    redis(events=1000).history.append_event("a", b"x")
    first = redis(events=1000)
    for _ in range(99):
        first.history.append_event("a", b"x")
    smaller = redis(events=20)
    for _ in range(12):
        smaller.history.append_event("a", b"x")
    assert len(smaller.history.read_events(["a"], 0, ALL, ALL).records) == 20


def test_a_stream_that_the_server_evicted_is_missing_not_empty(redis, shared_redis, redis_url):
    broker = redis()
    broker.history.append_event("a", b"x")
    last = broker.history.append_event("a", b"x")
    prefix = redis_url.partition("prefix=")[2]
    shared_redis.ask("DEL", "{%s}:c:a" % prefix)
    assert broker.history.read_events(["a"], 0, ALL, 10) == ([], ["a"], True)
    assert broker.history.read_events(["a"], last.sequence, ALL, 10).missing == []
    broker.history.append_event("a", b"y")
    assert broker.history.read_events(["a"], 1, ALL, 10).missing == ["a"]


def test_floors_of_channels_that_are_no_more_are_bounded(redis, shared_redis, redis_url, travel, monkeypatch):
    for name in ("APPEND_EVENTS", "READ_CHANNELS"):
        text = getattr(scripts, name).text.replace("FLOORS = 100000", "FLOORS = 100")
        monkeypatch.setattr(scripts, name, scripts.Script(text))
    broker = redis(seconds=100.0)
    for number in range(400):
        broker.history.append_event("once:%d" % number, b"x")
    travel(broker, 1000.0)
    for _ in range(250):
        broker.history.append_event("new", b"x")
    prefix = redis_url.partition("prefix=")[2]
    assert shared_redis.ask("ZCARD", "{%s}:floors" % prefix) <= 101
    missing = broker.history.read_events(["once:1", "once:399", "never"], 0, ALL, 10).missing
    assert missing == ["once:1", "once:399", "never"]  # a gap is never hidden
    assert (
        broker.history.read_events(["once:1", "never"], broker.history.get_newest_cursor().sequence, ALL, 10).missing
        == []
    )
    broker.history.append_event("once:1", b"again")
    assert broker.history.read_events(["once:1"], 0, ALL, 10).missing == ["once:1"]


# -- leases ------------------------------------------------------------------


def test_leases_that_are_not_renewed_expire(redis, redis_url, opened, monkeypatch):
    monkeypatch.setattr(leases, "LASTS", 1)
    elsewhere = open_broker(redis_url)
    opened(elsewhere)
    pretend_other_host(elsewhere)  # whether its process is alive is not known here
    broker = redis()
    assert elsewhere.leases.take_user_slot("user:1", 1)
    assert not broker.leases.take_user_slot("user:1", 1)
    until(lambda: broker.leases.take_user_slot("user:1", 1), 5, "it never ran out")


def test_leases_are_written_again_to_a_server_that_lost_them(own, redis_server, opened):
    broker, other = own(), own()
    assert broker.leases.take_user_slot("user:1", 1)
    redis_server.ask("FLUSHALL")
    broker.leases.renew_leases()
    assert not other.leases.take_user_slot("user:1", 1)
    broker.leases.release_user_slot("user:1")
    until(lambda: other.leases.take_user_slot("user:1", 1), 2, "it was not given back")


def test_releasing_a_slot_does_not_wait(own, redis_server):
    broker = own()
    assert broker.leases.take_user_slot("user:1", 1)
    redis_server.pause()
    try:
        started = time.monotonic()
        broker.leases.release_user_slot("user:1")
        assert time.monotonic() - started < 1
    finally:
        redis_server.resume()
    until(lambda: own().leases.take_user_slot("user:1", 1), 5, "it was not given back")


def test_a_broker_that_is_closed_releases_its_slots(redis, redis_url):
    first = open_broker(redis_url)
    assert first.leases.take_user_slot("user:1", 1)
    first.close()
    assert redis().leases.take_user_slot("user:1", 1)


# -- ways to the server ------------------------------------------------------


def works(url, opened, recorder):
    broker = open_broker(url)
    opened(broker)
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a"])
    cursor = broker.history.append_event("a", b"x")
    assert recorder.wait(1) == [Record(cursor.sequence, "a", b"x")]
    return broker


def test_a_password(running, opened, recorder):
    server = running(RedisServer(password="s3cret/@"))
    works("redis://:s3cret%%2F%%40@127.0.0.1:%d/2" % server.port, opened, recorder)
    with pytest.raises(BrokerUnavailable, match=r"redis://:\*\*\*@127.0.0.1:\d+/0: "):
        open_broker("redis://:wrong@127.0.0.1:%d/0" % server.port).history.get_newest_cursor()


def test_a_user_with_just_the_rights_that_are_needed(running, opened, recorder):
    server = running(RedisServer())
    rights = "on >s3cret ~{ssemux}:* resetchannels &{ssemux}@* +@all -@admin -@dangerous +info"
    server.ask("ACL", "SETUSER", "shop", *rights.split())
    works("redis://shop:s3cret@127.0.0.1:%d/0" % server.port, opened, recorder)


def test_a_server_that_forbids_info(running, opened, recorder):
    server = running(RedisServer())
    server.ask("ACL", "SETUSER", "shop", "on", ">s3cret", "~*", "&*", "+@all", "-info")
    works("redis://shop:s3cret@127.0.0.1:%d/0" % server.port, opened, recorder)


def test_a_unix_socket(running, opened, recorder, tmp_path):
    path = str(tmp_path / "redis.sock")
    running(RedisServer(args=["--unixsocket", path]))
    works("unix://%s?db=3&prefix=shop" % path, opened, recorder)


def test_tls(running, opened, recorder, tmp_path):
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", certificate,
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    from tests.harness.ports import free_port

    port = free_port()
    options = "--tls-port %d --tls-cert-file %s --tls-key-file %s --tls-auth-clients no" % (port, certificate, key)
    running(RedisServer(args=options.split()))
    works("rediss://localhost:%d/0?ssl_ca_certs=%s" % (port, certificate), opened, recorder)
    with pytest.raises(BrokerUnavailable, match="(?i)certificate"):
        open_broker("rediss://localhost:%d/0" % port).history.get_newest_cursor()


def test_a_replica_that_takes_over(sentinel, opened, recorder):
    """Sentinel makes the replica the master; events go on, in order and once."""
    url = "redis+sentinel://127.0.0.1:%d/%s/0" % (sentinel.port, sentinel.service)
    broker, publisher = open_broker(url), open_broker(url)
    opened(broker)
    opened(publisher)
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a", "b"])
    filled = Fill(publisher)
    recorder.wait(100)
    sentinel.master.kill()
    sentinel.wait_master(sentinel.replicas[0], 15)
    until(lambda: recorder.finds or recorder.renewals, 15, "it did not find the new master")
    before = len(filled.accepted)
    until(lambda: len(filled.accepted) > before + 100, 15, "nothing is accepted again")
    filled.stop()
    last = filled.accepted[-1]
    until(lambda: recorder.records[-1].body == last[1], 5, lambda: "%s, %s" % (recorder.records[-1], last))
    if not recorder.renewals:  # then the replica had all events
        assert_all_came(recorder, filled)


# -- what a user sees --------------------------------------------------------


@pytest.mark.parametrize(
    "url, message",
    [
        ("redis://:pw@h:1/0?nonsense=1", r"SSEMUX_BROKER='redis://:\*\*\*@h:1/0\?\*\*\*': .*nonsense"),
        (
            "redis+sentinel://h:26379",
            "a sentinel's URL is redis\\+sentinel://user:password@host:26379,host:26379/service",
        ),
        ("redis+sentinel:///main", "a sentinel's URL is"),
        ("redis+sentinel://h:1/main/x", "the path is the number of the database"),
    ],
)
def test_a_url_that_cannot_be_understood(url, message):
    with pytest.raises(ConfigurationError, match=message) as raised:
        open_broker(url)
    assert "pw" not in str(raised.value)


def test_without_redis_py_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(address, "driver", None)
    with pytest.raises(ConfigurationError, match=r"needs the package redis: pip install 'flask_ssemux\[redis\]'"):
        open_broker("redis://localhost")


@pytest.mark.parametrize(
    "url, shown",
    [
        ("redis://me:pa:ss@h:1/2?password=x&prefix=y", "redis://me:***@h:1/2?password=***&prefix=y"),
        ("redis://me:p/a@s#s?@h:1/2", "redis://me:***@h:1/2"),
        ("redis+sentinel://me:p/w@h1:1,h2/main", "redis+sentinel://me:***@h1:1,h2/main"),
        ("unix:///run/redis.sock?sentinel_password=x", "unix:///run/redis.sock?sentinel_password=***"),
        ("redis://h1:1,h2:2/main", "redis://h1:1,h2:2/main"),
    ],
)
def test_passwords_are_not_shown(url, shown):
    assert without_password(url) == shown


def test_a_server_that_is_not_there_is_named_within_bounds(opened):
    from tests.harness.ports import free_port

    port = free_port()
    started = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="the Redis store redis://127.0.0.1:%d/0: .*[Cc]onnect" % port):
        open_broker("redis://127.0.0.1:%d/0" % port).history.append_event("a", b"x")
    assert time.monotonic() - started < constants.WAIT_SECONDS + 1.0


# -- errors that would not be noticed ----------------------------------------


class Interrupt(BaseException):
    """Like a job's time limit, which is raised wherever the caller is."""


def test_no_other_caller_gets_the_answer_of_an_interrupted_call(redis, monkeypatch):
    broker = redis()
    first = broker.history.append_event("a", b"1")

    def interrupted(timeout):
        raise Interrupt

    with monkeypatch.context() as patch:
        patch.setattr(broker._store._writing._connection, "can_read", interrupted)
        with pytest.raises(Interrupt):
            broker.history.append_event("a", b"2")
    cursors = [broker.history.append_event("a", b"%d" % number).sequence for number in (3, 4)]
    kept = broker.history.read_events(["a"], 0, ALL, 10).records
    assert [(record.sequence, record.body) for record in kept if record.body in (b"3", b"4")] == [
        (cursors[0], b"3"), (cursors[1], b"4"),
    ]  # fmt: skip
    assert kept[0].sequence == first.sequence


def test_the_same_copy_put_back_twice_gives_no_sequence_twice(own, redis_server, copied):
    publisher = own()
    copy = copied(publisher)
    publisher.close()
    given = set()
    for _ in range(3):
        set_back(redis_server, copy)
        broker = own()
        fresh = {broker.history.append_event("a", b"x") for _ in range(4)}
        assert not fresh & given
        given |= fresh
        broker.close()


def test_a_publisher_that_is_inherited_by_a_fork_loses_nothing(redis, redis_url):
    script = (
        "import os, sys\n"
        "from flask_ssemux import Publisher\n"
        "publisher = Publisher(sys.argv[1])\n"
        "publisher.publish('a', 'parent')\n"
        "children = []\n"
        "for child in range(2):\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        for number in range(200): publisher.publish('a', '%d %d' % (child, number))\n"
        "        os._exit(0)\n"
        "    children.append(pid)\n"
        "for pid in children: assert os.waitpid(pid, 0)[1] == 0\n"
        "publisher.publish('a', 'parent')\n"
    )
    subprocess.run([sys.executable, "-c", script, redis_url], check=True, timeout=60)
    assert len(redis().history.read_events(["a"], 0, ALL, 1000).records) == 402


def test_an_event_after_an_eviction_does_not_hide_it(redis, shared_redis, redis_url):
    broker = redis()
    for _ in range(3):
        broker.history.append_event("a", b"x")
    shared_redis.ask("DEL", "{%s}:c:a" % redis_url.partition("prefix=")[2])
    broker.history.append_event("a", b"y")
    assert broker.history.read_events(["a"], 0, ALL, 10).missing == ["a"]
    assert broker.history.read_events(["a"], 3, ALL, 10).missing == []


def test_a_page_of_large_events_ends_early(redis):
    """A client that returns to large events must not block the server, and with it all publishers."""
    broker = redis()
    for number in range(60):
        broker.history.append_event("ab"[number % 2], b"%d " % number + b"x" * 200_000)
    after, seen = 0, []
    while True:
        page = broker.history.read_events(["a", "b"], after, 60, 500)
        seen += [record.sequence for record in page.records]
        assert sum(len(record.body) for record in page.records) < 1_500_000
        if page.is_whole:
            break
        after = seen[-1]
    assert seen == list(range(1, 61))


def test_many_callers_of_a_lost_server_wait_together(own, redis_server):
    broker = own()
    broker.history.get_newest_cursor()
    redis_server.kill()
    longest = []

    def call(number):
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            broker.leases.take_user_slot("user:%d" % number, 1)
        longest.append(time.monotonic() - began)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(longest) == 30 and max(longest) < 2 * constants.WAIT_SECONDS + 1.0


def test_a_master_that_was_made_a_replica_is_left(own, redis_server, running):
    broker = own()
    broker.history.append_event("a", b"x")
    connection = broker._store._writing._connection
    other = running(RedisServer())
    redis_server.ask("REPLICAOF", "127.0.0.1", other.port)
    with pytest.raises(BrokerUnavailable, match="(?i)read.?only"):
        broker.history.append_event("a", b"y")
    assert broker._store._writing._connection is not connection


def test_the_driver_sends_no_ping_by_itself(redis_url, opened, recorder):
    works(redis_url + "&health_check_interval=1", opened, recorder)
    time.sleep(1.2)  # the interval's length
    opened(works(redis_url + "&health_check_interval=1", opened, type(recorder)()))
