"""A small event comes with its notification; PostgreSQL is not asked for it."""

from __future__ import annotations

import re

import pytest

from flask_ssemux.brokers import NewEvent
from flask_ssemux.brokers.postgres.news import SMALL, parse_news

#: Bodies that a notification could carry wrongly, and sizes on both sides of the limit.
BODIES = [b"one", b"", b"two\n\nlines \xc3\xa4", b"\x00\xff\xfe", b"x" * SMALL, b"x" * (SMALL + 1), b"last"]

#: Names with what separates the parts of a notification, and with characters of several bytes.
CHANNELS = ["a b  c", "line\nbreak", "ä€😀", "12 3 a", "x" * SMALL, "y" * (SMALL + 1)]


def test_bodies_and_names_of_all_kinds_arrive_as_they_were_sent(postgres, recorder):
    reader, writer = postgres(), postgres()
    reader.history.start_delivery(recorder.listener)
    reader.history.subscribe_channels(CHANNELS)
    sent = [NewEvent(channel, body, None) for channel in CHANNELS for body in BODIES]
    sent.append(NewEvent(CHANNELS[0], b"latest", "key"))
    for event in sent[::2]:
        writer.history.append_event(*event)
    writer.history.append_events(sent[1::2])
    found = recorder.wait(len(sent))
    assert [NewEvent(*record[1:]) for record in found] == sent[::2] + sent[1::2]
    assert [record.sequence for record in found] == sorted(record.sequence for record in found)


def test_small_events_are_delivered_without_being_read(postgres, recorder, shared_postgres, postgres_url):
    reader, writer = postgres(), postgres()
    reader.history.start_delivery(recorder.listener)
    reader.history.subscribe_channels(["a"])
    writer.history.append_event("a", b"x" * (SMALL + 1))
    recorder.wait(1)
    schema = postgres_url.rpartition("schema=")[2]
    shared_postgres.ask('ALTER FUNCTION "%s".read_some RENAME TO read_none' % schema)
    for number in range(20):
        writer.history.append_event("a", b"%d" % number)
    assert [record.body for record in recorder.wait(21)[1:]] == [b"%d" % number for number in range(20)]
    assert not recorder.losses


@pytest.mark.parametrize("rest, channel, packed", [("1 a", "a", ""), ("3 a b", "a b", ""), ("1 aeA==", "a", "eA==")])
def test_a_notification_is_read(rest, channel, packed):
    assert parse_news("epoch 5 1 " + rest) == ("epoch", 5, 1, channel, packed)


def test_only_who_may_read_the_tables_knows_where_events_are_announced(postgres, shared_postgres, postgres_url):
    """PostgreSQL lets every role LISTEN to every channel."""
    postgres().history.append_event("a", b"secret")
    schema = postgres_url.rpartition("schema=")[2]
    ((name,),) = shared_postgres.ask("SELECT notify_channel FROM %s.state" % schema)
    assert re.fullmatch("ssemux_[0-9a-f]{32}", name)
    shared_postgres.ask("CREATE ROLE stranger_%s LOGIN" % schema)
    stranger = {"user": "stranger_" + schema}
    with pytest.raises(Exception, match="permission denied"):
        shared_postgres.ask("SELECT notify_channel FROM %s.state" % schema, **stranger)
    visible = "SELECT count(*) FROM pg_proc WHERE prosrc LIKE '%' || $1 || '%'".replace("$1", "'%s'" % name)
    assert shared_postgres.ask(visible, **stranger) == [(0,)]
