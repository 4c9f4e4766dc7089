"""``Publisher``: what it stores, which URLs it accepts, and the errors for all others."""

from __future__ import annotations

import os

import pytest

from flask_ssemux import Publisher
from flask_ssemux.brokers import open_broker
from flask_ssemux.errors import BrokerClosed, BrokerUnavailable, ConfigurationError, EventTooLarge, InvalidEvent
from flask_ssemux.sse.cursor import Cursor


@pytest.fixture
def url(tmp_path):
    return "sqlite:///%s" % (tmp_path / "shop.sqlite3")


@pytest.fixture
def publisher(url):
    with Publisher(url) as made:
        yield made


def stored(url):
    broker = open_broker(url)
    try:
        return [
            (channel, body)
            for _, channel, body, _ in broker.history.read_events(["jobs", "user:7", "*"], 0, 10**9, 100).records
        ]
    finally:
        broker.close()


def refusal(*args):
    with pytest.raises(ConfigurationError) as caught:
        Publisher(*args)
    return str(caught.value)


# -- publishing --------------------------------------------------------------


def test_published_events_are_stored(publisher, url):
    publisher.publish("jobs", {"done": 7}, event="progress")
    publisher.send_to_user(7, "ready")
    publisher.broadcast("2.4")
    assert stored(url) == [
        ("jobs", b'event: progress\nchannel: jobs\ndata: {"done":7}\n\n'),
        ("user:7", b"data: ready\n\n"),
        ("*", b"data: 2.4\n\n"),
    ]


def test_each_event_has_a_cursor(publisher):
    first = Cursor.parse(publisher.cursor())
    said = [Cursor.parse(publisher.publish("jobs", "x")) for _ in range(3)]
    assert said == [Cursor(first.epoch, number) for number in (1, 2, 3)]
    assert publisher.cursor() == str(said[-1])


@pytest.mark.parametrize("arguments", [("", "x"), ("jobs", b"x"), ("jobs", "x", "a\nb")])
def test_an_invalid_event_is_not_stored(publisher, url, arguments):
    with pytest.raises(InvalidEvent):
        publisher.publish(*arguments)
    assert stored(url) == []


@pytest.mark.parametrize("user_id", [None, "", True, "7\n"])
def test_an_invalid_user_id_is_refused(publisher, url, user_id):
    with pytest.raises(InvalidEvent):
        publisher.send_to_user(user_id, "x")
    assert stored(url) == []


def test_the_limit_of_an_event(url):
    with Publisher(url) as usual, Publisher(url, max_event_bytes=100) as small:
        usual.publish("jobs", "x" * 100_000)
        with pytest.raises(EventTooLarge):
            usual.publish("jobs", "x" * 262_144)
        with pytest.raises(EventTooLarge):
            small.publish("jobs", "x" * 100)
    assert len(stored(url)) == 1


def test_publishing_after_close_is_refused(publisher, tmp_path):
    publisher.close()
    publisher.close()
    with pytest.raises(BrokerClosed) as caught:
        publisher.publish("jobs", "x")
    assert str(caught.value) == "the broker on %s is closed" % (tmp_path / "shop.sqlite3")


def test_a_file_that_cannot_be_created(tmp_path):
    (tmp_path / "file").write_text("x")
    with Publisher("sqlite:///%s/file/x.sqlite3" % tmp_path) as publisher, pytest.raises(BrokerUnavailable) as caught:
        publisher.publish("jobs", "x")
    assert str(caught.value).startswith("the SQLite store %s/file/x.sqlite3: " % tmp_path)


def test_nothing_is_opened_before_the_first_event(url, tmp_path):
    publisher = Publisher(url)
    assert os.listdir(str(tmp_path)) == []
    publisher.close()


def test_closing_an_unused_publisher_opens_nothing(url, tmp_path):
    Publisher(url).close()
    assert os.listdir(str(tmp_path)) == []


# -- which URL ---------------------------------------------------------------


def test_the_environment_has_the_url(url, monkeypatch):
    monkeypatch.setenv("SSEMUX_BROKER", url)
    with Publisher() as publisher:
        publisher.publish("jobs", "x")
    assert len(stored(url)) == 1


def test_the_argument_overrides_the_environment(url, monkeypatch):
    monkeypatch.setenv("SSEMUX_BROKER", "memory:")
    with Publisher(url) as publisher:
        publisher.publish("jobs", "x")
    assert len(stored(url)) == 1


@pytest.mark.parametrize("arguments", [(), (None,), ("",)])
def test_a_url_is_needed(arguments):
    assert refusal(*arguments) == (
        "Publisher needs the broker's URL, or SSEMUX_BROKER in the environment; `flask ssemux status` shows it"
    )


@pytest.mark.parametrize("url", ["memory:", "memory://"])
def test_the_memory_broker_is_refused(url):
    assert refusal(url) == (
        "%r works within one process only, so nobody would read what is published here; use the broker of the "
        "application, which `flask ssemux status` shows" % url
    )


@pytest.mark.parametrize("url", ["sqlite:", "sqlite://", "sqlite:///ssemux.sqlite3", "sqlite:///folder/x"])
def test_a_relative_path_is_refused(url):
    assert refusal(url) == (
        "%r names a file in an application's instance folder, and there is no application here; give the absolute "
        "path: sqlite:////path/to/instance/ssemux.sqlite3" % url
    )


@pytest.mark.parametrize("url", ["sqlite:x.db", "sqlite:/srv/x.db", "sqlite://srv/x.db"])
def test_a_wrong_number_of_slashes_is_refused(url):
    assert refusal(url) == (
        "SSEMUX_BROKER=%r: after sqlite: come three slashes and a path, or four and an absolute one" % url
    )


@pytest.mark.parametrize("url", ["sqlite:///:memory:", "sqlite:///"])
def test_sqlite_in_memory_is_refused(url):
    assert refusal(url) == "SSEMUX_BROKER=%r: for a broker in memory use 'memory:'" % url


@pytest.mark.parametrize("url", ["redis://localhost", "rediss://localhost", "unix:///run/redis"])
def test_no_connection_to_redis_before_the_first_event(url):
    Publisher(url).close()


@pytest.mark.parametrize("url", ["mysql://x", "memory:x", "file.db", "SQLITE:///x"])
def test_an_unknown_scheme_is_refused(url):
    assert refusal(url) == (
        "SSEMUX_BROKER=%r: must be memory:, sqlite:, sqlite:///path/from/the/instance/folder, "
        "sqlite:////absolute/path, or one of redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://, "
        "redis+cluster://, rediss+cluster://, postgresql://, postgres://" % url
    )
