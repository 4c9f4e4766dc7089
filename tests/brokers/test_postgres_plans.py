"""What a process asks PostgreSQL reads few rows, whatever the statistics say, and whenever it was planned."""

from __future__ import annotations

from contextlib import closing, contextmanager

import pytest

from flask_ssemux.brokers import HistoryLimits, NewEvent, Range, open_broker
from tests.harness.waiting import until

#: Rows of each table, or events of the frequent channel; every second one is a latest event.
MANY = 60_000

#: Calls of each kind: more than those after which a statement is prepared, and PostgreSQL plans without the values.
CALLS = 12

FILL = (
    "INSERT INTO {schema}.events SELECT 10000 + i, now(), i, 0, 0, 0, 0, 'frequent', "
    "CASE WHEN i %% 2 = 0 THEN 'key' || i END, '\\x00' FROM generate_series(1, %d) AS i; "
    "SELECT setval('{schema}.sequence', 1000000)"
) % MANY

#: The same for the other tables that grow with users. Those of feeds and runs are small, and read as a whole.
FILL_OTHERS = """
INSERT INTO {schema}.channels SELECT 'old' || i, i FROM generate_series(1, %(many)d) AS i;
INSERT INTO {schema}.holds SELECT 'user:' || i, 'h/1/x', 1, now() + interval '10 seconds'
    FROM generate_series(1, %(many)d) AS i;
INSERT INTO {schema}.oldest SELECT 'user:' || i, 'h/1/x', i FROM generate_series(1, %(many)d) AS i;
INSERT INTO {schema}.presence SELECT 'c' || i, 'm', 'h/1/x', 1 FROM generate_series(1, %(many)d) AS i;
INSERT INTO {schema}.roster SELECT 'c' || i, 'm', 5, NULL, '', '' FROM generate_series(1, %(many)d) AS i;
INSERT INTO {schema}.claims SELECT 'k' || i, now() + interval '50 seconds' FROM generate_series(1, %(many)d) AS i
""" % {"many": MANY}

READ = """
SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) + (
    SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes WHERE schemaname = '{schema}'
) FROM pg_stat_user_tables WHERE schemaname = '{schema}'
"""

ASKED = {
    "append": lambda broker: broker.history.append_event("rare", b"x"),
    "append two": lambda broker: broker.history.append_events([NewEvent("rare", b"x", None)] * 2),
    "append a latest event": lambda broker: broker.history.append_event("rare", b"x", "key"),
    "subscribe": lambda broker: broker.history.subscribe_channels(["rare"]),
    "floors": lambda broker: broker.history.get_floors(["rare"]),
    "read all": lambda broker: broker.history.read_channels({"rare": Range(0, 10**12)}, 100, 10**6),
    "read the end": lambda broker: broker.history.read_channels({"rare": Range(MANY // 2, 10**12)}, 100, 10**6),
    "newest": lambda broker: broker.history.get_newest_cursor(),
    "leases": lambda broker: _use_leases(broker.leases),
    "presence": lambda broker: _use_presence(broker.presence),
    "keys": lambda broker: broker.one_time_keys.use_one_time_key("key", 60),
}


def _use_leases(leases):
    leases.take_user_slot("user:1", 5)
    leases.release_user_slot("user:1")
    leases.announce_oldest_slot("user:1", 5.0)
    leases.find_oldest_slot_holder("user:1")


def _use_presence(presence):
    presence.announce_presence({("room", "ann"): 1}, 30)
    presence.get_presence("room")
    presence.update_roster({("room", "ann"): 5.0})
    presence.get_roster("room")


@pytest.fixture
def schema(postgres, postgres_url):
    """The schema of a store with a few events."""
    history = postgres().history
    history.append_event("rare", b"x")
    history.append_event("rare", b"x", "key")
    return postgres_url.rpartition("schema=")[2].split("&")[0]


@pytest.fixture
def few_rows(shared_postgres, schema):
    """few_rows(broker): a context in which the server reads rows, but few, of all tables.

    It closes the broker at its end: the server counts what a connection has read when it is closed.
    """

    def count():
        ((rows,),) = shared_postgres.ask(READ.replace("{schema}", schema))
        return int(rows or 0)

    @contextmanager
    def check(broker):
        before = count()
        with closing(broker):
            yield
        until(lambda: count() > before, 10, "the server has counted")
        assert count() - before < MANY / 2

    return check


@pytest.mark.parametrize("name", [name for name in ASKED if name not in ("leases", "presence", "keys")])
def test_a_rare_channel_beside_a_frequent_one(name, schema, shared_postgres, postgres_url, few_rows):
    """The statistics say that each of the two has half of all events."""
    shared_postgres.ask((FILL + "; ANALYZE {schema}.events").replace("{schema}", schema))
    broker = open_broker(postgres_url, HistoryLimits())
    with few_rows(broker):
        for _ in range(CALLS):
            ASKED[name](broker)


@pytest.mark.parametrize("name", ASKED)
def test_plans_from_when_the_tables_were_nearly_empty(name, schema, shared_postgres, postgres_url, few_rows):
    broker = open_broker(postgres_url, HistoryLimits())
    ASKED[name](broker)
    for (table,) in shared_postgres.ask(f"SELECT relname FROM pg_stat_user_tables WHERE schemaname = '{schema}'"):
        shared_postgres.ask(f"VACUUM ANALYZE {schema}.{table}")
    for _ in range(CALLS):
        ASKED[name](broker)
    shared_postgres.ask(FILL.replace("{schema}", schema))
    shared_postgres.ask(FILL_OTHERS.replace("{schema}", schema))
    with few_rows(broker):
        for _ in range(CALLS):
            ASKED[name](broker)


def test_delivery_by_a_plan_from_when_the_tables_were_nearly_empty(
    schema, postgres, shared_postgres, postgres_url, recorder, few_rows
):
    """Of bodies that are too large for a notification."""
    reader, writer = open_broker(postgres_url, HistoryLimits()), postgres()
    reader.history.start_delivery(recorder.listener)
    reader.history.subscribe_channels(["rare"])
    shared_postgres.ask(f"VACUUM ANALYZE {schema}.events")
    for number in range(CALLS):
        writer.history.append_event("rare", b"x" * 2000)
        recorder.wait(number + 1)
    shared_postgres.ask(FILL.replace("{schema}", schema))
    with few_rows(reader):
        for number in range(CALLS):
            writer.history.append_event("rare", b"x" * 2000)
            recorder.wait(CALLS + number + 1)
