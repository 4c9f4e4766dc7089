"""The PostgreSQL broker with a server that is killed, hangs, lost events, or does not let it in; and poolers."""

from __future__ import annotations

import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import flask
import pytest

import flask_ssemux
from flask_ssemux.brokers import HistoryLimits, SlotAnswer, open_broker
from flask_ssemux.brokers.postgres import Address, delivery, init_database, lane, schema
from flask_ssemux.errors import BrokerUnavailable, ConfigurationError
from flask_ssemux.util.redact import without_password
from tests.brokers.suites.work import batch
from tests.brokers.test_redis import Fill, assert_all_came
from tests.harness.hop import Hop
from tests.harness.packages import need_python
from tests.harness.postgres import PASSWORD, PgBouncer, PostgresServer, as_user, find_program
from tests.harness.waiting import until

ALL = 10**17


@pytest.fixture
def postgres_server(running):
    """A server that the test may break."""
    return running(PostgresServer())


@pytest.fixture
def own(opened, postgres_server):
    """own(): a broker on a server that the test may break."""

    def make(options="", server=postgres_server, **history):
        broker = open_broker(server.url + options, HistoryLimits(**history))
        opened(broker)
        return broker

    return make


def read_bodies(broker, channel="a"):
    return [record.body for record in broker.history.read_events([channel], 0, ALL, 1000).records]


def copy_data(server, name):
    """Return a copy of a stopped server's data."""
    copy = server.folder / name
    subprocess.run(as_user(["cp", "-a", str(server.data), str(copy)]), check=True)
    return copy


# -- a server that goes and comes --------------------------------------------


def test_a_server_that_is_killed_for_three_seconds_loses_no_event(own, postgres_server, recorder):
    broker, publisher = own(), own()
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a", "b"])
    filled = Fill(publisher)
    recorder.wait(50)
    postgres_server.kill()
    until(lambda: recorder.losses, 5, "no loss was reported")
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        broker.history.subscribe_channels(["c"])
    assert time.monotonic() - began < 1.0, "it waits although the store is known to be lost"
    time.sleep(3.0)  # the time that the documentation promises
    postgres_server.restart()
    until(lambda: recorder.finds, 10, "no find was reported")
    before = len(filled.accepted)
    until(lambda: len(filled.accepted) > before + 50, 20, "nothing is accepted again")
    assert_all_came(recorder, filled.stop())
    assert filled.failed and not recorder.renewals and not recorder.gaps
    assert len(recorder.losses) == len(recorder.finds) == 1


def test_connections_that_the_server_ended_while_idle_fail_no_call(own, postgres_server, recorder):
    broker = own()
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a"])
    broker.history.append_event("a", b"1")
    assert read_bodies(broker) == [b"1"]
    recorder.wait(1)
    assert postgres_server.count_connections() == 3, "the documented number"
    query = "FROM pg_stat_activity WHERE usename = 'tests'"
    old = postgres_server.ask("SELECT array_agg(pid), every(pg_terminate_backend(pid)) " + query)[0][0]
    until(lambda: not postgres_server.ask(f"SELECT pid {query} AND pid = ANY (%s)", old), 10, "they are not ended")
    until(lambda: recorder.losses, 10, "no loss was reported")
    broker.history.append_event("a", b"2")
    assert read_bodies(broker) == [b"1", b"2"]
    recorder.wait(2)
    assert postgres_server.count_connections() == 3 and recorder.gaps == recorder.renewals == []


def test_a_server_that_hangs_fails_calls_within_bounds(own, postgres_server):
    broker = own()
    broker.history.append_event("a", b"1")
    postgres_server.pause()
    try:
        began, failures = time.monotonic(), []

        def append():
            with pytest.raises(BrokerUnavailable) as caught:
                broker.history.append_event("a", b"2")
            failures.append(str(caught.value))

        threads = [threading.Thread(target=append) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began < 5.0
        assert any("it is not known whether" in text for text in failures) and PASSWORD not in str(failures)
    finally:
        postgres_server.resume()
    broker.history.append_event("a", b"3")
    assert {b"1", b"3"} <= set(read_bodies(broker)) <= {b"1", b"2", b"3"}


def test_a_listening_connection_that_a_nat_forgot_is_noticed(
    shared_postgres, postgres_url, opened, recorder, monkeypatch
):
    monkeypatch.setattr(delivery, "CHECK", 1.0)
    monkeypatch.setattr(delivery, "ANSWER", 0.5)
    monkeypatch.setattr(delivery, "PLACE", 5.0)
    hop = Hop(shared_postgres.port, forgets=0.9)
    try:
        broker, other = (open_broker(url) for url in (postgres_url + "&listen_port=%d" % hop.port, postgres_url))
        for it in (broker, other):
            opened(it)
        broker.history.start_delivery(recorder.listener)
        broker.history.subscribe_channels(["a"])
        until(lambda: hop.carried, 10, "it does not listen")
        until(lambda: recorder.losses, 10, "the silence was not noticed")
        other.history.append_event("a", b"meanwhile")
        recorder.wait(1, 10)
        assert recorder.gaps == recorder.renewals == []
    finally:
        hop.close()


def test_an_idle_connection_that_a_nat_forgot_fails_no_call(shared_postgres, postgres_url, opened, monkeypatch):
    monkeypatch.setattr(lane, "IDLE", 0.2)
    hop = Hop(shared_postgres.port, forgets=0.3)
    try:
        broker = open_broker(postgres_url.replace(":%d/" % shared_postgres.port, ":%d/" % hop.port))
        opened(broker)
        broker.history.append_event("a", b"1")
        carried = hop.carried
        time.sleep(0.6)  # what the hop forgets by is the time itself
        broker.history.append_event("a", b"2")
        assert hop.carried > carried and read_bodies(broker) == [b"1", b"2"]
    finally:
        hop.close()


# -- what a server may have lost ---------------------------------------------


def test_processes_that_begin_at_the_same_time_leave_no_sequence_out(shared_postgres, postgres, postgres_url):
    """Each of them finds that the tables are new, and has to wait for the first one."""
    init_database(Address(postgres_url))
    turn = "%s.turn" % postgres_url.partition("?schema=")[2]
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = %s::regclass AND NOT granted"
    brokers = [postgres() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        with need_python("psycopg[binary]", "psycopg").connect(shared_postgres.url) as connection:
            connection.execute("LOCK TABLE %s IN EXCLUSIVE MODE" % turn)
            calls = [pool.submit(broker.history.get_newest_cursor) for broker in brokers]
            until(lambda: shared_postgres.ask(waiting, turn) == [(3,)], 10, "they do not wait")
        assert len({call.result() for call in calls}) == 1
    assert brokers[0].history.append_event("a", b"1").sequence == 1


def test_a_restart_without_loss_keeps_the_epoch_and_leaves_sequences_out(own, postgres_server):
    broker = own()
    before = broker.history.append_event("a", b"x")
    for end in (postgres_server.stop, postgres_server.kill):
        end()
        postgres_server.restart()
        after = broker.history.append_event("a", b"y")
        assert after.epoch == before.epoch and after.sequence > before.sequence + 10**4
        assert broker.history.get_newest_cursor() == after
        assert broker.history.has_lost(before._replace(sequence=before.sequence + 1))
        assert not broker.history.has_lost(before) and not broker.history.has_lost(after)
        before = after
    assert read_bodies(broker) == [b"x", b"y", b"y"]
    assert broker.history.read_events(["a"], 1, ALL, 10).missing == []


@pytest.mark.parametrize("options, is_renewed", [("", False), ("?synchronous_commit=off", True)])
def test_a_crash_begins_an_epoch_if_it_may_have_taken_events(own, postgres_server, recorder, options, is_renewed):
    broker = own(options)
    start = broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a"])
    broker.history.append_event("a", b"1")
    recorder.wait(1)
    postgres_server.kill()
    postgres_server.restart()
    until(lambda: recorder.finds, 10, "no find was reported")
    assert (broker.history.append_event("a", b"2").epoch != start.epoch) == is_renewed
    recorder.wait(2)
    assert bool(recorder.renewals) == is_renewed


@pytest.mark.parametrize("call", ["take", "keep", "begin a run", "use a key"])
def test_a_crash_takes_nothing_on_which_its_caller_counts(own, postgres_server, call):
    """Also where the server commits asynchronously by default. Nothing writes WAL between the call and the crash."""
    for statement in ("DATABASE postgres SET synchronous_commit = off", "SYSTEM SET wal_writer_delay = '10s'"):
        postgres_server.ask("ALTER " + statement)
    postgres_server.ask("SELECT pg_reload_conf()")
    broker, kept = own(), "SELECT until FROM ssemux.works UNION ALL SELECT until FROM ssemux.claims"
    broker.history.get_newest_cursor()  # makes the tables
    leases = broker.work.take_work(["feed:a"]) if call in ("take", "keep") else []
    if call == "keep":
        postgres_server.ask("CHECKPOINT")
        broker.work.keep_work(leases)
    elif call == "begin a run":
        broker.work.begin_run("one", "{}")
    elif call == "use a key":
        broker.one_time_keys.use_one_time_key("key", 60)
    before = postgres_server.ask(kept)
    postgres_server.kill()
    postgres_server.restart()
    assert postgres_server.ask(kept) == before != []


def test_an_older_copy_of_the_server_begins_an_epoch_for_who_knows_it(own, postgres_server, recorder):
    """A worker that received the lost events proves it, whichever process appends first."""
    worker, late = own(), own()
    start = worker.history.start_delivery(recorder.listener)
    worker.history.subscribe_channels(["a"])
    worker.history.append_event("a", b"kept")
    recorder.wait(1)
    postgres_server.stop()
    copy = copy_data(postgres_server, "copy")
    postgres_server.restart()
    lost = worker.history.append_event("a", b"lost")
    recorder.wait(2)
    postgres_server.stop()
    postgres_server.data = copy
    postgres_server.restart()
    late.history.append_event("a", b"by one who knows of nothing")
    until(lambda: recorder.renewals, 15, "nobody noticed")
    assert recorder.renewals[0].epoch != start.epoch == lost.epoch
    after = late.history.append_event("a", b"after")
    assert after.epoch == recorder.renewals[0].epoch
    until(lambda: recorder.records[-1].body == b"after", 5, lambda: str(recorder.records))


@pytest.mark.parametrize("is_behind", [False, True], ids=["whole", "behind"])
def test_a_replica_that_takes_over_begins_an_epoch(running, opened, recorder, is_behind):
    """The URL names both servers. A replica that has everything cannot prove it."""
    primary = running(PostgresServer(wal_level="replica"))
    replica = running(primary.make_replica())
    url = primary.url.replace("/postgres", ",127.0.0.1:%d/postgres" % replica.port)
    broker = open_broker(url)
    opened(broker)
    start = broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a"])
    first = broker.history.append_event("a", b"1")
    recorder.wait(1)
    replica.wait_replayed(primary)
    if is_behind:
        replica.stop_following()
        broker.history.append_event("a", b"lost")
        recorder.wait(2)
    primary.kill()
    replica.promote()
    until(lambda: recorder.finds and recorder.renewals, 15, "no find was reported")
    second = broker.history.append_event("a", b"2")
    assert second.epoch == recorder.renewals[0].epoch != start.epoch == first.epoch
    assert read_bodies(broker) == [b"1", b"2"]


def test_tables_that_were_dropped_are_made_again_in_another_epoch(shared_postgres, postgres, postgres_url):
    broker = postgres()
    before = broker.history.append_event("a", b"1")
    shared_postgres.ask("DROP SCHEMA %s CASCADE" % postgres_url.partition("?schema=")[2])
    with pytest.raises(BrokerUnavailable):
        broker.history.append_event("a", b"2")
    after = broker.history.append_event("a", b"3")
    assert after.epoch != before.epoch and read_bodies(broker) == [b"3"]


def test_a_dump_that_was_restored_begins_an_epoch(postgres_server, own):
    """What was appended since the dump was taken is lost, and no process that is left knows of it."""
    broker = own()
    before = broker.history.append_event("a", b"1")
    at = ["-h", str(postgres_server.folder), "-p", str(postgres_server.port), "-U", "postgres"]
    dump = postgres_server.folder / "dump.sql"
    with open(dump, "wb") as file:
        subprocess.run([find_program("pg_dump"), *at, "-n", "ssemux", "postgres"], stdout=file, check=True)
    lost = broker.history.append_event("a", b"lost")
    broker.close()
    postgres_server.ask("DROP SCHEMA ssemux CASCADE")
    subprocess.run([find_program("psql"), *at, "-q", "-v", "ON_ERROR_STOP=1", "-f", str(dump), "postgres"], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    restored = own()
    after = restored.history.append_event("a", b"2")
    assert after.epoch != before.epoch and after.sequence > lost.sequence
    assert read_bodies(restored) == [b"1", b"2"]


# -- work whose answer was lost ------------------------------------------------


def test_a_batch_of_work_that_is_repeated_is_appended_once(postgres, recorder):
    broker = postgres()
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["run:a", "run:b"])
    one, other = broker.work.begin_run("a", "{}"), broker.work.begin_run("b", "{}")
    first = broker.work.append_work([batch(one, b"1", b"2", number=1), batch(other, b"1", number=1)])
    assert (
        broker.work.append_work([batch(one, b"1", b"2", number=1), batch(other, b"2", end="done", number=2)])[0]
        == first[0]
    )
    again = broker.work.append_work([batch(other, b"2", end="done", number=2), batch(one, b"3", number=2)])
    assert again[0] and again[0][0].sequence + 1 == again[1][0].sequence
    assert broker.work.append_work([batch(other, b"3", number=3), batch(one, b"3", number=2)]) == [None, again[1]]
    (newer,) = broker.work.take_work(["run:a"])
    assert broker.work.append_work([batch(one, b"3", number=2)]) == [None]
    assert [record.body for record in recorder.wait(5)] == [
        b"data: %s\n\n" % body for body in (b"1", b"2", b"1", b"2", b"3")
    ]
    assert broker.history.get_newest_cursor() == again[1][0]


def test_a_slot_that_was_asked_for_is_no_part_of_a_share_that_came_meanwhile(postgres, shared_postgres, postgres_url):
    """The share is of another limit than that of a user's runs, whose slots are asked for."""
    broker, other = postgres(), postgres()
    assert other.leases.take_user_slot("runs:ann", 1)
    leases, name = broker.leases, postgres_url.partition("?schema=")[2]
    broker.history.get_newest_cursor()
    with ThreadPoolExecutor(1) as pool:
        with leases._store.changing() as call:
            answer = pool.submit(leases.ask_for_user_slot, "runs:ann", 1)
            until(lambda: broker.waiting_calls == 2, 10, "it waits for its turn")
            leases.slots.limit = 32
            leases._renew(call)
        assert answer.result() is SlotAnswer.FULL
    assert shared_postgres.ask(f"SELECT sum(slots) FROM {name}.holds") == [(1,)]


# -- rights, versions, names ---------------------------------------------------


def test_a_role_without_rights_is_told_and_init_db_gives_them(running, opened):
    server = running(PostgresServer())
    server.ask("REVOKE CREATE ON DATABASE postgres FROM tests")
    broker = open_broker(server.url)
    opened(broker)
    with pytest.raises(
        BrokerUnavailable, match="permission denied for database postgres .*init-db --grant-to"
    ) as caught:
        broker.history.append_event("a", b"1")
    assert caught.value.code == "42501" and PASSWORD not in str(caught.value)
    owner = Address("postgresql://postgres@/postgres?host=%s&port=%d" % (server.folder, server.port))
    assert init_database(owner) == schema.VERSION
    with pytest.raises(BrokerUnavailable, match="permission denied for schema ssemux"):
        broker.history.append_event("a", b"1")
    assert init_database(owner, "tests") == schema.VERSION
    assert broker.history.append_event("a", b"1").sequence == 1
    broker.leases.take_user_slot("user:1", 1)
    broker.work.begin_run("x", "{}")
    broker.presence.announce_presence({("a", "ann"): 1}, 30)
    assert broker.get_figures()["held"] == 1 and broker.presence.get_presence("a") == {"ann": 1}


def test_the_command_prints_sql_that_makes_the_tables(shared_postgres, opened):
    """In a schema whose name must be quoted, as the superuser."""
    app = flask.Flask("shop")
    app.config["SSEMUX_BROKER"] = url = shared_postgres.url + "?schema=Odd-Name"
    flask_ssemux.init_app(app)
    run = app.test_cli_runner().invoke
    printed = run(args=["ssemux", "init-db", "--print", "--grant-to", "tests"])
    psql = [find_program("psql"), "-h", str(shared_postgres.folder), "-p", str(shared_postgres.port), "-U", "postgres"]
    done = subprocess.run([*psql, "-q", "-v", "ON_ERROR_STOP=1", "postgres"], input=printed.output, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    assert done.returncode == 0, done.stdout
    broker = open_broker(url)
    opened(broker)
    assert broker.history.append_event("a", b"1").sequence == 1
    assert shared_postgres.ask("SELECT tableowner FROM pg_tables WHERE schemaname = 'Odd-Name' LIMIT 1") == [
        ("postgres",)
    ]
    assert run(args=["ssemux", "init-db"]).output == "The schema Odd-Name has version %d.\n" % schema.VERSION
    other = url.replace("Odd-Name", "elsewhere")
    assert run(args=["ssemux", "init-db", "--url", other]).output.startswith("The schema Odd-Name has")


def test_tables_of_the_first_version_are_brought_to_this_one_and_keep_their_events(
    shared_postgres, postgres, postgres_url
):
    postgres().history.append_event("a", b"1")
    name = postgres_url.partition("?schema=")[2]
    shared_postgres.ask(f"DROP FUNCTION {name}.append_event")
    shared_postgres.ask(f"ALTER TABLE {name}.state DROP COLUMN notify_channel")
    shared_postgres.ask(f"UPDATE {name}.state SET version = 1, compatible = 1")
    broker = postgres()
    broker.history.append_event("a", b"2")
    assert read_bodies(broker) == [b"1", b"2"]
    assert shared_postgres.ask(f"SELECT version, compatible FROM {name}.state") == [(schema.VERSION, schema.COMPATIBLE)]


def test_tables_of_a_newer_version_are_refused(shared_postgres, postgres, postgres_url, opened):
    postgres().history.get_newest_cursor()
    name = postgres_url.partition("?schema=")[2]
    shared_postgres.ask(f"UPDATE {name}.state SET version = 9, compatible = 1")
    newer = open_broker(postgres_url)
    opened(newer)
    newer.history.append_event("a", b"1")
    shared_postgres.ask(f"UPDATE {name}.state SET compatible = 9")
    refused = open_broker(postgres_url)
    opened(refused)
    said = "have version 9, and this flask_ssemux knows %d: install a newer one" % schema.VERSION
    with pytest.raises(BrokerUnavailable, match=said):
        refused.history.get_newest_cursor()


@pytest.mark.parametrize(
    "change, said",
    [
        ((PASSWORD, "wr0ng"), "password authentication failed .*the URL's user or password is not the server's"),
        (("/postgres?", "/nowhere?"), 'database "nowhere" does not exist'),
        (("127.0.0.1:", "127.0.0.2:"), "Connection refused|failed"),
    ],
)
def test_a_server_that_does_not_let_it_in_says_why_within_bounds(postgres_url, opened, change, said):
    broker = open_broker(postgres_url.replace(*change))
    opened(broker)
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable, match=said) as caught:
        broker.history.append_event("a", b"1")
    assert time.monotonic() - began < 4.0
    assert PASSWORD not in str(caught.value) and "wr0ng" not in str(caught.value)


def test_another_isolation_is_refused_with_the_fix(shared_postgres, postgres_url, opened):
    broker = open_broker(postgres_url + "&options=-c%20default_transaction_isolation%3Dserializable")
    opened(broker)
    with pytest.raises(BrokerUnavailable, match="serializable .*ALTER ROLE"):
        broker.history.append_event("a", b"1")


@pytest.mark.parametrize(
    "url, said",
    [
        ("postgresql://u:p@ss@h/d?schema=pg_x", "not begin with pg_"),
        ("postgresql://u:s3cret@h/d?synchronous_commit=maybe", "is one of on, off"),
        ("postgresql://u:s3%cret@h/d", "libpq does not understand it"),
        ("postgresql://u:s3cret@h/d?colour=red", "libpq does not understand it"),
        ("postgresql+psycopg://u:s3cret@h/d", "is written postgresql://user:password@host/database here"),
        ("postgresql://u:s3cret@h/d e", "a URL has no spaces"),
    ],
)
def test_a_url_that_cannot_be_understood(url, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        open_broker(url, namespace="x")
    assert "s3cret" not in str(caught.value) and "cret" not in str(caught.value).replace("secret", "")


def test_our_options_are_shown_and_passwords_are_not():
    url = "postgresql://me:s3cret@db:5432/shop?schema=live&synchronous_commit=off&sslpassword=x&passfile=y"
    assert without_password(url) == ("postgresql://me:***@db:5432/shop?schema=live&synchronous_commit=off&***&***")
    assert "s3cret" not in repr(vars(Address(url.partition("&ssl")[0]))["shown"])


# -- poolers -------------------------------------------------------------------


def test_through_pgbouncer_publishing_works_and_listening_needs_the_server(
    shared_postgres, postgres_url, running, opened, recorder
):
    bouncer = running(PgBouncer(shared_postgres))
    url = postgres_url.replace(":%d/" % shared_postgres.port, ":%d/" % bouncer.port)
    broker, direct = open_broker(url), open_broker(url + "&listen_port=%d" % shared_postgres.port)
    for it in (broker, direct):
        opened(it)
    broker.history.append_event("a", b"1")
    broker.leases.take_user_slot("user:1", 1)
    broker.history.start_delivery(recorder.listener)
    until(lambda: recorder.losses, 10, "it listens through a pooler")
    assert "add listen_host=HOST and listen_port=PORT" in recorder.losses[0]
    other = type(recorder)()
    direct.history.start_delivery(other.listener)
    direct.history.subscribe_channels(["a"])
    broker.history.append_event("a", b"2", "key")
    assert [record.body for record in other.wait(1)] == [b"2"] and read_bodies(direct) == [b"1", b"2"]
