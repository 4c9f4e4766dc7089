"""Statements that come again and again on one connection to PostgreSQL are prepared, where that is possible."""

from __future__ import annotations

import time

import pytest

from flask_ssemux.brokers.postgres.address import Address
from flask_ssemux.brokers.postgres.connection import PREPARED_AT
from flask_ssemux.brokers.postgres.refusal import ConnectionLost
from tests.harness.postgres import PgBouncer

ADD = "SELECT $1::integer + 1"


@pytest.fixture
def connect():
    """connect(url): an open connection."""
    opened = []

    def make(url):
        opened.append(Address(url).connect(soon()))
        return opened[-1]

    yield make
    for connection in opened:
        connection.close()


def soon():
    return time.monotonic() + 10


def ask_often(connection, statement=ADD, values=(1,)):
    return [connection.ask_prepared(statement, values, soon())[0][0] for _ in range(PREPARED_AT + 2)]


def list_prepared(connection):
    return [text for (text,) in connection.ask("SELECT statement FROM pg_prepared_statements", (), soon())]


def test_a_statement_that_comes_again_is_prepared(connect, postgres_url):
    connection = connect(postgres_url)
    connection.ask_prepared("SELECT 5", (), soon())
    assert ask_often(connection) == [2] * (PREPARED_AT + 2)
    assert list_prepared(connection) == [ADD]


def test_nothing_is_prepared_through_a_pooler_of_transactions(connect, shared_postgres, postgres_url, running):
    bouncer = running(PgBouncer(shared_postgres))
    connection = connect(postgres_url.replace(":%d/" % shared_postgres.port, ":%d/" % bouncer.port))
    assert set(ask_often(connection)) == {2} and list_prepared(connection) == []


def test_a_server_that_forgot_its_prepared_statements_costs_no_call(connect, postgres_url):
    connection = connect(postgres_url)
    ask_often(connection)
    connection.run_script("DEALLOCATE ALL", soon())
    assert set(ask_often(connection)) == {2}


def test_a_function_that_answers_otherwise_since_a_migration_costs_no_call(connect, postgres_url):
    connection = connect(postgres_url)
    make = "DROP FUNCTION IF EXISTS pg_temp.answer(); CREATE FUNCTION pg_temp.answer(%s) LANGUAGE sql AS 'SELECT %s'"
    connection.run_script(make % ("OUT found integer", "7"), soon())
    assert set(ask_often(connection, "SELECT * FROM pg_temp.answer()", ())) == {7}
    connection.run_script(make % ("OUT found integer, OUT more text", "8, ''more''::text"), soon())
    assert set(ask_often(connection, "SELECT * FROM pg_temp.answer()", ())) == {8}


def test_a_connection_that_breaks_while_it_prepares_has_not_sent_the_statement(connect, shared_postgres, postgres_url):
    """So a publish is repeated on another connection: nothing was carried out."""
    connection = connect(postgres_url)
    for _ in range(PREPARED_AT - 1):
        connection.ask_prepared(ADD, (1,), soon())
    shared_postgres.pause()
    try:
        with pytest.raises(ConnectionLost) as caught:
            connection.ask_prepared(ADD, (1,), time.monotonic() + 0.3)
    finally:
        shared_postgres.resume()
    assert not caught.value.was_sent
