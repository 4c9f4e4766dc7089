"""A rare channel beside a frequent one: what is asked of it reads few rows, whatever PostgreSQL's statistics say.

With one frequent and one rare channel they say that each has half of all events.
"""

from __future__ import annotations

import pytest

from flask_ssemux.brokers import HistoryLimits, NewEvent, Range, open_broker
from tests.harness.waiting import until

#: Events of the frequent channel; every second one is a latest event.
MANY = 60_000

#: Calls of each kind: more than the five after which PostgreSQL plans without the values.
CALLS = 12

FILL = (
    "INSERT INTO {schema}.events SELECT 10 + i, now(), i, 0, 0, 0, 0, 'frequent', "
    "CASE WHEN i %% 2 = 0 THEN 'key' || i END, '\\x00' FROM generate_series(1, %d) AS i; "
    "SELECT setval('{schema}.sequence', 1000000); ANALYZE {schema}.events"
) % MANY

READ = """
SELECT seq_tup_read + idx_tup_fetch + (
    SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE schemaname = '{schema}' AND relname = 'events'
) FROM pg_stat_user_tables WHERE schemaname = '{schema}' AND relname = 'events'
"""

ASKED = {
    "append": lambda history: history.append_event("rare", b"x"),
    "append two": lambda history: history.append_events([NewEvent("rare", b"x", None)] * 2),
    "append a latest event": lambda history: history.append_event("rare", b"x", "key"),
    "subscribe": lambda history: history.subscribe_channels(["rare"]),
    "floors": lambda history: history.get_floors(["rare"]),
    "read all": lambda history: history.read_channels({"rare": Range(0, 10**12)}, 100, 10**6),
    "read the end": lambda history: history.read_channels({"rare": Range(MANY // 2, 10**12)}, 100, 10**6),
}


@pytest.fixture
def filled(postgres, shared_postgres, postgres_url):
    """The schema of a store in which one channel has nearly all events."""
    history = postgres().history
    history.append_event("rare", b"x")
    history.append_event("rare", b"x", "key")
    schema = postgres_url.rpartition("schema=")[2].split("&")[0]
    shared_postgres.ask(FILL.replace("{schema}", schema))
    return schema


def test_what_is_asked_of_a_rare_channel_reads_few_rows(filled, shared_postgres, postgres_url):
    read = dict.fromkeys(ASKED, 0)
    for name, ask in ASKED.items():
        before = count_rows(shared_postgres, filled)
        broker = open_broker(postgres_url, HistoryLimits())
        for _ in range(CALLS):
            ask(broker.history)
        broker.close()
        until(lambda: count_rows(shared_postgres, filled) > before, 10, "the server has counted")  # noqa: B023
        read[name] = count_rows(shared_postgres, filled) - before
    assert max(read.values()) < MANY / 2, read


def count_rows(server, schema):
    ((rows,),) = server.ask(READ.replace("{schema}", schema))
    return int(rows or 0)
