"""Events that wait for a commit, with real SQLAlchemy sessions and a real database: which are sent, when, in order."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest

import flask_ssemux
from flask_ssemux.errors import ApplicationError, BrokerUnavailable, InvalidEvent
from tests.harness.document import block

sqlalchemy = pytest.importorskip("sqlalchemy", minversion="1.4")
orm = pytest.importorskip("sqlalchemy.orm")


@pytest.fixture
def engine(tmp_path):
    engine = sqlalchemy.create_engine("sqlite:///%s" % (tmp_path / "shop.sqlite3"))
    # sqlite3 begins no transaction by itself before a SAVEPOINT: SQLAlchemy's documentation, "Serializable isolation /
    # Savepoints / Transactional DDL".
    sqlalchemy.event.listen(engine, "connect", lambda raw, _: setattr(raw, "isolation_level", None))
    sqlalchemy.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE job (id INTEGER PRIMARY KEY, title TEXT UNIQUE)")
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine):
    session = orm.Session(engine)
    yield session
    session.close()


@pytest.fixture
def app(make_app):
    return make_app()


@pytest.fixture
def mux(app):
    """The extension, in its application's context."""
    with app.app_context():
        yield flask_ssemux


@pytest.fixture
def sent(app):
    """sent(): the bodies of all published events, in order."""

    def read():
        broker = app.extensions["ssemux"].worker.broker
        page = broker.history.read_events(["jobs", "user:7", "*"], 0, broker.history.get_newest_cursor().sequence, 100)
        return [record.body.decode().split("data: ")[1].strip() for record in page.records]

    return read


def add(session, title):
    session.execute(sqlalchemy.text("INSERT INTO job (title) VALUES (:title)"), {"title": title})


def refusal(error, call, *args):
    with pytest.raises(error) as caught:
        call(*args)
    return str(caught.value)


# -- commit and rollback -----------------------------------------------------


def test_nothing_is_sent_before_the_commit(mux, session, sent):
    add(session, "a")
    mux.publish_on_commit(session, "jobs", "1")
    session.flush()
    assert sent() == []
    session.commit()
    assert sent() == ["1"]


def test_a_rollback_drops_the_event(mux, session, sent):
    add(session, "a")
    mux.publish_on_commit(session, "jobs", "1")
    session.rollback()
    session.commit()
    assert sent() == []


def test_a_rollback_drops_an_event_from_before_the_first_statement(mux, session, sent):
    mux.publish_on_commit(session, "jobs", "1")
    session.rollback()
    session.commit()
    assert sent() == []


def test_a_commit_sends_an_event_from_before_the_first_statement(mux, session, sent):
    mux.publish_on_commit(session, "jobs", "1")
    session.commit()
    assert sent() == ["1"]


def test_closing_the_session_drops_the_event(mux, session, sent):
    add(session, "a")
    mux.publish_on_commit(session, "jobs", "1")
    session.close()
    session.commit()
    assert sent() == []


def test_a_failed_commit_drops_the_event(mux, engine, session, sent):
    add(session, "a")
    session.commit()
    mapped = orm.registry().generate_base() if hasattr(orm, "registry") else orm.declarative_base()

    class Job(mapped):
        __tablename__ = "job"
        id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
        title = sqlalchemy.Column(sqlalchemy.Text)

    mux.publish_on_commit(session, "jobs", "1")
    session.add(Job(title="a"))
    with pytest.raises(sqlalchemy.exc.IntegrityError):
        session.commit()
    session.rollback()
    mux.publish_on_commit(session, "jobs", "2")
    session.commit()
    assert sent() == ["2"]


def test_a_session_can_be_used_again(mux, session, sent):
    for number in range(3):
        mux.publish_on_commit(session, "jobs", str(number))
        session.rollback() if number == 1 else session.commit()
    assert sent() == ["0", "2"]
    session.commit()
    assert sent() == ["0", "2"]


def test_events_are_sent_in_the_order_of_the_calls(mux, session, sent):
    mux.publish_on_commit(session, "jobs", "1")
    mux.send_to_user_on_commit(session, 7, "2", event="notice")
    mux.broadcast_on_commit(session, "3")
    mux.publish_on_commit(session, "jobs", "4")
    session.commit()
    assert sent() == ["1", "2", "3", "4"]


def test_a_session_as_a_context_manager(mux, engine, sent):
    with orm.Session(engine) as session, session.begin():
        add(session, "a")
        mux.publish_on_commit(session, "jobs", "1")
    with pytest.raises(ZeroDivisionError), orm.Session(engine) as session, session.begin():
        mux.publish_on_commit(session, "jobs", "2")
        raise ZeroDivisionError
    assert sent() == ["1"]


def test_two_sessions_are_independent(mux, engine, sent):
    with orm.Session(engine) as one, orm.Session(engine) as other:
        mux.publish_on_commit(one, "jobs", "1")
        mux.publish_on_commit(other, "jobs", "2")
        other.commit()
        one.rollback()
    assert sent() == ["2"]


# -- savepoints --------------------------------------------------------------


def test_rolling_a_savepoint_back_drops_its_events(mux, session, sent):
    mux.publish_on_commit(session, "jobs", "before")
    savepoint = session.begin_nested()
    add(session, "a")
    mux.publish_on_commit(session, "jobs", "within")
    savepoint.rollback()
    mux.publish_on_commit(session, "jobs", "after")
    session.commit()
    assert sent() == ["before", "after"]


def test_events_of_a_released_savepoint_are_sent_with_the_transaction(mux, session, sent):
    mux.publish_on_commit(session, "jobs", "before")
    with session.begin_nested():
        add(session, "a")
        mux.publish_on_commit(session, "jobs", "within")
        with session.begin_nested():
            mux.publish_on_commit(session, "jobs", "deep")
    assert sent() == []
    mux.publish_on_commit(session, "jobs", "after")
    session.commit()
    assert sent() == ["before", "within", "deep", "after"]


def test_events_of_a_released_savepoint_are_dropped_with_the_transaction(mux, session, sent):
    with session.begin_nested():
        mux.publish_on_commit(session, "jobs", "within")
    session.rollback()
    session.commit()
    assert sent() == []


def test_events_of_a_released_savepoint_are_dropped_with_the_outer_savepoint(mux, session, sent):
    around = session.begin_nested()
    with session.begin_nested():
        mux.publish_on_commit(session, "jobs", "deep")
    around.rollback()
    session.commit()
    assert sent() == []


def test_an_event_that_is_published_during_a_flush(mux, session, sent):
    """SQLAlchemy 1.4 opens a transaction for a flush; the event does not belong to it."""
    published = []

    def after_flush(session, context):
        if not published:
            published.append(1)
            mux.publish_on_commit(session, "jobs", "flushed")

    mapped = orm.registry().generate_base()

    class Job(mapped):
        __tablename__ = "job"
        id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)

    sqlalchemy.event.listen(session, "after_flush", after_flush)
    with session.begin_nested():
        session.add(Job())
        session.flush()
    session.commit()
    assert published and sent() == ["flushed"]


@pytest.mark.parametrize("before", [True, False], ids=["called before us", "called after us"])
def test_an_event_that_another_listener_of_the_commit_publishes(mux, session, sent, before):
    def after_commit(session):
        mux.publish_on_commit(session, "jobs", "told")

    if before:
        sqlalchemy.event.listen(session, "after_commit", after_commit)
    mux.publish_on_commit(session, "jobs", "1")
    if not before:
        sqlalchemy.event.listen(session, "after_commit", after_commit)
    with session.begin_nested():
        pass
    assert sent() == []
    session.commit()
    assert sorted(sent()) == ["1", "told", "told"]


# -- the event ---------------------------------------------------------------


def test_the_event_is_encoded_by_the_call(mux, session, sent):
    data = {"done": 1}
    mux.publish_on_commit(session, "jobs", data)
    data["done"] = 2
    session.commit()
    assert sent() == ['{"done":1}']


@pytest.mark.parametrize("arguments", [("", "x"), ("jobs", b"x"), ("jobs", "x", "a\nb"), ("ssemux.x", "x")])
def test_an_invalid_event_is_refused_by_the_call(mux, session, sent, arguments):
    with pytest.raises(InvalidEvent):
        mux.publish_on_commit(session, *arguments)
    session.commit()
    assert sent() == []


def test_anything_else_than_a_session_is_refused(mux, engine):
    assert refusal(ApplicationError, mux.publish_on_commit, engine, "jobs", "x") == (
        "events wait for the commit of an SQLAlchemy session, such as db.session, not of Engine; of an AsyncSession "
        "pass its sync_session"
    )


def test_the_commit_succeeds_while_the_broker_is_unavailable(app, mux, engine, session, sent, caplog):
    broker = app.extensions["ssemux"].worker.broker
    whole, tried = broker.history.append_event, []

    def append(channel, body, key):
        tried.append(channel)
        if len(tried) == 2:
            raise BrokerUnavailable("it is away")
        return whole(channel, body, key)

    broker.history.append_event = append
    add(session, "a")
    mux.publish_on_commit(session, "jobs", "1")
    mux.publish_on_commit(session, "jobs", "2", event="progress")
    mux.broadcast_on_commit(session, "3")
    with caplog.at_level(logging.ERROR, "flask_ssemux"):
        session.commit()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM job").scalar() == 1
    assert sent() == ["1"] and len(tried) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "the transaction is committed, but events were not published: progress on 'jobs', message on '*' (it is away)"
    ]


# -- publishers ---------------------------------------------------------------


def test_publish_on_commit_of_a_publisher(tmp_path, session):
    with flask_ssemux.Publisher("sqlite:///%s" % (tmp_path / "events.sqlite3")) as publisher:
        before = publisher.cursor()
        publisher.publish_on_commit(session, "jobs", "1")
        assert publisher.cursor() == before
        session.commit()
        assert publisher.cursor() != before


@pytest.mark.parametrize("by", ["the module", "the object"])
def test_a_commit_outside_of_the_application_context(make_app, session, by):
    mux = flask_ssemux.SSEMux()
    app = make_app(mux)
    with app.app_context():
        (flask_ssemux if by == "the module" else mux).publish_on_commit(session, "jobs", "1")
    session.commit()
    assert app.extensions["ssemux"].worker.broker.history.get_newest_cursor().sequence == 1


def test_only_the_latest_event_is_kept(app, mux, session, sent):
    for number in range(3):
        mux.publish_on_commit(session, "jobs", str(number), event="progress", latest=True)
    session.commit()
    assert sent() == ["2"]


def test_flask_sqlalchemy(make_app, tmp_path):
    flask_sqlalchemy = pytest.importorskip("flask_sqlalchemy")
    mux = flask_ssemux.SSEMux()
    app = make_app(
        mux,
        SQLALCHEMY_DATABASE_URI="sqlite:///%s" % (tmp_path / "flask.sqlite3"),
        SQLALCHEMY_TRACK_MODIFICATIONS=False,
    )
    db = flask_sqlalchemy.SQLAlchemy(app)

    class Job(db.Model):
        id = db.Column(db.Integer, primary_key=True)

    with app.app_context():
        db.create_all()
        broker = app.extensions["ssemux"].worker.broker
        job = Job()
        db.session.add(job)
        db.session.flush()
        mux.publish_on_commit(db.session, "jobs:%d" % job.id, {"id": job.id})
        mux.broadcast_on_commit(db.session, "new")
        db.session.rollback()
        assert broker.history.get_newest_cursor().sequence == 0
        job = Job()
        db.session.add(job)
        db.session.flush()
        mux.publish_on_commit(db.session, "jobs:%d" % job.id, {"id": job.id})
        db.session.commit()
        assert broker.history.get_newest_cursor().sequence == 1
        mux.publish_on_commit(db.session, "jobs:1", "not said in the end")
    with app.app_context():  # the end of a request closes its session
        db.session.commit()
        assert broker.history.get_newest_cursor().sequence == 1
        db.session.remove()
        db.engine.dispose()


def test_sessions_leave_nothing_behind(mux, engine):
    gone = []
    for _ in range(3):
        session = orm.Session(engine)
        mux.publish_on_commit(session, "jobs", "x")
        session.commit()
        session.close()
        gone.append(weakref.ref(session))
    del session
    gc.collect()
    assert [reference() for reference in gone] == [None, None, None]


def test_the_example_of_the_documentation(make_app, tmp_path):
    flask_sqlalchemy = pytest.importorskip("flask_sqlalchemy")
    source = block("on-commit.md", "python", "job = Job(")
    app = make_app(
        SQLALCHEMY_DATABASE_URI="sqlite:///%s" % (tmp_path / "docs.sqlite3"), SQLALCHEMY_TRACK_MODIFICATIONS=False
    )
    db = flask_sqlalchemy.SQLAlchemy(app)

    class Job(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        title = db.Column(db.Text)

    with app.app_context():
        db.create_all()
    with app.app_context():
        exec(source, {"db": db, "Job": Job, "flask_ssemux": flask_ssemux})
        broker = app.extensions["ssemux"].worker.broker
        (record,) = broker.history.read_events(["jobs:1"], 0, 10, 10).records
        assert record.body == b'event: new\nchannel: jobs:1\ndata: {"title":"export"}\n\n'
        db.session.remove()
        db.engine.dispose()
