"""One event is stored by one query where that is possible. What it leaves is what storing several events leaves."""

from __future__ import annotations

import random

import pytest

from flask_ssemux.brokers import open_broker
from flask_ssemux.brokers.postgres.appending import MOST_SKIPS, SKIPS, Shortcut

#: Events and bytes that the history keeps, and the steps of each case.
LIMITS, STEPS = [(3, 2000), (5, 900), (100, 1500)], 80

CHANNELS = ["x", "xy", "x.y", "X", "é", "user:1", "ssemux.x", "ssemux"]

ONE = "SELECT {schema}.append_event(%s, %s, 4, 'off')"
SEVERAL = (
    "SELECT concat_ws(' ', epoch, last, over) FROM {schema}.append_events(ARRAY[%s], ARRAY[%s], ARRAY[%s], 4, 'off')"
)
ROWS = (
    "SELECT sequence, kept, floor, total, store_floor, written, channel, latest, body FROM {schema}.events ORDER BY 1",
    "SELECT * FROM {schema}.channels ORDER BY 1",
)
DELETE = "SELECT {schema}.delete_events(ARRAY(SELECT sequence FROM {schema}.events ORDER BY 1 LIMIT 3))"


@pytest.mark.parametrize("events, size", LIMITS)
def test_one_event_leaves_the_rows_that_several_leave(events, size, postgres, postgres_url, shared_postgres):
    postgres().history.get_newest_cursor()
    first = postgres_url.rpartition("schema=")[2]
    second = first + "_several"
    other = open_broker(postgres_url + "_several")
    other.history.get_newest_cursor()
    other.close()

    def ask(schema, statement, *values):
        return shared_postgres.ask(statement.replace("{schema}", schema), *values)

    chance, stored_by_one = random.Random(events), 0
    for schema in (first, second):
        ask(schema, "SELECT {schema}.set_limits(3600, %s, %s)", events, size)
    for _ in range(STEPS):
        channel, body = chance.choice(CHANNELS), b"b" * chance.choice([0, 1, 130, 700])
        drawn = chance.random()
        if drawn < 0.1:
            found = [ask(schema, DELETE) for schema in (first, second)]
        elif drawn < 0.3:
            key = chance.choice(["", "key", "other"])
            found = [ask(schema, SEVERAL, channel, body, key) for schema in (first, second)]
        else:
            found = [ask(first, ONE, channel, body), ask(second, SEVERAL, channel, body, None)]
            stored_by_one += len(found[0][0][0].split()) == 2
        assert [ask(first, rows) for rows in ROWS] == [ask(second, rows) for rows in ROWS]
    assert stored_by_one > STEPS / 10


def test_a_channel_at_its_limit_is_not_tried_for_each_event():
    shortcut = Shortcut()
    assert shortcut.may_try("a")
    shortcut.note_detour("a")
    assert [shortcut.may_try("a") for _ in range(SKIPS + 2)] == [False] * SKIPS + [True] * 2
    assert shortcut.may_try("b")
    shortcut.note_detour(None)
    assert [shortcut.may_try("b") for _ in range(SKIPS + 1)] == [False] * SKIPS + [True]


def test_channels_at_their_limits_are_forgotten_in_time():
    shortcut = Shortcut()
    for number in range(5 * MOST_SKIPS):
        shortcut.note_detour("channel %d" % number)
    assert len(shortcut._skips) <= MOST_SKIPS
