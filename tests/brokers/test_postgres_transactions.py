"""Events that are part of the application's own transaction: publish(…, session=…) with a broker on PostgreSQL."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from flask import Flask

import flask_ssemux
from flask_ssemux import Publisher, testing
from flask_ssemux.errors import ApplicationError, InvalidEvent
from tests.brokers import transactions
from tests.harness.document import block
from tests.harness.packages import need_python
from tests.harness.waiting import until

sqlalchemy = pytest.importorskip("sqlalchemy", minversion="1.4")
orm = pytest.importorskip("sqlalchemy.orm")

#: Commits a row and an event, and is gone before anybody can do more.
KILLED = """
import os, sys, psycopg
from flask_ssemux import Publisher
publisher, connection = Publisher(sys.argv[1]), psycopg.connect(sys.argv[2])
publisher.publish("a", "lost?", session=connection)
connection.commit()
os._exit(1)
"""


@pytest.fixture
def publisher(postgres_url):
    with Publisher(postgres_url) as publisher:
        yield publisher


@pytest.fixture
def plain_url(postgres_url):
    """The database's URL, as its drivers know it."""
    return postgres_url.partition("?")[0]


@pytest.fixture(params=["Session", "scoped_session", "Connection", "psycopg", "psycopg2"])
def session(request, plain_url):
    """What an application passes: each kind has commit() and rollback()."""
    if request.param.startswith("psycopg"):
        driver = need_python("psycopg2-binary" if request.param == "psycopg2" else "psycopg[binary]", request.param)
        made = driver.connect(plain_url)
        yield made
        made.close()
        return
    need_python("psycopg2-binary", "psycopg2")
    engine = sqlalchemy.create_engine(plain_url.replace("postgresql:", "postgresql+psycopg2:"), future=True)
    if request.param == "Connection":
        made = engine.connect()
    else:
        made = orm.sessionmaker(engine, future=True)
        made = made() if request.param == "Session" else orm.scoped_session(made)
    yield made
    made.close()
    engine.dispose()


@pytest.fixture
def bodies(postgres, recorder):
    """The data that a worker has received."""
    broker = postgres()
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a", "user:7", "*"])
    return lambda: [record.body.split(b"data: ")[1].strip().decode() for record in recorder.records]


def savepoint(session, name):
    if isinstance(session, sqlalchemy.engine.Connection) or hasattr(session, "get_bind"):
        return lambda words: session.execute(sqlalchemy.text(words + name))
    return lambda words: session.cursor().execute(words + name)


def test_what_is_committed_is_sent_in_order_and_what_is_rolled_back_never(session, publisher, bodies):
    assert publisher.publish("a", "1", session=session) is None
    publisher.send_to_user(7, "2", session=session)
    time.sleep(0.7)  # longer than a worker waits until it looks again
    assert bodies() == []
    session.commit()
    publisher.publish("a", "3")  # in its place, whoever was faster
    until(lambda: len(bodies()) == 3, 10, lambda: str(bodies()))
    publisher.broadcast("never", session=session)
    session.rollback()
    publisher.broadcast("4", session=session)
    run = savepoint(session, "part")
    run("SAVEPOINT ")
    publisher.publish("a", "never", session=session)
    run("ROLLBACK TO SAVEPOINT ")
    publisher.publish("a", "5", "named", latest=True, session=session)
    session.commit()
    until(lambda: len(bodies()) == 5, 10, lambda: str(bodies()))
    assert bodies() == ["1", "2", "3", "4", "5"]


def test_an_event_is_sent_although_its_process_is_gone_after_the_commit(postgres_url, plain_url, bodies):
    done = subprocess.run([sys.executable, "-c", KILLED, postgres_url, plain_url], timeout=60)
    assert done.returncode == 1
    until(lambda: bodies() == ["lost?"], 10, lambda: str(bodies()))


#: Of the processes of the test below, after which line each is killed: while its transaction is open, or about to end.
#: Another one takes over the transactions that are left.
KILLS = {0: "64 begins", 1: "97 begins", 2: "66 ends", 3: "99 ends", 4: "76 begins", 5: "109 ends"}


def run_transactions(url, table, numbers, kill_after):
    """Run transactions in a process that may be killed on the way, and those that are left in a second one.

    :return: the lines that they printed, and the transaction in which the first one was killed.
    """
    first = transactions.Process("write", url, table, *numbers)
    if not kill_after:
        assert first.end() == 0
        return first.lines, None
    first.kill_after(kill_after)
    assert first.end() == -signal.SIGKILL
    last = [int(line.split()[0]) for line in first.lines if line.endswith("begins")][-1]
    second = transactions.Process("write", url, table, *numbers[numbers.index(last) + 1 :])
    assert second.end() == 0
    return first.lines + second.lines, last


@pytest.fixture
def orders(shared_postgres, postgres_url):
    """A table of the application."""
    schema = "shop_" + postgres_url.partition("?schema=")[2]
    shared_postgres.ask("CREATE SCHEMA %s AUTHORIZATION tests" % schema)
    shared_postgres.ask("CREATE TABLE %s.orders (number integer PRIMARY KEY)" % schema)
    shared_postgres.ask("ALTER TABLE %s.orders OWNER TO tests" % schema)
    return schema + ".orders"


@pytest.fixture
def readers(postgres_url):
    """Three workers that read."""
    started = [transactions.Process("read", postgres_url) for _ in range(3)]
    for reader in started:
        until(lambda reader=reader: reader.lines == ["reads"], 20, lambda reader=reader: str(reader.lines))
    yield started
    for reader in started:
        reader.end()


def test_200_transactions_that_overlap_in_processes_of_which_some_are_killed(
    shared_postgres, postgres_url, postgres, orders, readers
):
    """Of each committed transaction all events come, in their order, and of the others none; all readers have the same
    order. The application's own table says which ones are committed: of a killed process nobody else knows it.
    """
    with ThreadPoolExecutor(8) as pool:
        shares = [list(range(number, 200, 8)) for number in range(8)]
        calls = [
            pool.submit(run_transactions, postgres_url, orders, share, KILLS.get(number))
            for number, share in enumerate(shares)
        ]
        results = [call.result() for call in calls]
    open_ones = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
    until(lambda: not shared_postgres.ask(open_ones, orders), 10, "a transaction of a killed process is still open")
    waiting = "SELECT FROM %s.outbox" % postgres_url.partition("?schema=")[2]
    until(lambda: not shared_postgres.ask(waiting), 10, "some events are not placed")
    records = postgres().history.read_events(transactions.CHANNELS, 0, 10**17, 10**4).records
    came = [(record.sequence, record.body.split(b"data: ")[1].strip().decode()) for record in records]
    lines = ["reads", *("%d %s" % it for it in came)]
    for reader in readers:
        until(lambda reader=reader: len(reader.lines) >= len(lines), 20, lambda reader=reader: str(reader.lines[-3:]))
        assert reader.lines == lines

    plans = [transactions.make_plan(number) for number in range(200)]
    committed = {number for (number,) in shared_postgres.ask("SELECT number FROM " + orders)}
    planned = {plan.number for plan in plans if plan.is_committed}
    assert planned - {killed for _, killed in results} <= committed <= planned
    for plan in plans:
        steps = [text for _, text in came if text.startswith("%d." % plan.number)]
        assert steps == (plan.texts if plan.number in committed else [])
    beside = [text for _, text in came if text.startswith("beside")]
    assert len(beside) == len(set(beside)) and len(came) == len(beside) + sum(
        len(plan.texts) for plan in plans if plan.number in committed
    )
    assert {line for said, _ in results for line in said if line.startswith("beside")} <= set(beside)


def test_neither_waits_for_the_other(publisher, plain_url, postgres_url, bodies):
    """A transaction commits while events are being numbered, and events are published while it is open."""
    psycopg, schema = need_python("psycopg[binary]", "psycopg"), postgres_url.partition("?schema=")[2]
    with psycopg.connect(plain_url) as connection, psycopg.connect(plain_url) as other:
        publisher.publish("a", "long", session=connection)
        publisher.publish("a", "1")
        until(lambda: bodies() == ["1"], 10, lambda: str(bodies()))
        other.execute(f"LOCK TABLE {schema}.turn IN EXCLUSIVE MODE")
        began = time.monotonic()
        connection.commit()
        assert time.monotonic() - began < 1.0 and bodies() == ["1"]
        other.rollback()
        until(lambda: bodies() == ["1", "long"], 10, lambda: str(bodies()))


def test_two_phases(publisher, plain_url, postgres_url, bodies):
    psycopg = need_python("psycopg[binary]", "psycopg")
    with psycopg.connect(plain_url) as connection:
        for name in ("kept", "dropped"):
            connection.tpc_begin(connection.xid(1, postgres_url.rpartition("=")[2], name))
            publisher.publish("a", name, session=connection)
            connection.tpc_prepare()
            publisher.publish("a", "while %s is prepared" % name)
            connection.tpc_commit() if name == "kept" else connection.tpc_rollback()
    until(lambda: len(bodies()) == 3, 10, lambda: str(bodies()))
    assert bodies() == ["while kept is prepared", "kept", "while dropped is prepared"]


def test_what_cannot_work_is_refused_before_anything_is_written(publisher, plain_url, tmp_path):
    need_python("psycopg2-binary", "psycopg2")
    engine = sqlalchemy.create_engine(plain_url.replace("postgresql:", "postgresql+psycopg2:"))
    with orm.Session(engine) as session, orm.Session(sqlalchemy.create_engine("sqlite://")) as other:
        with pytest.raises(InvalidEvent):
            publisher.publish("a\n", "x", session=session)
        with pytest.raises(ApplicationError, match="of a sqlite database"):
            publisher.publish("a", "x", session=other)
        with pytest.raises(ApplicationError, match="not Engine; of an AsyncSession"):
            publisher.publish("a", "x", session=engine)
        with Publisher("sqlite:///%s" % (tmp_path / "x")) as elsewhere, pytest.raises(
            ApplicationError, match="with any other broker use publish_on_commit"
        ):
            elsewhere.publish("a", "x", session=session)
    engine.dispose()


def test_the_example_of_the_page(postgres_url, plain_url):
    """The lines of docs/on-commit.md, with a model of SQLAlchemy's own, whose table the connection alone has."""
    need_python("psycopg2-binary", "psycopg2")
    engine = sqlalchemy.create_engine(plain_url.replace("postgresql:", "postgresql+psycopg2:"), future=True)
    base = orm.declarative_base()

    class Job(base):
        __tablename__ = "jobs"
        __table_args__ = {"prefixes": ["TEMPORARY"]}
        id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
        title = sqlalchemy.Column(sqlalchemy.Text)

    app = Flask("shop")
    app.config["SSEMUX_BROKER"] = postgres_url
    flask_ssemux.SSEMux(app).authorize("jobs:<job_id>")(lambda user_id, job_id: True)
    with engine.connect() as connection, testing.stream(app, channels=["jobs:1"]) as events, app.app_context():
        base.metadata.create_all(connection)
        connection.commit()
        db = SimpleNamespace(session=orm.scoped_session(orm.sessionmaker(connection, future=True)))
        names = {"db": db, "job": Job(title="export"), "flask_ssemux": flask_ssemux}
        exec(block("on-commit.md", "python", "db.session.add(job)"), names)
        events.expect("new", {"title": "export"}, timeout=10)
        db.session.remove()
    testing.close(app)
    engine.dispose()
