"""Two services with one store, as through the same SSEMUX_BROKER: no event of one reaches the other."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from tests.harness.waiting import until
from tests.server.conftest import Site

APP = "tests.apps.tenant:create_app()"
REFUSED = "another application uses this store, and neither says that they share it"


@pytest.fixture
def start(gunicorn, broker_url):
    """start(name, **env): a service on the test's store."""
    return lambda name, **env: Site(gunicorn(APP, env={"SSEMUX_BROKER": broker_url, "NAME": name, **env}))


def send(site, data):
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d/send?user=1&data=%s" % (site.port, data), timeout=5) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


@pytest.mark.engines("sqlite", "postgres")
def test_the_second_service_is_refused_until_the_first_has_gone(start):
    shop, office = start("shop"), start("office")
    with shop.stream("/events?user=1") as stream:
        stream.wait_for(b"ssemux.hello", 3)
        with office.stream("/events?user=1") as refused:
            assert refused.wait_end(3) == "clean"
            assert REFUSED in refused.body.decode() and 10000 <= refused.ending().retry <= 30000
            assert b"shop" not in refused.body
        said = send(office, "secret")
        assert said.startswith("ConfigurationError: the application 'office' uses the store ")
        assert "the application 'shop' on " in said and "set SSEMUX_NAMESPACE to a different name in each" in said
        assert "a stream was refused: " + said.partition(": ")[2] in office.server.log
        send(shop, "mine")
        stream.wait_for(b"data: mine\n", 3)
        assert b"secret" not in stream.body
    assert shop.server.stop(10)
    until(lambda: "-" in send(office, "free")[:30], 5, lambda: send(office, "free"))


@pytest.mark.engines("redis", "postgres")
def test_services_with_namespaces_are_separate_and_share_if_configured(start):
    shop, office, again = (start(name, SSEMUX_NAMESPACE=space) for name, space in (("a", "x"), ("a", "y"), ("b", "x")))
    with shop.stream("/events?user=1") as stream, office.stream("/events?user=1") as other:
        for one in (stream, other):
            one.wait_for(b"ssemux.hello", 3)
        send(office, "secret")
        send(again, "shared")
        stream.wait_for(b"data: shared\n", 3)
        other.wait_for(b"data: secret\n", 3)
        assert b"secret" not in stream.body and b"shared" not in other.body


@pytest.mark.engines("sqlite")
def test_two_services_of_one_name_are_distinguished_by_their_key_in_the_log(start):
    first, second = start("app", KEY="one"), start("app", KEY="two")
    send(first, "a")
    send(second, "b")
    assert second.server.log.count("which has another SECRET_KEY") == 1
    send(second, "c")
    assert second.server.log.count("which has another SECRET_KEY") == 1
