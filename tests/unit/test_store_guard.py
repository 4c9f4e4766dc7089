"""Two applications on one store in one process; how a namespace names a store."""

from __future__ import annotations

import gc
import logging
import sqlite3

import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client, EnvironBuilder
from werkzeug.wrappers import Response

import flask_ssemux
from flask_ssemux.brokers import absolute_url
from flask_ssemux.brokers.namespace import add_to_path, add_to_prefix
from flask_ssemux.errors import ConfigurationError
from flask_ssemux.worker.store_guard import SHORT, WAYS_OUT


@pytest.fixture
def store(tmp_path):
    return "sqlite:///%s" % (tmp_path / "store.sqlite3")


@pytest.fixture
def make(make_app, store):
    """make(name, **config): an application on the test's store."""
    return lambda name="shop", **config: make_app(name=name, **{"SSEMUX_BROKER": store, **config})


def refusal(make, *args, **config):
    with pytest.raises(ConfigurationError) as raised:
        make(*args, **config)
    return str(raised.value)


# -- at start ------------------------------------------------------------------


def test_an_application_of_another_name_is_refused(make, store):
    make("shop")
    assert refusal(make, "office") == (
        "the application 'office' uses the store %s, and so does the application 'shop' in this process; what one of "
        "them sends to its users and to everyone would reach the other's: set SSEMUX_NAMESPACE to a different name in "
        "each of them, or to the same name in both to share on purpose" % store
    )


def test_an_application_of_another_key_is_refused(make):
    make(SECRET_KEY="a")
    assert "the application 'shop' (which has another SECRET_KEY) in this process; " in refusal(make, SECRET_KEY="b")


@pytest.mark.parametrize(
    "first, second",
    [
        ({}, {}),
        ({"SECRET_KEY": "a"}, {"SECRET_KEY": "a"}),
        ({"SECRET_KEY": "a"}, {}),
        ({"SECRET_KEY": "a"}, {"SECRET_KEY": "b", "TESTING": True}),
        ({"name": "a", "SSEMUX_BROKER": "memory:"}, {"name": "b", "SSEMUX_BROKER": "memory:"}),
        ({"name": "a", "SSEMUX_NAMESPACE": "a"}, {"name": "b", "SSEMUX_NAMESPACE": "b"}),
        ({"name": "a", "SSEMUX_NAMESPACE": "x"}, {"name": "b", "SSEMUX_NAMESPACE": "x"}),
        ({"name": "a", "SSEMUX_NAMESPACE": "x"}, {"name": "b"}),
    ],
    ids=repr,
)
def test_applications_that_may_be_the_same_or_have_namespaces_are_not_refused(make, first, second, caplog):
    with caplog.at_level(logging.WARNING, "flask_ssemux"):
        apps = [make(**first), make(**second)]
        for app in apps:
            with app.app_context():
                flask_ssemux.publish("a", 1)
    assert not caplog.records


def test_an_application_that_is_gone_does_not_block_the_store(bare_app, make, store):
    def build_and_drop():
        app = bare_app("shop", SSEMUX_BROKER=store)
        app.myself = app  # a cycle, as applications are
        flask_ssemux.init_app(app)

    gc.disable()
    try:
        build_and_drop()
        make("office")
    finally:
        gc.enable()


def test_another_prefix_is_another_store(make, redis_url):
    make("shop", SSEMUX_BROKER=redis_url)
    make("office", SSEMUX_BROKER=redis_url + "x")
    assert "(prefix %s)" % redis_url.partition("prefix=")[2] in refusal(make, "office", SSEMUX_BROKER=redis_url)


# -- later ---------------------------------------------------------------------


def add_views(app):
    app.add_url_rule("/all", "all", lambda: flask_ssemux.broadcast({"to": "everyone"}))
    return app


@pytest.fixture
def site(make):
    """site(shop={…}, office={…}): two applications under one dispatcher, the shop at / and the office at /office."""

    def begin(**configs):
        shop, office = (add_views(make("app", **configs.get(name, {}))) for name in ("shop", "office"))
        return Client(DispatcherMiddleware(shop, {"/office": office}), Response)

    return begin


def opened(client, path):
    """Return the first frames of a stream."""
    with client.get(path, buffered=False) as response:
        return next(iter(response.iter_encoded())).decode()


def test_the_second_of_two_mounted_applications_that_cannot_be_distinguished_at_start(site, caplog):
    client = site()
    assert "ssemux.hello" in opened(client, "/events")
    with caplog.at_level(logging.ERROR, "flask_ssemux"):
        assert SHORT in opened(client, "/office/events")
        assert client.get("/office/all").status_code == 500
    assert "the application 'app' in this process, at localhost; %s" % WAYS_OUT in caplog.text
    assert client.get("/all").status_code == 200
    assert "ssemux.hello" in opened(client, "/events")


def test_the_first_application_that_publishes_owns_the_store(site):
    client = site()
    assert client.get("/office/all").status_code == 200
    assert SHORT in opened(client, "/events")


def test_mounted_applications_with_namespaces(site):
    client = site(shop={"SSEMUX_NAMESPACE": "shop"}, office={"SSEMUX_NAMESPACE": "office"})
    assert "ssemux.hello" in opened(client, "/events") and "ssemux.hello" in opened(client, "/office/events")
    cursors = [client.get(path).get_data(as_text=True) for path in ("/all", "/office/all", "/office/all")]
    assert [cursor.partition("-")[2] for cursor in cursors] == ["1", "1", "2"]


def test_mounted_applications_that_share_on_purpose(site):
    client = site(shop={"SSEMUX_NAMESPACE": "x"}, office={"SSEMUX_NAMESPACE": "x"})
    assert "ssemux.hello" in opened(client, "/events") and "ssemux.hello" in opened(client, "/office/events")
    cursors = [client.get(path).get_data(as_text=True) for path in ("/all", "/office/all")]
    assert [cursor.partition("-")[2] for cursor in cursors] == ["1", "2"]


def test_two_applications_by_host_and_one_that_was_made_anew(make):
    old, new = make("app"), make("app")
    clients = [Client(app, Response) for app in (old, new)]

    def first_bytes(client, host):
        builder = EnvironBuilder("/events", base_url="http://%s/" % host)
        with client.open(builder, buffered=False) as response:
            return next(iter(response.iter_encoded())).decode()

    assert "ssemux.hello" in first_bytes(clients[0], "a.example")
    assert "ssemux.hello" in first_bytes(clients[1], "a.example")
    assert SHORT in first_bytes(clients[1], "b.example")


def test_keys_that_are_set_after_init_app(make):
    shop, office = make("app"), make("app")
    shop.secret_key, office.secret_key = "a", "b"
    with shop.app_context():
        flask_ssemux.publish("a", 1)
    with office.app_context(), pytest.raises(ConfigurationError, match="which has another SECRET_KEY"):
        flask_ssemux.send_to_user("1", 1)
    with office.app_context(), pytest.raises(ConfigurationError, match="SSEMUX_NAMESPACE"):
        flask_ssemux.disconnect("1")
    office.config["SSEMUX_NAMESPACE"] = "too late"
    with office.app_context():
        flask_ssemux.cursor()  # nothing is sent


def test_streams_end_if_another_application_has_taken_the_store_meanwhile(make, store, caplog):
    """This happens if a store was emptied, or if a worker was stopped for longer than its registration lasts."""
    app = make("shop")
    worker = app.extensions["ssemux"].worker
    with Client(app, Response).get("/events", buffered=False) as response:
        items = response.iter_encoded()
        assert b"ssemux.hello" in next(items)
        with sqlite3.connect(store[len("sqlite:///") :]) as file:
            file.execute("DELETE FROM applications")
        file.close()
        other = flask_ssemux.brokers.open_broker(store)
        other.reports.register_application("office", "")
        with caplog.at_level(logging.ERROR, "flask_ssemux"):
            worker.running().check_store()
        assert SHORT in next(items).decode()
    assert "1 streams are ended: the application 'shop' uses the store" in caplog.text
    assert SHORT in opened(Client(app, Response), "/events")
    other.close()
    worker.store_guard.renew_registration()
    assert "ssemux.hello" in opened(Client(app, Response), "/events")


def test_another_key_in_the_register_is_logged_once(make, store, caplog):
    other = flask_ssemux.brokers.open_broker(store)
    other.reports.register_application("shop", "abcdef")
    with caplog.at_level(logging.ERROR, "flask_ssemux"):
        app = make("shop", SECRET_KEY="mine")
        with app.app_context():
            flask_ssemux.publish("a", 1)
            app.extensions["ssemux"].worker.store_guard.renew_registration()
    (record,) = caplog.records
    assert "(which has another SECRET_KEY) on " in record.getMessage()
    assert record.getMessage().endswith(WAYS_OUT + "; ignore this while SECRET_KEY is being changed")
    (mine,) = other.reports.register_application("shop", "abcdef")
    assert len(mine.key) == 6 and "mine" not in mine.key
    other.close()


def test_a_publisher_and_the_command_line(make, store, monkeypatch):
    app = make("shop", SSEMUX_NAMESPACE="shop")
    shown = app.test_cli_runner().invoke(args=["ssemux", "status"]).output
    assert "flask_ssemux.Publisher(%r, namespace='shop')" % store in shown
    with flask_ssemux.Publisher(store, namespace="shop") as publisher, app.app_context():
        assert publisher.publish("a", 1) == flask_ssemux.cursor()
    monkeypatch.setenv("SSEMUX_NAMESPACE", "shop")
    with flask_ssemux.Publisher(store) as publisher, app.app_context():
        assert publisher.publish("a", 1) == flask_ssemux.cursor()
    with pytest.raises(ConfigurationError, match="^SSEMUX_NAMESPACE='a b': a namespace is 1 to 64 letters"):
        flask_ssemux.Publisher(store, namespace="a b")


# -- names -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, namespace, made",
    [
        ("/srv/ssemux.sqlite3", None, "/srv/ssemux.sqlite3"),
        ("/srv/ssemux.sqlite3", "shop", "/srv/ssemux-shop.sqlite3"),
        ("/srv/ssemux-shop.sqlite3", "shop", "/srv/ssemux-shop.sqlite3"),
        ("/srv.d/store", "v1.2", "/srv.d/store-v1.2"),
    ],
)
def test_the_file_of_a_namespace(path, namespace, made):
    assert add_to_path(path, namespace) == made


@pytest.mark.parametrize("prefix, namespace, made", [("a", "shop", "a:shop"), ("a", None, "a")])
def test_the_prefix_of_a_namespace(prefix, namespace, made):
    assert add_to_prefix(prefix, namespace) == made


def test_a_url_for_processes_without_the_application(tmp_path):
    assert absolute_url("sqlite:", str(tmp_path)) == "sqlite:///%s/ssemux.sqlite3" % tmp_path
    assert absolute_url("redis://h/0", str(tmp_path)) == "redis://h/0"
