"""Redis URLs as applications, platforms and other packages write them: each works, or is refused with the fix.

Nothing that may be a part of a password is in any error.
"""

from __future__ import annotations

import re
import subprocess

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flask_ssemux.brokers import open_broker
from flask_ssemux.brokers.contract import constants
from flask_ssemux.brokers.redis.url import RedisURL
from flask_ssemux.errors import BrokerUnavailable, ConfigurationError
from flask_ssemux.util.redact import without_password
from tests.harness.ports import free_port
from tests.harness.redis import RedisServer

ENCODE = "percent-encode it ('#' is %23, '/' is %2F, '?' is %3F, '@' is %40, '%' is %25"


def refusal(url):
    with pytest.raises(ConfigurationError) as caught:
        open_broker(url)
    return str(caught.value)


# -- what works ----------------------------------------------------------------


@pytest.mark.parametrize(
    "url, options",
    [
        ("rediss://h:6380?ssl_cert_reqs=CERT_NONE", {"ssl_cert_reqs": "none"}),
        ("rediss://h?ssl_cert_reqs=none", {"ssl_cert_reqs": "none"}),
        ("rediss://h?ssl_cert_reqs=CERT_REQUIRED", {"ssl_cert_reqs": "required"}),
        ("rediss://h?ssl_cert_reqs=required", {"ssl_cert_reqs": "required"}),
        ("rediss://h?ssl_cert_reqs=CERT_OPTIONAL", {"ssl_cert_reqs": "optional"}),
        ("rediss://h?ssl_cert_reqs=Optional", {"ssl_cert_reqs": "optional"}),
        ("rediss://h?ssl_check_hostname=False", {"ssl_check_hostname": False}),
        ("redis://h?protocol=3", {}),
        ("redis://h?protocol=2&max_connections=10&health_check_interval=30&socket_timeout=5&decode_responses=True", {}),
        ("redis://h/3", {"db": 3}),
        ("redis://h/?db=4", {"db": 4}),
        ("redis://h?client_name=a+b%21", {"client_name": "a b!"}),
        ("redis://h?password=a%2525", {"password": "a%25"}),
        ("redis://me:a@b@h", {"username": "me", "password": "a@b"}),
        ("redis://:a:b@h", {"password": "a:b"}),
        ("redis://:a[b]@h", {"password": "a[b]"}),
        ("redis://:a%b c@h", {"password": "a%b c"}),
        ("redis://:%23%2F%3F%40%25@h", {"password": "#/?@%"}),
        ("redis://:a@h?prefix=x@y", {"password": "a"}),
    ],
)
def test_options(url, options):
    assert RedisURL(url).options == options
    open_broker(url).close()


@pytest.mark.parametrize(
    "url, hosts, place",
    [
        ("redis://", (("localhost", 6379),), "redis://localhost:6379/0"),
        ("redis://:7", (("localhost", 7),), "redis://localhost:7/0"),
        ("redis://h:7/", (("h", 7),), "redis://h:7/0"),
        ("redis://h:7?db=2", (("h", 7),), "redis://h:7/2"),
        ("redis://[::1]:7/2", (("::1", 7),), "redis://[::1]:7/2"),
        ("rediss://me:pw@h", (("h", 6379),), "rediss://h:6379/0"),
        ("unix:///run/a%20b@c.sock?db=1", (), "unix:///run/a b@c.sock?db=1"),
        ("unix://:pw@/run/r", (), "unix:///run/r?db=0"),
        ("redis+cluster://a,[::1]:7/0", (("a", 6379), ("::1", 7)), "redis+cluster://a:6379,[::1]:7/0"),
        ("redis+sentinel://a,[::1]:7/s/5", (("a", 26379), ("::1", 7)), "redis+sentinel://a:26379,[::1]:7/s/5"),
    ],
)
def test_where_the_server_is(url, hosts, place):
    """Two applications whose URLs differ only in how they are written have the same store."""
    read = RedisURL(url)
    assert (read.hosts, read.place) == (hosts, place)
    assert "pw" not in repr(read)
    assert open_broker(url).store_name == place + " (prefix ssemux)"


@pytest.mark.parametrize(
    "query, namespace, prefix",
    [
        ("", None, "ssemux"),
        ("", "shop", "ssemux:shop"),
        ("?prefix=a", None, "a"),
        ("?prefix=a&prefix=b", "shop", "b:shop"),
        ("?prefix=a%26b&db=1", None, "a&b"),
    ],
)
def test_the_prefix(query, namespace, prefix):
    assert RedisURL("redis://h" + query, namespace).prefix == prefix


def test_no_certificate_is_checked_if_the_url_says_so(running, opened, tmp_path, monkeypatch):
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=another.example -keyout %s -out %s"
    subprocess.run((command % (key, certificate)).split(), check=True, capture_output=True)
    port = free_port()
    options = "--tls-port %d --tls-cert-file %s --tls-key-file %s --tls-auth-clients no" % (port, certificate, key)
    server = running(RedisServer(args=options.split()))
    for number, query in enumerate(("CERT_NONE", "none&protocol=3&max_connections=10", "none&ssl_check_hostname=true")):
        broker = open_broker("rediss://127.0.0.1:%d/0?ssl_cert_reqs=%s" % (port, query))
        opened(broker)
        assert broker.history.append_event("a", b"x").sequence == number + 1
    monkeypatch.setattr(constants, "WAIT_SECONDS", 0.3)
    for url, said in (
        ("rediss://127.0.0.1:%d?ssl_cert_reqs=CERT_REQUIRED" % port, r"\?ssl_ca_certs=/path.*\?ssl_cert_reqs=none"),
        ("rediss://127.0.0.1:%d?ssl_ca_certs=/no/file" % port, "a file of certificates that the URL names does not"),
        ("rediss://127.0.0.1:%d" % server.port, "if the port does not use TLS, write redis://"),
    ):
        with pytest.raises(BrokerUnavailable, match=said):
            open_broker(url).history.get_newest_cursor()


# -- what is refused -------------------------------------------------------------


@pytest.mark.parametrize(
    "url, said",
    [
        ("redis://h?prefix=", "the option prefix has no value; give it one, or remove it"),
        ("rediss://h?ssl_ca_certs=", "the option ssl_ca_certs has no value; give it one, or remove it"),
        ("redis://h?protocol=4", "the option protocol must be 2 or 3"),
        ("redis://h?db=x", "the option db must be a number"),
        ("redis://h?socket_keepalive=x", "the option socket_keepalive must be true or false"),
        ("rediss://h?ssl_cert_reqs=x", "the option ssl_cert_reqs must be none, optional or required (or CERT_NONE"),
        (
            "redis://h?ssl_cert_reqs=none",
            "the option ssl_cert_reqs is for TLS, and this is not a TLS URL; write rediss",
        ),
        ("redis://h?ssl=true", "there is no option ssl; write rediss:// for TLS"),
        ("redis://h?Prefix=x", "there is no option Prefix; did you mean prefix?"),
        ("redis://h?host=x", "there is no option host; docs/redis.md lists the options"),
        ("redis://h?sentinel_password=x", "the option sentinel_password is for Sentinel: redis+sentinel://"),
        ("redis://[", "an IPv6 address is written in brackets: [::1]"),
        ("redis://::1", "an IPv6 address is written in brackets: [::1]"),
        ("redis://h:x", "after the host comes a colon and the port, a number"),
        ("redis://:hunter2", "the '@' and the host are missing: redis://:password@host:6379/0"),
        ("redis://h:99999", "a port is a number from 1 to 65535"),
        ("redis://h:0", "a port is a number from 1 to 65535"),
        ("redis://h/shop", "the path is the number of the database, such as /0"),
        ("redis://h/1/2", "the path is the number of the database, such as /0"),
        ("redis://a,b", "for Sentinel write redis+sentinel://host:26379,host:26379/service"),
        ("redis://a,b", "for a Redis Cluster redis+cluster://host:6379,host:6379, otherwise name one server"),
        ("redis+cluster://a,b/1", "a Redis Cluster has only the database 0; use prefix to keep applications apart"),
        ("redis+cluster://a,b?db=2", "a Redis Cluster has only the database 0; use prefix to keep applications apart"),
        ("redis+cluster://a,b/mymaster", "the path is the number of the database, such as /0"),
        ("redis+cluster://a,b?ssl_ca_certs=x", "the option ssl_ca_certs is for TLS, and this is not a TLS URL"),
        ("redis+cluster://a,b?prefix={shop}", "in a Redis Cluster the option prefix has no '}'"),
        ("redis+cluster://:hun/ter2@h,i", ENCODE),
        ("unix://run/redis.sock", "after unix:// comes the absolute path of the socket: unix:///run/redis.sock"),
        ("redis://:hun#ter2@h:6379/0", ENCODE),
        ("redis://:hunter2#@h", ENCODE),
        ("redis://:hun?ter2@h:6379/0", ENCODE),
        ("redis://:hun/ter2@h:6379/0", ENCODE),
        ("redis://hun/ter2@h:6379/0", ENCODE),
        ("redis://me:6379/hunter2@h", ENCODE),
        ("redis://:6379?hunter2=x@h", ENCODE),
        ("redis://:hun\tter2@h", ENCODE),
        ("redis+sentinel://:hunter2#@h/s", ENCODE),
        ("unix://:hun?ter2@/run/r", "after unix:// comes the absolute path"),
        ("redis://h?hunter2", "something that is not an option; if it belongs to the password, percent-encode it"),
    ],
)
def test_refusals(url, said):
    message = refusal(url)
    assert said in message
    assert message.startswith("SSEMUX_BROKER='")
    assert not re.search("hun|ter2", message)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["XX", "YY", "7", *"#/?@%:[]&=+, "]), min_size=1, max_size=6).map("".join),
    st.sampled_from([
        "redis://%s@h:7/1", "redis://:%s@h:7/1", "redis://me:%s@h/1?prefix=x", "unix://:%s@/r",
        "redis+sentinel://:%s@a,b:1/s", "rediss+cluster://:%s@a,b:1", "redis://h?password=%s",
    ]),
)  # fmt: skip
def test_any_password_works_or_is_refused_and_is_never_shown(password, form):
    assume(not (form.startswith("redis://%s") and ":" in password))  # the name of a user is shown
    url = form % password
    shown = without_password(url)
    try:
        broker = open_broker(url)
    except ConfigurationError as error:
        shown += str(error)
    else:
        shown += broker.store_name + repr(broker._store.address) + broker._store.address.shown
    assert not re.search("XX|YY", shown), shown
